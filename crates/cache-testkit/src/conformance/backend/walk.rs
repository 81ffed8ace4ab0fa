//! A backend led through generated steps, with what is known of it.

use std::collections::BTreeMap;

use cache_core::{Entry, Moment, Usage};

use super::{
    probe::{Probe, entry, is_alike, validated},
    suite::Suite,
};
use crate::{
    conformance::{Fault, Short},
    random::Random,
};

pub(super) struct Walk {
    pub(super) probe: Probe,
    random: Random,
    keys: Vec<String>,
    /// The largest body but for some.
    size_max: u64,
    /// What was inserted last under each key, whatever became of it, unless it was removed.
    inserted: BTreeMap<usize, Entry>,
    now: u64,
    n_steps: u64,
    /// What the last step did.
    last: String,
    /// Entries that an `insert` returned for.
    pub(super) n_arrived: u64,
    /// Entries that were replaced, removed or cleared.
    pub(super) n_left: u64,
}

impl Walk {
    pub(super) async fn new(suite: &Suite, seed: u64) -> Result<Self, Fault> {
        let probe = suite.open().await?;
        let n_keys =
            suite.can.max_entries.map_or(KEYS, |max| max.saturating_mul(2).clamp(KEYS, KEYS_MAX));
        let size_max = probe.small_capacity()?.map_or(3000, |capacity| capacity / 8).max(1);
        Ok(Self {
            probe,
            random: Random::new(seed),
            keys: (0..n_keys).map(|n| format!("key/{n}")).collect(),
            size_max,
            inserted: BTreeMap::new(),
            now: 0,
            n_steps: 0,
            last: String::new(),
            n_arrived: 0,
            n_left: 0,
        })
    }

    pub(super) async fn step(&mut self) -> Result<(), Fault> {
        self.n_steps += 1;
        let key = self.random.index(self.keys.len());
        let name = self.keys[key].clone();
        self.last = match self.random.below(24) {
            0..12 => return self.insert(key).await,
            12..17 => {
                self.probe.look_up(&name).await?;
                format!("a look-up of {name:?}")
            }
            17..20 => {
                self.n_left += u64::from(self.probe.remove(&name).await?);
                self.inserted.remove(&key);
                format!("`remove({name:?})`")
            }
            20 => {
                self.n_left = self.n_left.saturating_add(self.probe.usage()?.entries);
                self.probe.clear().await?;
                self.inserted.clear();
                "`clear()`".to_owned()
            }
            21 => {
                self.now += self.random.below(8);
                return Ok(());
            }
            _ => {
                self.probe.sweep(Moment::from_nanos(self.now)).await?;
                format!("`sweep(+{}ns)`", self.now)
            }
        };
        Ok(())
    }

    async fn insert(&mut self, key: usize) -> Result<(), Fault> {
        let size = match self.random.below(16) {
            // Now and then more than the whole.
            0 => self.random.below(self.size_max * 9),
            1 => 0,
            _ => self.random.below(self.size_max),
        };
        let size = usize::try_from(size).expect("a small capacity fits");
        let span = if self.random.below(3) == 0 { Some(self.random.below(20)) } else { None };
        let (name, tag) = (self.keys[key].clone(), format!("step-{}", self.n_steps));
        let newcomer = validated(&name, &tag, size, self.now, span);
        self.n_left += u64::from(self.probe.look_up(&name).await?.is_some());
        let admission = self.probe.insert(&newcomer).await?;
        self.n_arrived += 1;
        self.last =
            format!("`insert` of {} bytes under {name:?}, which returned {admission:?}", size);
        self.inserted.insert(key, newcomer);
        Ok(())
    }

    pub(super) fn usage(&self) -> Result<Usage, Fault> {
        self.probe.usage()
    }

    /// The entries and bytes that look-ups of all keys show.
    pub(super) async fn recount(&self) -> Result<(u64, u64), Fault> {
        let (mut entries, mut bytes) = (0, 0);
        for (n, key) in self.keys.iter().enumerate() {
            let Some(shown) = self.probe.look_up(key).await? else { continue };
            if !self.inserted.get(&n).is_some_and(|inserted| is_alike(inserted, &shown)) {
                let expected = match self.inserted.get(&n) {
                    Some(inserted) => format!("{:?} or nothing", inserted.e_tag()),
                    None => "nothing".into(),
                };
                let (after, key, tag) = (self.after(), Short(key), shown.e_tag());
                return Err(format!(
                    "{after} a look-up of {key} shows {tag:?}; expected {expected}"
                ));
            }
            (entries, bytes) = (entries + 1, bytes + shown.weight());
        }
        Ok((entries, bytes))
    }

    /// Where the walk is, to begin a sentence with.
    pub(super) fn after(&self) -> String {
        format!("after {} generated steps, the last of them {},", self.n_steps, self.last)
    }
}

impl Probe {
    /// The capacity, if there is one and it is small enough to be filled.
    pub(super) fn small_capacity(&self) -> Result<Option<u64>, Fault> {
        Ok(self.usage()?.capacity_bytes.filter(|capacity| *capacity <= SMALL))
    }
}

/// Other keys, each of which comes once.
pub(super) struct Crowd {
    /// How many of them take the whole room twice.
    n: u64,
    size: u64,
    n_came: u64,
}

impl Crowd {
    pub(super) fn of(backend: &Probe) -> Result<Self, Fault> {
        let n = Self::number(backend, 1000);
        let size = backend.small_capacity()?.map_or(1000, |capacity| 2 * capacity / n);
        Ok(Self { n, size, n_came: 0 })
    }

    /// The same, with a small body each: many entries, and few bytes.
    pub(super) fn of_small(backend: &Probe) -> Self {
        Self { n: Self::number(backend, 10_000), size: 10, n_came: 0 }
    }

    fn number(backend: &Probe, n_max: u64) -> u64 {
        backend.can.max_entries.map_or(64, |max| max.saturating_mul(2).clamp(64, n_max))
    }

    /// Inserts as many as take `part` eighths of that.
    pub(super) async fn come(&mut self, backend: &Probe, part: u64) -> Result<(), Fault> {
        for _ in 0..self.n * part / 8 {
            self.come_one(backend).await?;
        }
        Ok(())
    }

    /// Inserts one more, unless all have come. Whether it did.
    pub(super) async fn come_next(&mut self, backend: &Probe) -> Result<bool, Fault> {
        if self.n_came == self.n {
            return Ok(false);
        }
        self.come_one(backend).await?;
        Ok(true)
    }

    async fn come_one(&mut self, backend: &Probe) -> Result<(), Fault> {
        self.n_came += 1;
        let size = usize::try_from(self.size).expect("a part of a small capacity");
        backend.insert(&entry(&format!("crowd/{}", self.n_came), "crowd", size)).await?;
        Ok(())
    }

    /// Inserts them all, and looks at the limits after each.
    pub(super) async fn come_watched(mut self, backend: &Probe) -> Result<(), Fault> {
        for _ in 0..self.n {
            self.come_one(backend).await?;
            backend.is_within_limits(&format!(
                "after {} inserts of {} bytes",
                self.n_came, self.size
            ))?;
        }
        Ok(())
    }
}

const KEYS: u64 = 24;
const KEYS_MAX: u64 = 256;
const SMALL: u64 = 16 << 20;
