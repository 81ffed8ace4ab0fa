//! The cached copy of one version of an object.

mod builder;
mod codec;
mod decode;
mod decoded;
mod seal;
mod stamp;

use std::{
    fmt,
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use once_cell::race::OnceBox;
use triomphe::ThinArc;

pub(crate) use self::stamp::Stamp;
pub use self::{builder::EntryBuilder, seal::Seal};
use self::{
    decoded::Decoded,
    stamp::{MUST_REVALIDATE, NEVER, Span},
};
use crate::{Attributes, Moment, Namespace, Version, epoch::Epoch};

/// The cached copy of one version of an object, with its key: body, version, attributes, and when
/// the origin last validated it.
///
/// A handle: a clone is one atomic add, and all clones share one renewal. Key, ETag and version id
/// lie in the entry's own allocation, so an entry costs two: its own and its body's.
///
/// ```
/// use cache_core::{Entry, Key};
///
/// let key = Key::parse("config.json")?;
/// let entry = Entry::builder(&key, "{}".into()).e_tag("\"1\"").build();
/// assert_eq!((entry.key(), entry.e_tag()), ("config.json", Some("\"1\"")));
///
/// // To a medium that outlives the process and back: revalidated before it is served.
/// let read = Entry::from_bytes(&entry.to_bytes())?;
/// assert_eq!(read.body(), "{}");
/// assert_eq!(read.validated_at(), None);
/// # Ok::<(), cache_core::Error>(())
/// ```
#[derive(Clone)]
pub struct Entry(ThinArc<Head, u8>);

/// How long an entry can be cached, as its validator decides by its version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Storability {
    /// Cached, and renewed by a "not modified" response.
    Revalidatable,
    /// Cached while it is fresh, but its validator does not identify the bytes (a weak ETag, a date
    /// that is too recent): never revalidated, but fetched again.
    FreshOnly,
    /// Serves the waiting readers and is not cached: the origin gave nothing to tell versions apart
    /// by.
    NoStore,
}

impl Entry {
    /// The key.
    pub fn key(&self) -> &str {
        self.text(0, self.head().key_len.into())
    }

    /// The key's bytes: for look-ups, which need not know that they are text.
    #[inline]
    pub fn key_bytes(&self) -> &[u8] {
        &self.0.slice[..usize::from(self.head().key_len)]
    }

    /// The body.
    pub fn body(&self) -> &Bytes {
        &self.head().body
    }

    /// The ETag as the origin wrote it.
    pub fn e_tag(&self) -> Option<&str> {
        self.head().is(HAS_E_TAG).then(|| self.text(self.head().key_len.into(), self.id_begin()))
    }

    /// The version id.
    pub fn version_id(&self) -> Option<&str> {
        self.head().is(HAS_VERSION_ID).then(|| self.text(self.id_begin(), self.id_end()))
    }

    /// When the origin says the object was last modified.
    pub fn last_modified(&self) -> Option<SystemTime> {
        let nanos = self.0.slice.last_chunk().filter(|_| self.head().is(HAS_DATE))?;
        match i64::from_le_bytes(*nanos) {
            since @ 0.. => UNIX_EPOCH.checked_add(Duration::from_nanos(since.unsigned_abs())),
            before => UNIX_EPOCH.checked_sub(Duration::from_nanos(before.unsigned_abs())),
        }
    }

    /// The version, in a form of its own.
    pub fn version(&self) -> Version {
        Version {
            e_tag: self.e_tag().map(Into::into),
            version: self.version_id().map(Into::into),
            last_modified: self.last_modified(),
            size: self.body().len() as u64,
        }
    }

    /// The attributes that came with the body.
    pub fn attributes(&self) -> &Attributes {
        static NONE: std::sync::LazyLock<Attributes> = std::sync::LazyLock::new(Attributes::new);
        self.head().rare.get().map_or(&NONE, |rare| &rare.attributes)
    }

    /// Returns how long the entry can be cached.
    pub fn storability(&self) -> Storability {
        self.head().keep
    }

    /// Whether this remembers that there is no object (see `negative_ttl`).
    pub fn is_negative(&self) -> bool {
        self.head().is(ABSENT)
    }

    /// The store, and the rights, that it was read with; `None` of one that no cache has read yet.
    pub fn namespace(&self) -> Option<Namespace> {
        Namespace::from_bits(self.head().identity.load(Ordering::Relaxed))
    }

    /// Returns the moment at which the request was sent that last validated this entry. `None` if
    /// no request of this process has: it is revalidated before use, under every freshness.
    pub fn validated_at(&self) -> Option<Moment> {
        self.stamp().validated_at()
    }

