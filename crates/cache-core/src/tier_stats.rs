//! Counters of a tier below memory.

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
    /// Bytes of entries that wait to be written, those of the batch being written included.
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
    /// Returns the sum of all causes.
    pub fn total(&self) -> u64 {
        let Self {
            queue_full,
            not_admitted,
            too_large,
            unavailable,
            write_error,
            recycled,
            corrupt,
            pin_limit,
        } = self;
        queue_full
            + not_admitted
            + too_large
            + unavailable
            + write_error
            + recycled
            + corrupt
            + pin_limit
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
}

impl TierState {
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
