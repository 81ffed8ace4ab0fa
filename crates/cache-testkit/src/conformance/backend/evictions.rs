//! Which entries a backend reports when they leave it.

use std::{
    collections::BTreeMap,
    mem,
    sync::{Arc, Mutex, PoisonError},
};

use cache_core::{Admission, Entry, Moment};

use super::{
    probe::{Probe, Shown, entry, validated},
    suite::Suite,
};
use crate::{
    conformance::{Broken, Fault, Outcome},
    random::Random,
};

/// `on_eviction` *reports each entry that leaves without a call for its key: evicted, expired, or
/// dropped by `close`; once, with the stored handle, before the call that caused it returns, and
/// without a lock held*. Not one that is removed, replaced, cleared or rejected. A second listener
/// is refused. Left out where `on_eviction` returns false.
///
/// # Errors
///
/// [`Broken`] if it is not so.
pub async fn each_entry_that_leaves_is_reported_once(suite: &Suite) -> Result<Outcome, Broken> {
    suite.checked("each_entry_that_leaves_is_reported_once", reported).await
}

async fn reported(suite: &Suite) -> Result<Outcome, Fault> {
    for seed in 0..SEEDS {
        let backend = suite.open().await?;
        let Some(told) = listen(&backend)? else {
            return Ok(Outcome::LeftOut("it does not report evictions"));
        };
        let size_max = backend.small_capacity()?.map_or(1000, |capacity| capacity / 6).max(1);
        let n_keys = backend.can.max_entries.map_or(40, |max| max.clamp(20, 100)) * 3 / 2;
        let ledger = Ledger { backend, told, stored: BTreeMap::new(), last: String::new() };
        walk(ledger, &Random::new(seed), n_keys, size_max).await?;
    }
    Ok(Outcome::Kept)
}

/// The entries that the listener was called with.
type Told = Arc<Mutex<Vec<Entry>>>;

/// `None` if the backend reports nothing.
fn listen(backend: &Probe) -> Result<Option<Told>, Fault> {
    let told = Told::default();
    let listener = {
        let (told, weak) = (Arc::clone(&told), Arc::downgrade(&backend.backend));
        Arc::new(move |entry: Entry| {
            // Where a lock is held, one of these never returns.
            if let Some(backend) = weak.upgrade() {
                let _ = (backend.peek(entry.key()), backend.contains(entry.key()), backend.usage());
            }
            told.lock().unwrap_or_else(PoisonError::into_inner).push(entry);
        })
    };
    if !backend.on_eviction(listener)? {
        return Ok(None);
    }
    if backend.on_eviction(Arc::new(|_| {}))? {
        return Err("`on_eviction` returned true for a second listener; expected false".into());
    }
    Ok(Some(told))
}

async fn walk(
    mut ledger: Ledger,
    random: &Random,
    n_keys: u64,
    size_max: u64,
) -> Result<(), Fault> {
    let mut now = 0;
    for step in 0..STEPS {
        let key = format!("key/{}", random.below(n_keys));
        match random.below(32) {
            0..22 => {
                // Now and then one that displaces many, or more than the whole.
                let size = match random.below(24) {
                    0 => random.below(size_max * 9),
                    1..3 => random.below(size_max * 4),
                    _ => random.below(size_max),
                };
                let size = usize::try_from(size).expect("a part of a small capacity");
                let span = if random.below(3) == 0 { Some(random.below(40)) } else { None };
                ledger.insert(&validated(&key, &format!("{step}"), size, now, span)).await?;
            }
            22..25 => drop(ledger.backend.look_up(&key).await?),
            25..28 => ledger.remove(&key).await?,
            28 => now += random.below(10),
            29 => ledger.sweep(now).await?,
            30 if random.below(8) == 0 => ledger.clear().await?,
            _ => {}
        }
        if step % 16 == 0 {
            ledger.missing(false).await?;
        }
    }
    ledger.missing(false).await?;
    ledger.last = "`close()`".into();
    ledger.backend.close().await?;
    ledger.settle()?;
    // Entries that outlive the process are not dropped.
    if !ledger.backend.can.outlives {
        ledger.missing(true).await?;
    }
    // Each was reported, and none is reported again.
    ledger.backend.close().await?;
    ledger.settle()
}

/// The entries that are stored, as far as the backend has said.
struct Ledger {
    backend: Probe,
    told: Told,
    stored: BTreeMap<String, Entry>,
    last: String,
}

