//! How an entry is built.

use std::{
    borrow::Cow,
    sync::atomic::{AtomicU32, AtomicU64},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use once_cell::race::OnceBox;
use triomphe::{Arc, ThinArc};

use super::{
    ABSENT, Entry, HAS_DATE, HAS_E_TAG, HAS_VERSION_ID, Head, Rare, Seal, Storability,
    decoded::Decoded,
    stamp::{NEVER, Span},
};
use crate::{Attributes, Key, Moment, Namespace, Version, body, epoch::Epoch};

/// Builds an [`Entry`]: for validators, and for backends that bring one back from a medium of their
/// own.
///
/// Borrows what it can: all of it but the body is copied into the entry's own allocation.
#[derive(Debug, Clone)]
#[must_use]
pub struct EntryBuilder<'a> {
    key: &'a Key,
    body: Bytes,
    e_tag: Option<Cow<'a, str>>,
    version_id: Option<Cow<'a, str>>,
    last_modified: Option<SystemTime>,
    attributes: Attributes,
    keep: Option<Storability>,
    identity: Option<Namespace>,
    validated: Option<(Moment, Option<Duration>)>,
    seal: Option<Seal>,
    keeps_buffer: bool,
    absent: bool,
}

impl Entry {
    /// Starts an entry for `key` with `body`. Without a version it serves its own readers and is
    /// not kept.
    ///
    /// A `Bytes` keeps the whole buffer alive that it is a part of, and does not tell how long that
    /// is; the body alone is accounted for. So the body is copied into a buffer of its own, unless
    /// it is the only handle of a buffer with nothing else in it, or
    /// [`EntryBuilder::keep_buffer`] says that it may stay where it is.
    #[inline]
    pub fn builder(key: &Key, body: Bytes) -> EntryBuilder<'_> {
        EntryBuilder {
            key,
            body,
            e_tag: None,
            version_id: None,
            last_modified: None,
            attributes: Attributes::new(),
            keep: None,
            identity: None,
            validated: None,
            seal: None,
            keeps_buffer: false,
            absent: false,
        }
    }
}

impl<'a> EntryBuilder<'a> {
    /// The ETag, as the origin wrote it.
    #[inline]
    pub fn e_tag(mut self, e_tag: impl Into<Cow<'a, str>>) -> Self {
        self.e_tag = Some(e_tag.into());
        self
    }

    /// The whole version. Its size is taken from the body.
    #[inline]
    pub fn version(mut self, version: Version) -> Self {
        self.e_tag = version.e_tag.map(Cow::Owned);
        self.version_id = version.version.map(Cow::Owned);
        self.last_modified = version.last_modified;
        self
    }

    /// The attributes that came with the body.
    #[inline]
    pub fn attributes(mut self, attributes: Attributes) -> Self {
        self.attributes = attributes;
        self
    }

    /// How far the entry can be kept. Default: confirmable if it has an ETag, a version id or a
    /// date, else never.
    #[inline]
    pub fn storability(mut self, keep: Storability) -> Self {
        self.keep = Some(keep);
        self
    }

    /// Whose entry it is: for backends that bring one back from a medium, which have to keep it.
    /// `ReadThrough` gives what it publishes its own, whatever was set here. Default: nobody's, so
    /// that no cache serves it.
    #[inline]
    pub fn namespace(mut self, identity: Option<Namespace>) -> Self {
        self.identity = identity;
        self
    }

    /// Stamps the entry as the answer to a question sent at `at`, to live for `time_to_live` after
    /// the last one that confirmed it; without one it does not expire. For tests of backends and
    /// policies: `ReadThrough` stamps what it publishes itself, whatever was set here, and an entry
    /// that a backend brings back from a medium which outlives the process must not have a stamp.
    /// Default: none, so that the entry is asked about before use.
    #[inline]
    pub fn validated(mut self, at: Moment, time_to_live: Option<Duration>) -> Self {
        self.validated = Some((at, time_to_live));
        self
    }

    /// Gives the entry the stamp that an earlier handle of it had: for a backend of several tiers
    /// that brings back an entry of this process. A seal of another process is of another clock and
    /// must not be used. Default: none, so that the entry is revalidated before use.
    #[inline]
    pub fn sealed(mut self, seal: Seal) -> Self {
        self.seal = Some(seal);
        self
    }

