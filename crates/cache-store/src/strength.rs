//! How far a 304 (Not Modified) can be trusted.
//!
//! A cache relies on one promise: if the store says that an ETag is still current, the bytes that
//! were received with it are the bytes of the object. Stores keep this promise to different
//! degrees, and none of them says to which.
//!
//! *Strong.* S3, GCS and Azure make an ETag for each version, from its content or from a counter;
//! object_store's in-memory store counts. The promise holds. (S3's ETag is often an MD5 of the
//! body: two bodies crafted to collide share it, and a change of metadata alone keeps it.)
//!
//! *Timestamps.* Local disk and most web servers derive the ETag from the time of the last write
//! and the size (nginx and Apache; object_store's local disk adds the inode number, which file
//! systems reuse at once). Clocks tick: two writes of equal size within one tick get the same ETag.
//! A reader that fetched the first version then has wrong bytes that the ETag confirms forever. Git
//! has the same problem with its index and solves it in the same way [1]: a version is trusted only
//! if it was older than one tick *when its request was sent*, because any later write then gets a
//! later time and another ETag. A younger version is served and cached, but never confirmed: when
//! it has to be revalidated, it is fetched again, and by then it is old enough. RFC 9110, section
//! 8.8.2.2, requires the same before an HTTP date counts as a strong validator.
//!
//! The age is the difference of two clocks, the cache's and the store's, because object_store hides
//! the `Date` of a response. On local disk they are one clock. Elsewhere, a cache whose clock is
//! ahead of the store's takes young versions for old ones: set the grain longer than the clocks can
//! differ.
//!
//! *Local disk, measured.* Linux before 6.13 takes file times from a clock that ticks every 1 to 10
//! ms, so 20 ms are safe. With a tick of 4 ms, 62 % of rewrites by rename and 97 % of rewrites by
//! unlink and create got an ETag that other bytes of the same object had had before. Linux 6.13
//! brought multigrain timestamps to ext4, xfs, btrfs and tmpfs [2]: after a file's time was read,
//! the next change gets a later one, so local disk counts as strong there. With writers that rename
//! a new file into place, as object_store does, no ETag repeated in 80,000 rewrites. With writers
//! that change a file in place, one can: the kernel guarantees a later *nanosecond*, but
//! object_store's ETag counts microseconds, and if a tick of the coarse clock falls into the
//! microsecond of a fine timestamp, the next write shares it. In loops of in-place writes and reads
//! without a pause, one read in 10,000 to 60,000 confirmed old bytes. With such writers, use
//! `Timestamp(20 ms)`.
//!
//! Other file systems tick in their own way (FAT: 2 s), and network file systems with another
//! machine's clock. Two cases cannot be detected: a program that writes into a file in place lets
//! readers see half of it, and one that sets file times (`cp -p`, `rsync -t`, `tar`) can repeat an
//! ETag.
//!
//! *Weak.* A server can mark an ETag with `W/`: equal ETags then mean equivalent versions only (RFC
//! 9110, section 8.8.1).
//!
//! [1]: <https://git-scm.com/docs/racy-git>
//! [2]: <https://docs.kernel.org/filesystems/multigrain-ts.html>

use std::time::{Duration, SystemTime};

use cache_core::{Storability, Version};
use object_store::ObjectStore;

use crate::{
    local_disk::{self, SECONDS},
    tag,
};

/// How far a store's ETags can be trusted: whether a 304 means that the bytes are the same.
///
/// [`ValidatorStrength::of`] knows the stores of object_store by name. An entry that a 304 cannot
/// confirm is still cached while it is fresh; when it has to be revalidated, it is fetched again.
///
/// | store | strength |
/// | --- | --- |
/// | S3, GCS, Azure, memory | `Strong` |
/// | local disk, Linux 6.13 and later on ext4, xfs, btrfs, tmpfs | `Strong` |
/// | local disk, earlier Linux on these file systems | `Timestamp(20 ms)` |
/// | local disk otherwise | `Timestamp(2 s)` |
/// | HTTP and WebDAV | `Timestamp(2 s)` |
/// | any other, including `PrefixStore` | `ByForm` |
///
/// Whatever the strength, an ETag marked as weak confirms an entry only if the builder accepts weak
/// validators. An object without an ETag is validated by its date, as under `Timestamp` with a
/// grain of at least 2 s, since HTTP dates count seconds. An object with neither is served and not
/// cached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ValidatorStrength {
    /// The ETag identifies the bytes: no two versions of an object share one.
    Strong,
    /// The ETag is derived from the time of the last write, which ticks in this grain. It
    /// identifies the bytes only if the object was older than the grain when it was requested; an
    /// object that was just put is never confirmed. The grain must cover the difference between
    /// this machine's clock and the store's.
    Timestamp(Duration),
    /// Depends on the form of each object's ETag: `Strong` for the forms below, which only object
    /// stores produce, else `Timestamp(2 s)`. For wrappers that hide the store inside.
    ///
    /// | form | of |
    /// | --- | --- |
    /// | `"<32 hex digits>"` | S3 and its like: one part |
    /// | `"<32 hex digits>-<number>"` | the same: several parts |
    /// | `"0x<hex digits>"` | Azure |
    /// | any, beside a version id of digits alone | GCS: the generation |
    ///
    /// A web server's `"<hex>-<hex>"` (nginx, Apache) and a local disk's ETag are not among these.
    /// A web server that hashes time and size into 32 hex digits looks like S3: for such a server
    /// inside a wrapper, set `Timestamp(2 s)`.
    ByForm,
    /// Every ETag counts as weak, even without `W/`.
    Weak,
    /// ETags and dates are ignored: every read fetches, and nothing is cached.
    None,
}

