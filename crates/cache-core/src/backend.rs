//! The contract with the place where entries live.

use std::sync::Arc;

use async_trait::async_trait;

use crate::{Entry, Moment, Result};

/// Where entries live.
///
/// # Contract
///
/// *The caller* makes the calls of one key that change it one after the other, never two at once, and never drops
/// their futures once polled; calls for different keys, look-ups, `clear`, `sweep` and `usage` come at any time.
/// It looks up with `peek` first and with `get` only after `peek` said no.
///
/// *The implementor* MUST see to it that
///
/// * after `remove(key)` or `clear()` has returned, no look-up that begins later shows an entry whose `insert`
///   returned before the call, in any tier;
/// * after `insert(new)` has returned, whatever it returned, no look-up that begins later shows an earlier entry
///   of that key;
/// * a dropped future has no later effect, and one that was never polled has none at all, but for that of `insert`;
/// * all handles to what one `insert` stored are clones of the inserted [`Entry`], so that they share one renewal.
///   What is read back from a medium that outlives the process is built anew with [`Entry::builder`], and so will
///   be asked about before use;
/// * evicting from an upper tier never uncovers an older entry in a lower one;
/// * a look-up shows what was inserted under that very key, and says of it what the inserted entry said: key, body,
///   version, attributes, [`Identity`](crate::Identity) and [`Keep`](crate::Keep);
/// * while no call is under way, what is held is within the limits, and `usage` is exact.
///
/// It may lose any entry at any time: that changes cost, never an answer. It need not look at the time: an expired
/// entry that is still shown is not served.
///
/// `cache_testkit::conformance::backend` has a function for each of these sentences that can be seen from outside.
#[async_trait]
pub trait Backend: Send + Sync + 'static {
    /// The entry, if it is at hand without waiting. Memory backends answer here and only here. Counts as one use
    /// of the entry; reads no clock; must not block.
    fn peek(&self, key: &str) -> Option<Entry>;

    /// The entry, waiting for I/O if need be (disk, a remote cache). Called after `peek` said no; a memory backend
    /// returns `Ok(None)`.
    ///
    /// # Errors
    ///
    /// An error counts as "not held".
    async fn get(&self, key: &str) -> Result<Option<Entry>>;

    /// Stores the entry in the place of any earlier one of its key, or refuses it; the earlier one is gone either
    /// way. May do so when called, rather than when first polled.
    ///
    /// # Errors
    ///
    /// After an error the caller removes the key.
    async fn insert(&self, entry: Entry) -> Result<Admission>;

    /// Removes the entry. Whether there was one.
    ///
    /// # Errors
    ///
    /// After an error the caller treats everything held under the key until now as void.
    async fn remove(&self, key: &str) -> Result<bool>;

    /// Removes all entries.
    ///
    /// # Errors
    ///
    /// The caller treats everything held until now as void in any case; an error means that the memory may not
    /// have been freed.
    async fn clear(&self) -> Result<()>;

    /// Drops what has expired at `now`. Called now and then; correct if never called.
    ///
    /// # Errors
    ///
    /// An error is counted; the next call comes all the same.
    async fn sweep(&self, now: Moment) -> Result<()>;

    /// How full the backend is, and what has left it so far.
    fn usage(&self) -> Usage;

    /// How many of the entries held now are negative ([`Entry::is_absent`]): they remember that there
    /// is no object, and take memory like others, but are no copies of anything. Default: zero, with
    /// which a cache counts them among its copies.
    fn negative_entries(&self) -> u64 {
        0
    }
}

/// What became of an entry that was to be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Admission {
    /// It is held.
    Stored,
    /// It is not held.
    Refused(Refusal),
}

/// Why an entry was not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Refusal {
    /// It weighs more than the whole backend may hold.
    TooLarge,
    /// The eviction policy named the newcomer itself as the one to leave.
    Policy,
    /// The backend does not take entries at present.
    Unavailable,
}

/// How full a backend is, and running totals of what has left it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Entries held now.
    pub entries: u64,
    /// Bytes held now, as [`Entry::weight`] counts them.
    pub bytes: u64,
    /// The most bytes that may be held; `None` without a limit.
    pub capacity_bytes: Option<u64>,
    /// The most entries that may be held; `None` without a limit.
    pub capacity_entries: Option<u64>,
    /// Entries evicted to make room, since the start. Negative ones ([`Entry::is_absent`]) are not
    /// counted, here and below: a cache tells its users how many copies have left.
    pub evicted: u64,
    /// Entries dropped because they had expired, since the start.
    pub expired: u64,
    /// Entries refused, since the start.
    pub refused: u64,
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<T: Backend + ?Sized> Backend for Arc<T> {
    fn peek(&self, key: &str) -> Option<Entry> {
        (**self).peek(key)
    }

    async fn get(&self, key: &str) -> Result<Option<Entry>> {
        (**self).get(key).await
    }

    async fn insert(&self, entry: Entry) -> Result<Admission> {
        (**self).insert(entry).await
    }

    async fn remove(&self, key: &str) -> Result<bool> {
        (**self).remove(key).await
    }

    async fn clear(&self) -> Result<()> {
        (**self).clear().await
    }

    async fn sweep(&self, now: Moment) -> Result<()> {
        (**self).sweep(now).await
    }

    fn usage(&self) -> Usage {
        (**self).usage()
    }

    fn negative_entries(&self) -> u64 {
        (**self).negative_entries()
    }
}

const _: fn(&dyn Backend) = |_| ();