    /// Returns when the entry expires unless it is validated before. `None`: it does not expire.
    pub fn expires_at(&self) -> Option<Moment> {
        self.stamp().expires_at()
    }

    /// Returns whether the entry has to be revalidated before it is next served, however fresh it
    /// is (`mark_stale`). Marks of a prefix or of the whole cache are not told here.
    pub fn must_revalidate(&self) -> bool {
        self.stamp().must_revalidate()
    }

    /// The bytes that the entry occupies: body, key, tags, attributes and bookkeeping, its share of
    /// a table and a policy included. What a typed reader decoded from it is not counted, nor are
    /// the 24 bytes that the first clone of a body costs. Within a tenth of what the allocator
    /// says, with the policies of `cache-policy`.
    pub fn weight(&self) -> u64 {
        let attributes = match self.head().rare.get() {
            Some(rare) if !rare.attributes.is_empty() => {
                size_of::<Rare>() + rare.attributes.weight()
            }
            _ => 0,
        };
        (ENTRY_OVERHEAD + self.0.slice.len() + self.body().len() + attributes) as u64
    }

    /// Whether the two are handles of one entry.
    pub fn is_same(&self, other: &Self) -> bool {
        std::ptr::eq(self.head(), other.head())
    }

    /// Returns the number that [`set_ticket`](Self::set_ticket) gave this entry; zero before.
    pub fn ticket(&self) -> u64 {
        self.head().ticket.load(Ordering::Relaxed) >> TICKET_SHIFT
    }

    /// Gives the entry a number of its backend's own, of up to 63 bits. A backend of several tiers
    /// tells by it whether the stamp of an evicted entry is still the latest one
    /// ([`Seal`]). The protocol does not look at it.
    pub fn set_ticket(&self, ticket: u64) {
        let used = self.head().ticket.load(Ordering::Relaxed) & USED;
        self.head().ticket.store(ticket << TICKET_SHIFT | used, Ordering::Relaxed);
    }

    /// Records that the entry was used since it was stored. For backends that admit entries to a
    /// lower tier by their use.
    #[inline]
    pub fn note_use(&self) {
        // A store only the first time: readers of one entry share its cache line.
        if !self.was_used() {
            self.head().ticket.fetch_or(USED, Ordering::Relaxed);
        }
    }

    /// Returns whether [`note_use`](Self::note_use) was called.
    #[inline]
    pub fn was_used(&self) -> bool {
        self.head().ticket.load(Ordering::Relaxed) & USED != 0
    }

    /// Whether its time to live has passed.
    pub(crate) fn has_expired(&self, now: Moment) -> bool {
        self.stamp().has_expired(now)
    }

    /// One reading of when it was validated.
    pub(crate) fn stamp(&self) -> Stamp {
        let head = self.head();
        Stamp {
            validated: head.validated.load(Ordering::Relaxed),
            time_to_live: Span::from_bits(head.time_to_live.load(Ordering::Relaxed)),
        }
    }

    /// What was not void when the epoch was `epoch` need not be held against the floors below it
    /// again.
    pub(crate) fn outlive(&self, epoch: Epoch) {
        self.head().epoch.fetch_max(epoch.0, Ordering::Relaxed);
    }

    /// The entry is `identity`'s from now on. Called before anybody else has it.
    pub(crate) fn give_to(&self, identity: Namespace) {
        self.head().identity.store(identity.bits(), Ordering::Relaxed);
    }

    /// Stamps the entry as the answer to a question sent at `validated_at`, in `epoch`, in the
    /// place of any stamp that its builder was given.
    pub(crate) fn publish(
        &self,
        validated_at: Moment,
        time_to_live: Option<Duration>,
        epoch: Epoch,
    ) {
        self.head().time_to_live.store(Span::new(time_to_live).bits(), Ordering::Relaxed);
        self.head().validated.store(NEVER, Ordering::Relaxed);
        self.renew(validated_at, epoch);
    }

    /// The origin confirmed the entry when asked at `validated_at`: moves it forward, never back,
    /// and takes a mark away. Called under the key's lock by a flight that is not fenced, or before
    /// anybody else has the entry: no write is open that could mark it meanwhile.
    pub(crate) fn renew(&self, validated_at: Moment, epoch: Epoch) {
        let head = self.head();
        let word = match head.validated.load(Ordering::Relaxed) {
            NEVER => validated_at.as_nanos(),
            word => (word & !MUST_REVALIDATE).max(validated_at.as_nanos()),
        };
        head.epoch.fetch_max(epoch.0, Ordering::Relaxed);
        head.validated.store(word, Ordering::Release);
    }

