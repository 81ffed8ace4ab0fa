//! Counters of a tier below memory.

use std::ops::Add;

/// Counters of a tier below memory. Running totals since it was opened, but for `state`,
/// `entries`, `bytes`, `capacity_bytes`, `pinned_bytes`, `queue_entries` and `queue_bytes`, which
/// say how it is now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TierStats {
    /// Whether the tier works at present.
    pub state: TierState,
    /// Entries on disk.
    pub entries: u64,
    /// Bytes of files on disk, with what is dropped but not yet recycled.
    pub bytes: u64,
    /// The most bytes that the files may have.
    pub capacity_bytes: u64,
    /// Bytes of entries on disk under a pinned prefix.
    pub pinned_bytes: u64,
    /// Entries that wait to be written.
    pub queue_entries: u64,
    /// Bytes of entries that wait to be written, those of the batch being written included, without
    /// those that memory has as well.
    pub queue_bytes: u64,
    /// Look-ups that this tier answered.
    pub hits: u64,
    /// Body bytes of those.
    pub hit_bytes: u64,
    /// Look-ups that neither memory nor this tier could answer.
    pub misses: u64,
    /// Entries that earlier processes had written, found when the tier was opened.
    pub recovered: u64,
    /// Entries written, those written again included.
    pub written: u64,
    /// Weight of the entries that were written for the first time: body, key, version and
    /// attributes.
    pub payload_bytes: u64,
    /// Bytes written to files: divided by `payload_bytes`, the write amplification.
    pub written_bytes: u64,
    /// Entries written again because they were used, or pinned, when their segment was recycled.
    pub rewritten: u64,
    /// Entries dropped instead of written or kept, by cause.
    pub dropped: TierDrops,
    /// Records that did not match their checksums, key or place.
    pub corrupt: u64,
    /// Records of another key or namespace than was looked for.
    pub foreign: u64,
    /// Reads that failed.
    pub read_errors: u64,
    /// Writes that failed, and other operations on files.
    pub write_errors: u64,
    /// Entries under a pinned prefix that were not kept, by cause.
    pub pins_lost: TierDrops,
}

/// Entries that a tier has dropped, by cause.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TierDrops {
    /// The queue had no room.
    pub queue_full: u64,
    /// A rule or the admission setting kept them out: not used again before memory evicted them.
    pub not_admitted: u64,
    /// They are larger than a segment.
    pub too_large: u64,
    /// The tier was starting, off or closed.
    pub unavailable: u64,
    /// A write failed.
    pub write_error: u64,
    /// Their segment was recycled.
    pub recycled: u64,
    /// They were corrupt.
    pub corrupt: u64,
    /// Pinned entries already take half of the capacity.
    pub pin_limit: u64,
}

/// Whether a tier works.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TierState {
    /// It reads what earlier processes have written. Look-ups miss.
    #[default]
    Starting,
    /// It works.
    On,
    /// It failed and is left alone for a while. Look-ups miss.
    Off,
    /// It was closed.
    Closed,
}

impl TierDrops {
    /// The names of all causes in metrics, in the order of [`by_cause`](Self::by_cause).
    pub const CAUSES: [&'static str; 8] = [
        "queue_full",
        "not_admitted",
        "too_large",
        "unavailable",
        "write_error",
        "recycled",
        "corrupt",
        "pin_limit",
    ];

    /// Returns the number of entries for each cause, in the order of [`CAUSES`](Self::CAUSES).
    ///
    /// ```
    /// use cache_core::TierDrops;
    ///
    /// let mut drops = TierDrops::default();
    /// drops.recycled = 3;
    /// let by_cause: Vec<_> = TierDrops::CAUSES.into_iter().zip(drops.by_cause()).collect();
    /// assert!(by_cause.contains(&("recycled", 3)));
    /// ```
    pub fn by_cause(&self) -> [u64; Self::CAUSES.len()] {
        // Exhaustive: a new cause does not compile until it is exported.
        let Self {
            queue_full,
            not_admitted,
            too_large,
            unavailable,
            write_error,
            recycled,
            corrupt,
            pin_limit,
        } = *self;
        [
            queue_full,
            not_admitted,
            too_large,
            unavailable,
            write_error,
            recycled,
            corrupt,
            pin_limit,
        ]
    }

    /// Returns the sum of all causes.
    pub fn total(&self) -> u64 {
        self.by_cause().into_iter().fold(0, u64::saturating_add)
    }

    fn zip(self, other: Self, combine: fn(u64, u64) -> u64) -> Self {
        // No `..`: a new field does not compile until it is combined.
        Self {
            queue_full: combine(self.queue_full, other.queue_full),
            not_admitted: combine(self.not_admitted, other.not_admitted),
            too_large: combine(self.too_large, other.too_large),
            unavailable: combine(self.unavailable, other.unavailable),
            write_error: combine(self.write_error, other.write_error),
            recycled: combine(self.recycled, other.recycled),
            corrupt: combine(self.corrupt, other.corrupt),
            pin_limit: combine(self.pin_limit, other.pin_limit),
        }
    }
}

impl TierStats {
    /// Returns the bytes written to files for each byte of an entry that was stored
    /// (`written_bytes` / `payload_bytes`); zero if nothing was written.
    pub fn write_amplification(&self) -> f64 {
        if self.payload_bytes == 0 {
            0.0
        } else {
            self.written_bytes as f64 / self.payload_bytes as f64
        }
    }

    /// Returns the totals, none of them lower than in `earlier`. The fields that say how it is now
    /// are those of `self`.
    #[must_use]
    pub fn at_least(self, earlier: Self) -> Self {
        self.zip(earlier, u64::max)
    }

    fn zip(self, other: Self, combine: fn(u64, u64) -> u64) -> Self {
        // No `..`: a new field does not compile until it is combined.
        Self {
            state: self.state,
            entries: self.entries,
            bytes: self.bytes,
            capacity_bytes: self.capacity_bytes,
            pinned_bytes: self.pinned_bytes,
            queue_entries: self.queue_entries,
            queue_bytes: self.queue_bytes,
            hits: combine(self.hits, other.hits),
            hit_bytes: combine(self.hit_bytes, other.hit_bytes),
            misses: combine(self.misses, other.misses),
            recovered: combine(self.recovered, other.recovered),
            written: combine(self.written, other.written),
            payload_bytes: combine(self.payload_bytes, other.payload_bytes),
            written_bytes: combine(self.written_bytes, other.written_bytes),
            rewritten: combine(self.rewritten, other.rewritten),
            dropped: self.dropped.zip(other.dropped, combine),
            corrupt: combine(self.corrupt, other.corrupt),
            foreign: combine(self.foreign, other.foreign),
            read_errors: combine(self.read_errors, other.read_errors),
            write_errors: combine(self.write_errors, other.write_errors),
            pins_lost: self.pins_lost.zip(other.pins_lost, combine),
        }
    }
}

impl Add for TierStats {
    type Output = Self;

    /// Returns the totals of two tiers together. The fields that say how it is now are those of
    /// `self`.
    fn add(self, other: Self) -> Self {
        self.zip(other, u64::saturating_add)
    }
}

impl TierState {
    /// All states.
    pub const ALL: [Self; 4] = [Self::Starting, Self::On, Self::Off, Self::Closed];

    /// Returns the name in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::On => "on",
            Self::Off => "off",
            Self::Closed => "closed",
        }
    }
}