impl Ledger {
    async fn insert(&mut self, new: &Entry) -> Result<(), Fault> {
        let key = new.key();
        // Dropped by a call for its key, whatever becomes of the newcomer.
        let replaced = self.stored.remove(key);
        let admission = self.backend.insert(new).await?;
        self.last = format!("`insert` of {}, which returned {admission:?}", Shown(Some(new)));
        if admission == Some(Admission::Stored) {
            self.stored.insert(key.to_owned(), new.clone());
        }
        if let Some(replaced) = replaced {
            self.is_not_told(&replaced, "replaced")?;
        }
        if admission != Some(Admission::Stored) {
            self.is_not_told(new, "rejected")?;
        }
        self.settle()
    }

    async fn remove(&mut self, key: &str) -> Result<(), Fault> {
        let removed = self.stored.remove(key);
        self.backend.remove(key).await?;
        self.last = format!("`remove({key:?})`");
        if let Some(removed) = removed {
            self.is_not_told(&removed, "removed")?;
        }
        self.settle()
    }

    async fn clear(&mut self) -> Result<(), Fault> {
        self.stored.clear();
        self.backend.clear().await?;
        self.last = "`clear()`".into();
        self.settle()
    }

    async fn sweep(&mut self, now: u64) -> Result<(), Fault> {
        self.backend.sweep(Moment::from_nanos(now)).await?;
        self.last = format!("`sweep(+{now}ns)`");
        self.settle()
    }

    fn is_not_told(&self, left: &Entry, how: &str) -> Result<(), Fault> {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.iter().any(|entry| entry.is_same(left)) {
            return Err(format!(
                "{} reported {}, which was {how}; expected no report of it",
                self.last,
                Shown(Some(left))
            ));
        }
        Ok(())
    }

    /// Takes what was reported out of the ledger: each was in it.
    fn settle(&mut self) -> Result<(), Fault> {
        let told = mem::take(&mut *self.told.lock().unwrap_or_else(PoisonError::into_inner));
        for entry in told {
            let is_stored =
                self.stored.get(entry.key()).is_some_and(|stored| stored.is_same(&entry));
            if !is_stored {
                return Err(format!(
                    "{} reported {}; expected the stored handle of an entry that had not left, \
                     once (`Entry::is_same`)",
                    self.last,
                    Shown(Some(&entry))
                ));
            }
            self.stored.remove(entry.key());
        }
        Ok(())
    }

    /// Expects that all are shown which are in the ledger; at the end, that none is in it.
    async fn missing(&mut self, is_closed: bool) -> Result<(), Fault> {
        let stored: Vec<_> = self.stored.values().cloned().collect();
        for entry in &stored {
            if is_closed || self.backend.peek(entry.key())?.is_none() {
                return Err(format!(
                    "by the end of {} {} has left, and was not reported",
                    self.last,
                    Shown(Some(entry))
                ));
            }
        }
        Ok(())
    }
}

/// After `close`, an entry that `insert` rejects is not there when the backend is opened again, and
/// one that it takes comes back without a stamp. Left out unless entries outlive the process.
///
/// # Errors
///
/// [`Broken`] if it is not so.
pub async fn a_closed_backend_keeps_to_its_word(suite: &Suite) -> Result<Outcome, Broken> {
    if !suite.can.outlives {
        return Ok(Outcome::LeftOut("nothing outlives the process here"));
    }
    suite.kept("a_closed_backend_keeps_to_its_word", late).await
}

async fn late(suite: &Suite) -> Result<(), Fault> {
    let number = suite.number();
    let backend = suite.open_at(number).await?;
    backend.hold(&entry("a", "early", 100)).await?;
    backend.close().await?;
    let mut late = Vec::new();
    for key in ["b", "c"] {
        let entry = validated(key, "late", 100, 5, None);
        late.push((backend.insert(&entry).await?, entry));
    }
    drop(backend);
    let again = suite.open_at(number).await?;
    for (admission, entry) in late {
        let Some(shown) = again.look_up(entry.key()).await? else { continue };
        let is_taken = admission == Some(Admission::Stored);
        if !is_taken || shown.validated_at().is_some() {
            return Err(format!(
                "when `insert` had returned {admission:?} after `close`, and the backend was \
                 opened again, a look-up shows {} with the stamp {:?}; expected {}",
                Shown(Some(&shown)),
                shown.validated_at(),
                if is_taken { "no stamp" } else { "nothing" }
            ));
        }
    }
    Ok(())
}

const SEEDS: u64 = 12;
const STEPS: u64 = 400;