impl ValidatorStrength {
    /// Returns the strength for the kind of `store`.
    ///
    /// The kind is recognised by the store's `Display`. Throttled, limited and chunked stores of
    /// object_store show the store inside. `PrefixStore` and most other wrappers hide it and get
    /// [`ByForm`](Self::ByForm). That is correct for S3, GCS, Azure, local disk and most web
    /// servers inside; other strong stores cost one more fetch of an object that is young or was
    /// just put. If you know the innermost store, pass its strength on:
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use cache_store::{EtagValidator, ValidatorStrength};
    /// # use object_store::{memory::InMemory, prefix::PrefixStore};
    /// let bucket = InMemory::new();
    /// let strength = ValidatorStrength::of(&bucket);
    /// let tenant = PrefixStore::new(bucket, "tenants/7");
    /// assert_ne!(ValidatorStrength::of(&tenant), strength);
    /// let origin = EtagValidator::builder(Arc::new(tenant)).validator_strength(strength).build()?;
    /// # Ok::<_, cache_core::Error>(())
    /// ```
    ///
    /// For local disk, looks up the kernel release and the file systems mounted at and below the
    /// store's root. Cannot detect a server that speaks S3 and derives its ETags from timestamps:
    /// set the strength for it.
    pub fn of(store: &dyn ObjectStore) -> Self {
        let shown = store.to_string();
        let mut shown = shown.as_str();
        loop {
            let inside =
                |name: &str| shown.strip_prefix(name)?.strip_prefix('(')?.strip_suffix(')');
            if let Some(inner) = inside("ThrottledStore").or_else(|| inside("ChunkedStore")) {
                shown = inner;
            } else if let Some((_, inner)) =
                inside("LimitStore").and_then(|inside| inside.split_once(", "))
            {
                shown = inner;
            } else if let Some(root) = inside("LocalFileSystem") {
                return local_disk::grain(root).map_or(Self::Strong, Self::Timestamp);
            } else if shown == "InMemory"
                || inside("AmazonS3").is_some()
                || inside("GoogleCloudStorage").is_some()
                || shown.starts_with("MicrosoftAzure {")
            {
                return Self::Strong;
            } else if shown == "HttpStore" {
                return Self::Timestamp(SECONDS);
            } else {
                return Self::ByForm;
            }
        }
    }

    /// How far `version` can be kept, which came in the answer to a request that was sent at
    /// `sent_at`.
    pub(crate) fn keep(
        self,
        version: &Version,
        sent_at: SystemTime,
        accept_weak: bool,
    ) -> Storability {
        if self == Self::ByForm {
            let names_version =
                tag::is_of_object_store(version.e_tag.as_deref(), version.version.as_deref());
            let strength = if names_version { Self::Strong } else { Self::Timestamp(SECONDS) };
            return strength.keep(version, sent_at, accept_weak);
        }
        let is_older_than = |grain| {
            let age = version.last_modified.and_then(|date| sent_at.duration_since(date).ok());
            age.is_some_and(|age| age > grain)
        };
        let is_confirmable = match (self, &version.e_tag) {
            (Self::None, _) => return Storability::NoStore,
            (_, Some(e_tag)) => {
                let is_weak = self == Self::Weak || tag::is_weak(e_tag);
                let is_old_enough = match self {
                    Self::Timestamp(grain) => is_older_than(grain),
                    _ => true,
                };
                tag::names_one_version(e_tag) && (accept_weak || !is_weak) && is_old_enough
            }
            (_, None) if version.last_modified.is_none() => return Storability::NoStore,
            (Self::Timestamp(grain), None) => is_older_than(grain.max(SECONDS)),
            (_, None) => is_older_than(SECONDS),
        };
        if is_confirmable { Storability::Revalidatable } else { Storability::FreshOnly }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        ValidatorStrength::{Strong, Timestamp, Weak},
        *,
    };

    const YOUNG: Option<Duration> = Some(Duration::from_millis(1500));
    const OLD: Option<Duration> = Some(Duration::from_millis(2001));

    /// What becomes of a version with this tag, whose date is `age` before the request.
    #[track_caller]
    fn check(
        strength: ValidatorStrength,
        e_tag: &str,
        age: Option<Duration>,
        accept_weak: bool,
        expected: Storability,
    ) {
        let sent_at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let version = Version::default()
            .with_e_tag((!e_tag.is_empty()).then(|| e_tag.into()))
            .with_last_modified(age.map(|age| sent_at - age));
        assert_eq!(
            strength.keep(&version, sent_at, accept_weak),
            expected,
            "{strength:?} {e_tag:?} {age:?}"
        );
    }