    /// The body stays in the buffer that it is in, which is all accounted for or hardly longer than
    /// the body: a memory map, a constant, a buffer whose other handles do not outlive the entry.
    #[inline]
    pub fn keep_buffer(mut self) -> Self {
        self.keeps_buffer = true;
        self
    }

    /// The entry says that there is no such object.
    pub(crate) fn absent(mut self) -> Self {
        self.absent = true;
        self.storability(Storability::FreshOnly)
    }

    /// The entry. A version id longer than 4 GiB is cut off as if it had not been given.
    pub fn build(self) -> Entry {
        let key = self.key.as_str();
        let e_tag = self.e_tag.as_deref();
        let version_id = self.version_id.as_deref().filter(|id| u32::try_from(id.len()).is_ok());
        let is_named = e_tag.is_some() || version_id.is_some() || self.last_modified.is_some();
        let flags = [
            (e_tag.is_some(), HAS_E_TAG),
            (version_id.is_some(), HAS_VERSION_ID),
            (self.last_modified.is_some(), HAS_DATE),
            (self.absent, ABSENT),
        ];
        let id_len = version_id.and_then(|id| u32::try_from(id.len()).ok()).map(u32::to_le_bytes);
        let date = self.last_modified.map(|at| unix_nanos(at).to_le_bytes());
        let tail = [
            key.as_bytes(),
            e_tag.map_or(&[], str::as_bytes),
            version_id.map_or(&[], str::as_bytes),
            id_len.as_ref().map_or(&[], |len| len),
            date.as_ref().map_or(&[], |date| date),
        ];
        let rare = OnceBox::new();
        if !self.attributes.is_empty() {
            let _ = rare
                .set(Box::new(Rare { attributes: self.attributes, decoded: Decoded::default() }));
        }
        let head = Head {
            body: if self.keeps_buffer { self.body } else { body::own(self.body) },
            // An entry read back from disk was not validated by this process.
            // mutant: no_stamp_by_default
            validated: AtomicU64::new(NEVER),
            epoch: AtomicU64::new(0),
            identity: AtomicU64::new(self.identity.map_or(0, Namespace::bits)),
            ticket: AtomicU64::new(0),
            rare,
            time_to_live: AtomicU32::new(Span::FOR_EVER.bits()),
            key_len: u16::try_from(key.len()).expect("a key has at most Key::LEN_MAX bytes"),
            flags: flags.iter().fold(0, |flags, &(is, flag)| if is { flags | flag } else { flags }),
            keep: self.keep.unwrap_or(if is_named {
                Storability::Revalidatable
            } else {
                Storability::NoStore
            }),
        };
        let entry = Entry(joined(head, tail));
        if let Some((at, time_to_live)) = self.validated {
            entry.publish(at, time_to_live, Epoch(0));
        }
        if let Some(seal) = self.seal {
            entry.reseal(seal);
        }
        entry
    }
}

/// The head with the parts behind it. They are written where they are to stay: put together
/// elsewhere, they would be read again before they have left the processor's store buffer, which
/// costs more than to write zeros first.
fn joined<const N: usize>(head: Head, parts: [&[u8]; N]) -> ThinArc<Head, u8> {
    let len = parts.iter().map(|part| part.len()).sum();
    let long;
    let zeros = match ZEROS.get(..len) {
        Some(zeros) => zeros,
        None => {
            long = vec![0; len];
            &long
        }
    };
    let mut joined = ThinArc::from_header_and_slice(head, zeros);
    joined.with_arc_mut(|joined| {
        let mut rest = Arc::get_mut(joined).expect("it has one handle").slice_mut();
        for part in parts.into_iter().filter(|part| !part.is_empty()) {
            rest.split_off_mut(..part.len())
                .expect("it is as long as the parts")
                .copy_from_slice(part);
        }
    });
    joined
}

pub(super) fn unix_nanos(at: SystemTime) -> i64 {
    let clamp = |span: Duration| i64::try_from(span.as_nanos()).unwrap_or(i64::MAX);
    match at.duration_since(UNIX_EPOCH) {
        Ok(since) => clamp(since),
        Err(before) => -clamp(before.duration()),
    }
}

static ZEROS: [u8; 256] = [0; 256];