    /// A list that was requested at `sent_at`, in `epoch`, has shown the entry as current: moves it
    /// forward, never back. Lifts a mark if `lifts_mark`, for a caller that keeps others from being
    /// put. Returns whether it did.
    pub(crate) fn renew_listed(&self, sent_at: Moment, epoch: Epoch, lifts_mark: bool) -> bool {
        let head = self.head();
        let renewed = head.validated.fetch_update(Ordering::Release, Ordering::Relaxed, |word| {
            let is_marked = word & MUST_REVALIDATE != 0;
            // Compared and changed in one step: a mark that is put meanwhile stays.
            let is_allowed = word != NEVER && (lifts_mark || !is_marked);
            // Of the same moment too: the entry may be under an older floor.
            let is_older = word & !MUST_REVALIDATE <= sent_at.as_nanos();
            (is_allowed && is_older).then(|| sent_at.as_nanos())
        });
        if renewed.is_ok() {
            // After the stamp: with the older epoch alone it is the floors' as before.
            head.epoch.fetch_max(epoch.0, Ordering::Relaxed);
        }
        renewed.is_ok()
    }

    /// Marks the entry: it is revalidated before it is next served, under every
    /// [`Freshness`](crate::Freshness). For backends, in
    /// [`Backend::mark_stale`](crate::Backend::mark_stale).
    pub fn mark_stale(&self) {
        self.head().validated.fetch_or(MUST_REVALIDATE, Ordering::Relaxed);
    }

    /// Returns the epoch of the request that last validated the entry.
    pub(crate) fn epoch(&self) -> Epoch {
        Epoch(self.head().epoch.load(Ordering::Relaxed))
    }

    fn head(&self) -> &Head {
        &self.0.header.header
    }

    /// Where the tag ends and the version id begins.
    fn id_begin(&self) -> usize {
        let end = self.id_end();
        let id_len = self.0.slice[end..].first_chunk().filter(|_| self.head().is(HAS_VERSION_ID));
        end - id_len.map_or(0, |len| u32::from_le_bytes(*len) as usize)
    }

    /// Where the version id ends.
    fn id_end(&self) -> usize {
        let head = self.head();
        let behind = if head.is(HAS_VERSION_ID) { size_of::<u32>() } else { 0 }
            + if head.is(HAS_DATE) { size_of::<i64>() } else { 0 };
        self.0.slice.len() - behind
    }

    fn text(&self, from: usize, to: usize) -> &str {
        std::str::from_utf8(&self.0.slice[from..to]).expect("made of whole strings by the builder")
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("key", &self.key())
            .field("e_tag", &self.e_tag())
            .field("version_id", &self.version_id())
            .field("size", &self.body().len())
            .field("validated_at", &self.validated_at())
            .field("marked", &self.must_revalidate())
            .field("keep", &self.storability())
            .finish_non_exhaustive()
    }
}

/// 80 bytes: with the reference count and the length before it, the key begins at byte 96. Behind
/// it are the ETag, the version id with its length in 4 bytes, and the date in nanoseconds from the
/// Unix epoch, each if there is one.
struct Head {
    body: Bytes,
    /// `NEVER`, or the moment, with `MUST_REVALIDATE` while the entry is marked.
    validated: AtomicU64,
    epoch: AtomicU64,
    /// Zero, or the bits of an [`Namespace`].
    identity: AtomicU64,
    /// The backend's number, above the bit `USED`.
    ticket: AtomicU64,
    rare: OnceBox<Rare>,
    /// [`Span`].
    time_to_live: AtomicU32,
    key_len: u16,
    flags: u8,
    keep: Storability,
}