    #[test]
    fn a_timestamp_confirms_what_was_older_than_its_grain() {
        let strength = Timestamp(SECONDS);
        check(strength, "\"x\"", OLD, false, Storability::Revalidatable);
        check(strength, "\"x\"", Some(SECONDS), false, Storability::FreshOnly);
        check(strength, "\"x\"", YOUNG, false, Storability::FreshOnly);
        check(strength, "\"x\"", None, false, Storability::FreshOnly);
        check(
            Timestamp(Duration::from_millis(20)),
            "\"x\"",
            YOUNG,
            false,
            Storability::Revalidatable,
        );
        check(Timestamp(Duration::MAX), "\"x\"", OLD, false, Storability::FreshOnly);
    }

    #[test]
    fn the_form_of_a_tag_tells_whose_it_is() {
        let md5 = "0123456789abcdef0123456789abcdef";
        for tag in [format!("\"{md5}\""), format!("\"{md5}-12\""), "\"0x8DCF4A1B2C3D4E5\"".into()] {
            check(ValidatorStrength::ByForm, &tag, None, false, Storability::Revalidatable);
            check(ValidatorStrength::ByForm, &tag, YOUNG, false, Storability::Revalidatable);
            check(
                ValidatorStrength::ByForm,
                &format!("W/{tag}"),
                OLD,
                false,
                Storability::FreshOnly,
            );
        }
        let others = [
            "\"5e8f8d3c-264\"".into(),
            "2f1a3-5e8f8d3c1a2b3-11".into(),
            "\"1\"".into(),
            "\"0x\"".into(),
            "\"0xyz\"".into(),
            format!("\"{md5}0\""),
            format!("\"{md5}-\""),
            format!("\"{md5}-1f\""),
            format!("\"{}\"", &md5[1..]),
            format!("\"{}g\"", &md5[1..]),
        ];
        for tag in others {
            check(ValidatorStrength::ByForm, &tag, YOUNG, false, Storability::FreshOnly);
            check(ValidatorStrength::ByForm, &tag, OLD, false, Storability::Revalidatable);
        }
        check(ValidatorStrength::ByForm, "", YOUNG, false, Storability::FreshOnly);
        for (id, keep) in [
            (Some("1712345678901234"), Storability::Revalidatable),
            (Some("null"), Storability::FreshOnly),
            (Some(""), Storability::FreshOnly),
            (None, Storability::FreshOnly),
        ] {
            let version = Version::default()
                .with_e_tag(Some("\"CKih16GjycICEAE=\"".into()))
                .with_version(id.map(Into::into));
            let kept = ValidatorStrength::ByForm.keep(&version, SystemTime::UNIX_EPOCH, false);
            assert_eq!(kept, keep, "{id:?}");
        }
    }

    #[test]
    fn a_date_in_the_future_confirms_nothing() {
        let sent_at = SystemTime::UNIX_EPOCH;
        let date = Some(sent_at + Duration::from_secs(60));
        let version = Version::default().with_e_tag(Some("\"x\"".into())).with_last_modified(date);
        assert_eq!(Timestamp(SECONDS).keep(&version, sent_at, false), Storability::FreshOnly);
        assert_eq!(Strong.keep(&version, sent_at, false), Storability::Revalidatable);
        let undated = version.with_e_tag(None);
        assert_eq!(Strong.keep(&undated, sent_at, false), Storability::FreshOnly);
    }

    #[test]
    fn a_weak_tag_confirms_only_if_accepted() {
        for (strength, tag) in [
            (Strong, "W/\"x\""),
            (Weak, "\"x\""),
            (Weak, "W/\"x\""),
            (Timestamp(SECONDS), "W/\"x\""),
        ] {
            check(strength, tag, OLD, false, Storability::FreshOnly);
            check(strength, tag, OLD, true, Storability::Revalidatable);
        }
        check(Timestamp(SECONDS), "W/\"x\"", YOUNG, true, Storability::FreshOnly);
    }

    #[test]
    fn without_a_tag_the_date_counts_in_seconds() {
        for strength in [Strong, Weak, Timestamp(Duration::from_millis(20)), Timestamp(SECONDS)] {
            check(strength, "", OLD, false, Storability::Revalidatable);
            check(strength, "", YOUNG, false, Storability::FreshOnly);
            check(strength, "", None, false, Storability::NoStore);
        }
        check(Timestamp(Duration::from_secs(60)), "", OLD, false, Storability::FreshOnly);
    }

    #[test]
    fn under_no_strength_nothing_is_kept() {
        check(ValidatorStrength::None, "\"x\"", OLD, true, Storability::NoStore);
        check(ValidatorStrength::None, "", OLD, true, Storability::NoStore);
    }

    #[test]
    fn a_tag_that_cannot_be_sent_back_confirms_nothing() {
        for tag in ["*", "\"a\", \"b\"", " "] {
            check(Strong, tag, OLD, true, Storability::FreshOnly);
        }
    }
}
