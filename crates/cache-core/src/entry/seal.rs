//! The stamp of an entry whose bytes are elsewhere.

use std::sync::atomic::Ordering;

use super::{
    Entry,
    stamp::{MUST_REVALIDATE, NEVER, Span, Stamp},
};
use crate::{Key, Moment, epoch::Epoch};

/// The stamp of an entry: when it was validated, its time to live, its mark and its epoch, without
/// the bytes. A backend of several tiers keeps it in memory while the bytes are on disk, and gives
/// it to the handle that it builds of them ([`EntryBuilder::sealed`](super::EntryBuilder::sealed)),
/// so that the entry is as fresh as it was.
///
/// Valid within the process that made it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seal {
    validated: u64,
    epoch: u64,
    time_to_live: u32,
}

impl Seal {
    /// Returns the seal of an entry that this process has neither validated nor published. The
    /// entry is revalidated before it is served.
    pub const fn none() -> Self {
        Self { validated: NEVER, epoch: Epoch::NONE.0, time_to_live: Span::FOR_EVER.bits() }
    }

    /// Returns this seal without its stamp: the entry is revalidated before it is served, and still
    /// void if its cache was cleared after the entry was stored.
    #[must_use]
    pub const fn unstamped(self) -> Self {
        Self { epoch: self.epoch, ..Self::none() }
    }

    /// Marks the entry: see [`Entry::mark_stale`].
    pub fn mark_stale(&mut self) {
        self.validated |= MUST_REVALIDATE;
    }

    /// Returns when the entry was last validated; `None` without a stamp.
    pub fn validated_at(self) -> Option<Moment> {
        self.stamp().validated_at()
    }

    /// Returns whether the entry's time to live has passed.
    pub fn has_expired(self, now: Moment) -> bool {
        self.stamp().has_expired(now)
    }

    fn stamp(self) -> Stamp {
        Stamp { validated: self.validated, time_to_live: Span::from_bits(self.time_to_live) }
    }
}

impl Default for Seal {
    fn default() -> Self {
        Self::none()
    }
}

impl Entry {
    /// Returns the stamp of this entry, to be kept while its bytes are elsewhere.
    pub fn seal(&self) -> Seal {
        let head = self.head();
        Seal {
            validated: head.validated.load(Ordering::Relaxed),
            epoch: head.epoch.load(Ordering::Relaxed),
            time_to_live: head.time_to_live.load(Ordering::Relaxed),
        }
    }

    /// Returns another handle of the same bytes, with the stamp that `seal` has.
    #[must_use]
    pub fn with_seal(&self, seal: Seal) -> Self {
        let key = Key::parse(self.key()).expect("it is the key of an entry");
        Self::builder(&key, self.body().clone())
            .version(self.version())
            .attributes(self.attributes().clone())
            .storability(self.storability())
            .namespace(self.namespace())
            .keep_buffer()
            .sealed(seal)
            .build()
    }

    /// Returns this entry if it has no stamp, else another handle of its bytes without one.
    pub(crate) fn unstamped(self) -> Self {
        if self.validated_at().is_none() {
            return self;
        }
        self.with_seal(Seal::none())
    }

    /// Renews this entry by the stamp of another handle of the same version that a request has just
    /// validated: moves it forward, never back, and lifts a mark. For backends, in
    /// [`Backend::renewed`](crate::Backend::renewed).
    pub fn renew_from(&self, renewed: &Self) {
        let Some(validated_at) = renewed.validated_at() else { return };
        let head = self.head();
        head.time_to_live
            .store(renewed.head().time_to_live.load(Ordering::Relaxed), Ordering::Relaxed);
        self.renew(validated_at, renewed.epoch());
    }

    pub(super) fn reseal(&self, seal: Seal) {
        let head = self.head();
        head.time_to_live.store(seal.time_to_live, Ordering::Relaxed);
        head.epoch.store(seal.epoch, Ordering::Relaxed);
        head.validated.store(seal.validated, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;

    use super::*;

    #[test]
    fn a_seal_carries_stamp_mark_and_epoch_to_another_handle() {
        let key = Key::parse("a").unwrap();
        let entry = Entry::builder(&key, Bytes::from_static(b"body")).e_tag("\"1\"").build();
        assert_eq!(entry.seal(), Seal::none());
        entry.publish(Moment::from_nanos(5), Some(Duration::from_nanos(10)), Epoch(3));
        let mut seal = entry.seal();
        let again = entry.with_seal(seal);
        assert_eq!((again.key(), again.body(), again.e_tag()), ("a", entry.body(), Some("\"1\"")));
        assert_eq!((again.seal(), again.must_revalidate()), (seal, false));
        assert_eq!((again.epoch(), again.expires_at()), (Epoch(3), entry.expires_at()));
        seal.mark_stale();
        let marked = Entry::builder(&key, Bytes::from_static(b"body")).sealed(seal).build();
        assert!(marked.must_revalidate() && !entry.must_revalidate());
        marked.renew_from(&entry);
        assert!(!marked.must_revalidate());
        assert_eq!(seal.unstamped().validated_at(), None);
        assert!(seal.has_expired(Moment::from_nanos(15)));
    }

    #[test]
    fn a_ticket_and_the_mark_of_a_use_do_not_disturb_each_other() {
        let entry = Entry::builder(&Key::parse("a").unwrap(), Bytes::new()).build();
        assert_eq!((entry.ticket(), entry.was_used()), (0, false));
        entry.set_ticket(7);
        entry.note_use();
        assert_eq!((entry.ticket(), entry.was_used()), (7, true));
        entry.set_ticket((1 << 63) - 1);
        assert_eq!((entry.ticket(), entry.was_used()), ((1 << 63) - 1, true));
    }
}
