//! The capabilities that a backend declares.

/// What a backend can do, and what it cannot help. The default is the strictest: memory that holds
/// what it stored, never fails, and never looks at deadlines.
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct Capabilities {
    pub(super) waits: bool,
    pub(super) fails: bool,
    pub(super) refuses: bool,
    pub(super) forgets: bool,
    pub(super) sweeps: bool,
    pub(super) outlives: bool,
    pub(super) counts_one_tier: bool,
    pub(super) max_entries: Option<u64>,
}

impl Capabilities {
    /// Those of plain memory.
    pub fn new() -> Self {
        Self::default()
    }

    /// `get` may show what `get_now` did not: a disk, a remote cache. Otherwise `get` shows
    /// nothing.
    pub fn waits(mut self) -> Self {
        self.waits = true;
        self
    }

    /// Calls may end in an error. Otherwise an error breaks the rule.
    pub fn fails(mut self) -> Self {
        self.fails = true;
        self
    }

    /// An entry may be refused although there is room for it. Not for refusing somebody when it is
    /// full: every backend may do that.
    pub fn refuses(mut self) -> Self {
        self.refuses = true;
        self
    }

    /// An entry that was stored may leave at any time, uncounted. Then nothing shows whether
    /// anything is held at all.
    pub fn forgets(mut self) -> Self {
        self.forgets = true;
        self
    }

    /// `sweep` drops all that has expired. Otherwise it need not find any of it.
    pub fn sweeps(mut self) -> Self {
        self.sweeps = true;
        self
    }

    /// `usage` counts the upper tier of several: look-ups show more than it says, and what leaves
    /// that tier is counted, wherever else it stays. Otherwise `usage` counts all that is shown.
    pub fn counts_one_tier(mut self) -> Self {
        self.counts_one_tier = true;
        self
    }

    /// Entries are found again after the backend was dropped: opened again under its number, it
    /// shows what it held.
    pub fn outlives_the_process(mut self) -> Self {
        self.outlives = true;
        self
    }

    /// The most entries that are held, if there is such a limit: between 40 and 5,000, or it is not
    /// reached. What limits the bytes, `usage` says itself.
    pub fn max_entries(mut self, entries: u64) -> Self {
        self.max_entries = Some(entries);
        self
    }

    /// Whether all that was stored is shown while there is room.
    pub(super) fn holds(&self) -> bool {
        !(self.fails || self.refuses || self.forgets)
    }
}