impl Head {
    fn is(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// What most entries do not have.
#[derive(Default)]
struct Rare {
    attributes: Attributes,
    decoded: Decoded,
}

/// The bit of `ticket` that says that the entry was used.
const USED: u64 = 1;
const TICKET_SHIFT: u32 = 1;

const HAS_E_TAG: u8 = 1;
const HAS_VERSION_ID: u8 = 2;
const HAS_DATE: u8 = 4;
const ABSENT: u8 = 8;

/// The head with the reference count and the length beside it, and what a memory backend keeps of
/// an entry: some 25 bytes for its index and its slot, and 16 to 60 for a policy, deadlines
/// included (measured).
const ENTRY_OVERHEAD: usize = size_of::<Head>() + 16 + 68;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Key;

    fn at(nanos: u64) -> Moment {
        Moment::from_nanos(nanos)
    }

    fn entry(version: Version) -> Entry {
        Entry::builder(&Key::parse("a/b").unwrap(), Bytes::from_static(b"body"))
            .version(version)
            .build()
    }

    #[test]
    fn what_goes_in_comes_out() {
        let dated = UNIX_EPOCH + Duration::from_nanos(1_700_000_000_123_456_789);
        let long = "x".repeat(300);
        for e_tag in [None, Some("\"x\""), Some(""), Some(&*long)] {
            for version in [None, Some("7"), Some(""), Some(&*long)] {
                for last_modified in [None, Some(dated), Some(UNIX_EPOCH - Duration::from_secs(1))]
                {
                    let given = Version {
                        e_tag: e_tag.map(Into::into),
                        version: version.map(Into::into),
                        last_modified,
                        size: 4,
                    };
                    let entry = entry(given.clone());
                    assert_eq!(entry.key(), "a/b");
                    assert_eq!((entry.e_tag(), entry.version_id()), (e_tag, version));
                    assert_eq!((entry.last_modified(), entry.version().size), (last_modified, 4));
                    assert_eq!(entry.version(), given);
                }
            }
        }
    }

    #[test]
    fn a_list_lifts_a_mark_only_for_a_caller_that_keeps_others_out() {
        let entry = entry(Version::default());
        assert!(!entry.renew_listed(at(9), Epoch(1), true), "it has no time to live yet");
        entry.publish(at(5), None, Epoch(1));
        assert!(entry.renew_listed(at(7), Epoch(2), false));
        entry.mark_stale();
        assert!(!entry.renew_listed(at(9), Epoch(3), false) && entry.must_revalidate());
        assert_eq!((entry.validated_at(), entry.epoch()), (Some(at(7)), Epoch(2)));
        assert!(!entry.renew_listed(at(6), Epoch(3), true) && entry.must_revalidate());
        assert!(entry.renew_listed(at(9), Epoch(3), true) && !entry.must_revalidate());
        assert!(entry.renew_listed(at(9), Epoch(3), false), "of the same moment");
        assert_eq!((entry.validated_at(), entry.epoch()), (Some(at(9)), Epoch(3)));
    }

    #[test]
    fn vouched_at_only_moves_forward_and_a_renewal_unmarks() {
        let entry = entry(Version::default());
        assert_eq!((entry.validated_at(), entry.must_revalidate()), (None, true));
        entry.publish(at(5), Some(Duration::from_nanos(10)), Epoch(1));
        assert_eq!((entry.validated_at(), entry.expires_at()), (Some(at(5)), Some(at(15))));
        let other = entry.clone();
        other.mark_stale();
        assert!(entry.must_revalidate());
        assert_eq!(entry.validated_at(), Some(at(5)));
        entry.renew(at(3), Epoch(0));
        assert_eq!(
            (other.validated_at(), other.must_revalidate(), other.epoch()),
            (Some(at(5)), false, Epoch(1))
        );
    }

    #[test]
    fn a_stamp_of_the_builder_gives_way_to_that_of_the_protocol() {
        let entry = Entry::builder(&Key::parse("a").unwrap(), Bytes::new())
            .validated(at(90), Some(Duration::from_nanos(10)))
            .build();
        assert_eq!((entry.validated_at(), entry.expires_at()), (Some(at(90)), Some(at(100))));
        entry.publish(at(5), None, Epoch(1));
        assert_eq!((entry.validated_at(), entry.expires_at()), (Some(at(5)), None));
    }

    #[test]
    fn a_mark_on_an_entry_never_vouched_for_stays_one() {
        let entry = entry(Version::default());
        entry.mark_stale();
        assert_eq!((entry.validated_at(), entry.must_revalidate()), (None, true));
    }

    #[test]
    fn without_a_time_to_live_nothing_expires() {
        let entry = entry(Version::default());
        entry.publish(at(5), None, Epoch(0));
        assert_eq!(entry.expires_at(), None);
        entry.publish(at(5), Some(Duration::MAX), Epoch(0));
        assert_eq!(entry.expires_at(), None);
    }

    #[test]
    fn an_entry_without_a_validator_is_not_kept() {
        assert_eq!(entry(Version::default()).storability(), Storability::NoStore);
        let row = Version { version: Some("7".into()), ..Version::default() };
        assert_eq!(entry(row).storability(), Storability::Revalidatable);
        assert_eq!(
            entry(Version { e_tag: Some("\"\"".into()), ..Version::default() }).storability(),
            Storability::Revalidatable
        );
    }
}
