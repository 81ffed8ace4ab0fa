//! The contracts with the origin: asking it, and writing to it.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::BoxFuture;

use crate::{Entry, Error, ErrorKind, Key, PutCondition, PutOptions, Result, Version};

/// Asks the origin. One method: a first fetch is a validation with nothing held.
///
/// # Contract
///
/// *The caller* passes as `held` only an entry of this validator's own making for this very `key`,
/// and only one whose [`Storability`](crate::Storability) is `Revalidatable`; it drops the future
/// only to give the question up.
///
/// *The implementor* MUST
///
/// * ask the origin anew on every call, after the future is first polled: no answer comes from a
///   cache of its own;
/// * take the body and the version of a `Changed` from one and the same answer;
/// * build the entry of a `Changed` anew: an entry belongs to the cache that it was given to, which
///   stamps it;
/// * answer `Unchanged` only if the origin confirmed the very version in `held`; never with nothing
///   held;
/// * answer `Gone` if the origin says that there is no such object: an outage is an error instead,
///   of kind `Unavailable` or `Timeout`, and a refusal one of kind `PermissionDenied` or
///   `Unauthenticated`;
/// * leave nothing behind when the future is dropped;
/// * not read through the cache that asks it: with all places at the origin taken
///   (`max_in_flight`), it would wait for its own.
///
/// It need not limit or join its calls, nor retry: `ReadThrough` asks one question per key at a
/// time. A panic is caught and becomes an error for every reader that waits.
///
/// `cache_testkit::conformance::validator` has a function for each of these sentences that can be
/// seen from outside. The example `custom_validator` in `crates/cache-facade/examples` is one to
/// begin with.
///
/// ```
/// use async_trait::async_trait;
/// use cache_core::{Entry, Key, Result, Validation, Validator};
///
/// /// One object, which never changes.
/// struct Constant;
///
/// #[async_trait]
/// impl Validator for Constant {
///     async fn validate(&self, key: &Key, held: Option<&Entry>) -> Result<Validation> {
///         if key.as_str() != "greeting" {
///             return Ok(Validation::NotFound);
///         }
///         if held.and_then(Entry::e_tag) == Some("\"1\"") {
///             return Ok(Validation::NotModified);
///         }
///         let entry = Entry::builder(key, "hello".into()).e_tag("\"1\"").build();
///         Ok(Validation::Modified(entry))
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<()> {
/// let key = Key::parse("greeting")?;
/// let Validation::Modified(entry) = Constant.validate(&key, None).await? else { unreachable!() };
/// assert_eq!(entry.body(), "hello");
/// let again = Constant.validate(&key, Some(&entry)).await?;
/// assert!(matches!(again, Validation::NotModified));
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait Validator: Send + Sync + 'static {
    /// Whether `held` is still the current version of `key`, and if not, the current one.
    async fn validate(&self, key: &Key, held: Option<&Entry>) -> Result<Validation>;

    /// How many bytes of a body came from the origin with `changed`, the entry of a `Changed`: for
    /// the counters, and for the span of the request. `None` if this is not known yet, since the
    /// body goes elsewhere: then the validator says it, in the span that it was called in. Default:
    /// the length of the entry's body.
    fn body_bytes(&self, changed: &Entry) -> Option<u64> {
        Some(changed.body().len() as u64)
    }
}

/// What the origin answered.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Validation {
    /// The version that was held is the current one. No body came.
    NotModified,
    /// This is the current version.
    Modified(Entry),
    /// There is no such object.
    NotFound,
}

/// An origin that can be written through the cache.
///
/// # Contract
///
/// The version that `put` returns MUST name the body that was put, and come from the answer to the
/// put itself. A condition that the origin cannot obey MUST be an error of kind `Unsupported`:
/// never a put that ignores it.
///
/// An error of any kind but `PermissionDenied`, `Unauthenticated`, `NotFound`, `InvalidKey` and
/// `Unsupported` leaves it open whether the write took effect; of `PreconditionFailed` this is true
/// only of origins that repeat a request whose answer was lost, as object_store does: the second
/// attempt may have met the first one's work.
///
/// `cache_testkit::conformance::validator` checks these sentences too.
#[async_trait]
pub trait Origin: Validator {
    /// Writes `body` under `key` if `condition` holds.
    ///
    /// A dropped future leaves it open whether the write took, or will take, effect.
    async fn put(&self, key: &Key, body: Bytes, condition: PutCondition) -> Result<Version>;

    /// Writes `body` with all that `options` say. An origin that has attributes implements it; the
    /// default writes what has none, by [`put`](Self::put), and MUST NOT drop any: with some it is
    /// an error of kind `Unsupported`.
    ///
    /// A dropped future leaves it open whether the write took, or will take, effect.
    async fn put_with(&self, key: &Key, body: Bytes, options: PutOptions) -> Result<Version> {
        if options.attributes.is_empty() {
            return self.put(key, body, options.condition).await;
        }
        let message = "this origin has no attributes; put without them";
        Err(Error::new(ErrorKind::Unsupported, message).with_key(key))
    }

    /// Deletes the object. Whether a missing one is an error is the origin's affair.
    ///
    /// A dropped future leaves it open whether the object is, or will be, deleted.
    async fn delete(&self, key: &Key) -> Result<()>;

    /// The entry to keep for `body`, under this very `key`, which a put just wrote as `version`:
    /// the implementor's judgement of how far that version can be kept, as for the entries of its
    /// `validate`.
    fn entry_of_put(&self, key: &Key, body: Bytes, version: &Version) -> Entry {
        Entry::builder(key, body).version(version.clone()).build()
    }
}

// Written out: `async_trait` would box the boxed future once more.
impl<T: Validator + ?Sized> Validator for Arc<T> {
    fn validate<'a, 'b, 'c, 'd>(
        &'a self,
        key: &'b Key,
        held: Option<&'c Entry>,
    ) -> BoxFuture<'d, Result<Validation>>
    where
        Self: 'd,
        'a: 'd,
        'b: 'd,
        'c: 'd,
    {
        (**self).validate(key, held)
    }
}

#[deny(clippy::missing_trait_methods)]
impl<T: Origin + ?Sized> Origin for Arc<T> {
    fn put<'a, 'b, 'd>(
        &'a self,
        key: &'b Key,
        body: Bytes,
        condition: PutCondition,
    ) -> BoxFuture<'d, Result<Version>>
    where
        Self: 'd,
        'a: 'd,
        'b: 'd,
    {
        (**self).put(key, body, condition)
    }

    fn put_with<'a, 'b, 'd>(
        &'a self,
        key: &'b Key,
        body: Bytes,
        options: PutOptions,
    ) -> BoxFuture<'d, Result<Version>>
    where
        Self: 'd,
        'a: 'd,
        'b: 'd,
    {
        (**self).put_with(key, body, options)
    }

    fn delete<'a, 'b, 'd>(&'a self, key: &'b Key) -> BoxFuture<'d, Result<()>>
    where
        Self: 'd,
        'a: 'd,
        'b: 'd,
    {
        (**self).delete(key)
    }

    fn entry_of_put(&self, key: &Key, body: Bytes, version: &Version) -> Entry {
        (**self).entry_of_put(key, body, version)
    }
}

const _: fn(&dyn Validator, &dyn Origin) = |_, _| ();
