//! The contracts with the origin: validating reads, and writes.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::BoxFuture;

use crate::{Entry, Error, ErrorKind, Key, Listing, PutCondition, PutOptions, Result, Version};

/// Reads from the origin. One method does it all: a first fetch is a validation without an entry.
///
/// # Contract
///
/// *The caller* passes as `held` only an entry that this validator made for this very `key`, and
/// only one whose [`Storability`](crate::Storability) is `Revalidatable`. It drops the future only
/// to give the request up.
///
/// *The implementor* MUST
///
/// * send a request on every call, after the future is first polled: no response comes from a cache
///   of its own;
/// * take the body and the version of a `Modified` from one response;
/// * build the entry of a `Modified` anew: an entry belongs to the cache that it was given to,
///   which stamps it;
/// * return `NotModified` only if the origin confirmed the very version of `held`, and never
///   without `held`;
/// * return `NotFound` if the origin says that there is no such object. An outage is an error of
///   kind `Unavailable` or `Timeout` instead, and missing rights are one of kind `PermissionDenied`
///   or `Unauthenticated`;
/// * leave nothing behind when the future is dropped;
/// * not read through the cache that calls it: with no permit free (`max_in_flight`), it would wait
///   for itself.
///
/// It need not limit, join or retry its calls: `ReadThrough` has at most one request per key in
/// flight. A panic is caught and becomes an error for every waiting reader.
///
/// `cache_testkit::conformance::validator` has a function for each of these rules that can be
/// observed from outside. The example `custom_validator` in `crates/cache-facade/examples` is a
/// starting point.
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
    /// Returns whether `held` is still the current version of `key`, and the current one if not.
    async fn validate(&self, key: &Key, held: Option<&Entry>) -> Result<Validation>;

    /// Returns how many bytes of a body came from the origin with `changed`, the entry of a
    /// `Modified`: for the counters, and for the span of the request. `None` if this is not known
    /// yet because the body is still being read; the validator then reports it in the span that it
    /// was called in. Default: the length of the entry's body.
    fn body_bytes(&self, changed: &Entry) -> Option<u64> {
        Some(changed.body().len() as u64)
    }

    /// Lists the objects whose keys begin with `prefix`, byte for byte, behind the key `after` if
    /// one is given; an empty prefix is all objects. A list has to be as current as a read: an
    /// object that was written before the request for its page is on it, with the version that a
    /// read would return. Objects whose paths are no [`Key`] are left out. The stream sends each
    /// request when it is polled for its page, or says that it does not
    /// ([`ListPage::is_requested_when_polled`](crate::ListPage::is_requested_when_polled)).
    /// Default: [`Listing::unsupported`].
    fn list(&self, prefix: &str, after: Option<&str>) -> Listing {
        let _ = (prefix, after);
        Listing::unsupported()
    }
}

/// The response of the origin to a validation.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Validation {
    /// The cached version is the current one; no body was sent.
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
/// `Unsupported` means that the write may or may not have taken effect; of `PreconditionFailed`
/// this is true only of origins that repeat a request whose answer was lost, as object_store does:
/// the second attempt may have met the first one's work.
///
/// `cache_testkit::conformance::validator` checks these sentences too.
#[async_trait]
pub trait Origin: Validator {
    /// Writes `body` under `key` if `condition` holds.
    ///
    /// After the future is dropped, the write may or may not take effect.
    async fn put(&self, key: &Key, body: Bytes, condition: PutCondition) -> Result<Version>;

    /// Writes `body` as `options` say. An origin with attributes implements this; the default calls
    /// [`put`](Self::put) where there are none, and otherwise fails with `Unsupported`, so that
    /// none is dropped.
    ///
    /// After the future is dropped, the write may or may not take effect.
    async fn put_with(&self, key: &Key, body: Bytes, options: PutOptions) -> Result<Version> {
        if options.attributes.is_empty() {
            return self.put(key, body, options.condition).await;
        }
        let message = "this origin has no attributes; put without them";
        Err(Error::new(ErrorKind::Unsupported, message).with_key(key))
    }

    /// Deletes the object. The origin decides whether deleting a missing one is an error.
    ///
    /// After the future is dropped, the object may or may not be deleted.
    async fn delete(&self, key: &Key) -> Result<()>;

    /// The entry to keep for `body`, under this very `key`, which a put just wrote as `version`:
    /// the implementor's judgement of how far that version can be kept, as for the entries of its
    /// `validate`.
    fn entry_of_put(&self, key: &Key, body: Bytes, version: &Version) -> Entry {
        Entry::builder(key, body).version(version.clone()).build()
    }
}

// Written out: `async_trait` would box the boxed future once more.
#[deny(clippy::missing_trait_methods)]
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

    fn body_bytes(&self, changed: &Entry) -> Option<u64> {
        (**self).body_bytes(changed)
    }

    fn list(&self, prefix: &str, after: Option<&str>) -> Listing {
        (**self).list(prefix, after)
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
