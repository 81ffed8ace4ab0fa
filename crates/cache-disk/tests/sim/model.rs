//! What look-ups may show.

use std::collections::BTreeMap;

use cache_core::{Entry, Seal};

/// All that was inserted, by every process, and what the present process may show of it.
#[derive(Default)]
pub(crate) struct Model {
    /// As they were inserted.
    versions: Vec<Entry>,
    keys: BTreeMap<String, Key>,
}

/// A version: an index into all that were inserted.
pub(crate) type Number = usize;

/// What may be shown of a key after one of its changes. Nothing may always be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// This process has not changed the key. One version that an earlier process has inserted may
    /// be shown, always the same one.
    Earlier(Option<Number>),
    Absent,
    Version(Number),
}

struct Key {
    /// With the stamp of each version.
    states: Vec<(State, Seal)>,
    /// The last state whose change has returned: look-ups that begin now show no earlier one.
    settled: usize,
    /// A version that is being inserted, while no change of the key may begin.
    inserting: Option<Number>,
    /// Everything was cleared while its version was being inserted, which the tier may have
    /// forgotten.
    was_cleared: bool,
    /// The last version that is known to be on disk, if it is still the one of the last state.
    on_disk: Option<Number>,
    /// The version that has to be found by the process that has just begun.
    must_find: Option<Number>,
    /// The handle that a look-up has shown last, and its state.
    last_shown: Option<(usize, Entry)>,
}

impl Default for Key {
    fn default() -> Self {
        Self {
            states: vec![(State::Earlier(None), Seal::none())],
            settled: 0,
            inserting: None,
            was_cleared: false,
            on_disk: None,
            must_find: None,
            last_shown: None,
        }
    }
}

/// Which versions a look-up may show, from when it begins on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Begun(usize);

impl Model {
    pub(crate) fn new(keys: impl IntoIterator<Item = String>) -> Self {
        let keys = keys.into_iter().map(|key| (key, Key::default())).collect();
        Self { versions: Vec::new(), keys }
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &str> {
        self.keys.keys().map(String::as_str)
    }

    /// The number of the next version.
    pub(crate) fn next(&self) -> Number {
        self.versions.len()
    }

    fn key(&mut self, key: &str) -> &mut Key {
        self.keys.get_mut(key).expect("the play has this key")
    }

    /// Returns whether a change of the key may begin.
    pub(crate) fn is_settled(&self, key: &str) -> bool {
        self.keys[key].inserting.is_none()
    }

    pub(crate) fn insert_begins(&mut self, entry: &Entry) {
        let number = self.next();
        self.versions.push(entry.clone());
        let key = self.key(entry.key());
        key.states.push((State::Version(number), entry.seal()));
        (key.inserting, key.was_cleared, key.on_disk) = (Some(number), false, None);
    }

    pub(crate) fn insert_ends(&mut self, key: &str) {
        let key = self.key(key);
        key.inserting = None;
        key.settled = key.states.len() - 1;
    }

    /// Also after an insert that was handed back: the caller removes the key then.
    pub(crate) fn removed(&mut self, key: &str) {
        let key = self.key(key);
        key.states.push(ABSENT);
        key.settled = key.states.len() - 1;
        (key.inserting, key.on_disk) = (None, None);
    }

    pub(crate) fn cleared(&mut self) {
        for key in self.keys.values_mut() {
            let last = *key.states.last().expect("it has one");
            key.states.push(ABSENT);
            key.settled = key.states.len() - 1;
            key.on_disk = None;
            if key.inserting.is_some() {
                key.states.push(last);
                key.was_cleared = true;
            }
        }
    }

    pub(crate) fn marked(&mut self, key: &str) {
        self.key(key).seal().mark_stale();
    }

    /// Returns the handle that was last shown, if it is of the version that the key still has.
    pub(crate) fn renewable(&self, key: &str) -> Option<Entry> {
        let known = &self.keys[key];
        let (state, handle) = known.last_shown.as_ref()?;
        let is_current = *state == known.states.len() - 1 && known.inserting.is_none();
        is_current.then(|| handle.clone())
    }

    /// Takes note that the handle was renewed, and the backend told.
    pub(crate) fn renewed(&mut self, handle: &Entry) {
        let inserted = self.keys[handle.key()].last().map(|number| self.versions[number].clone());
        // One without a ticket is not of the tier, unless it is the inserted one.
        if handle.ticket() != 0 || inserted.is_some_and(|entry| entry.is_same(handle)) {
            *self.key(handle.key()).seal() = handle.seal();
        }
    }

    pub(crate) fn begins(&self, key: &str) -> Begun {
        Begun(self.keys[key].settled)
    }

    /// Checks what a look-up shows.
    pub(crate) fn shown(&mut self, name: &str, begun: Begun, shown: &Entry) -> Result<(), String> {
        let number = number_of(shown).ok_or("an ETag that no entry had")?;
        let inserted = self.versions.get(number).ok_or("a version that was not inserted")?;
        if (shown.key(), shown.body()) != (inserted.key(), inserted.body()) || shown.key() != name {
            return Err(format!("version {number} of {name} with the bytes of something else"));
        }
        let says = |entry: &Entry| {
            (entry.version(), entry.attributes().clone(), entry.storability(), entry.namespace())
        };
        if says(shown) != says(inserted) {
            return Err(format!("version {number} of {name} says something else of itself"));
        }
        let key = self.key(name);
        let allows = |(state, _): &(State, Seal)| match state {
            State::Version(version) | State::Earlier(Some(version)) => *version == number,
            State::Earlier(None) => true,
            State::Absent => false,
        };
        let last = key.states.len() - 1;
        let Some(found) = (begun.0..=last).rev().find(|at| allows(&key.states[*at])) else {
            let allowed = &key.states[begun.0..];
            return Err(format!("version {number} of {name}, where {allowed:?} may be shown"));
        };
        let (state, expected) = &mut key.states[found];
        if matches!(state, State::Earlier(_)) {
            *state = State::Earlier(Some(number));
        }
        let (seal, expected) = (shown.seal(), *expected);
        // The stamp of one that was replaced or removed meanwhile is not shown.
        let is_current = found >= key.settled;
        if seal != expected.unstamped() && !(is_current && seal == expected) {
            return Err(format!(
                "version {number} of {name} with the stamp {seal:?} instead of {expected:?}"
            ));
        }
        key.last_shown = Some((found, shown.clone()));
        Ok(())
    }

    /// Returns the version that a look-up which begins now would show, if the tier has it.
    pub(crate) fn version(&self, key: &str) -> Option<Number> {
        let key = &self.keys[key];
        key.last().filter(|_| key.inserting.is_none() && !key.was_cleared)
    }

    /// Returns the inserted entry.
    pub(crate) fn inserted(&self, number: Number) -> &Entry {
        &self.versions[number]
    }

    /// Takes note that the version of the key is on disk.
    pub(crate) fn is_on_disk(&mut self, key: &str) {
        let version = self.version(key);
        self.key(key).on_disk = version;
    }

    pub(crate) fn on_disk(&self, key: &str) -> Option<Number> {
        self.keys[key].on_disk
    }

    /// The process has ended: what is known of the next one.
    pub(crate) fn restarted(&mut self, must_find: impl Fn(&str) -> Option<Number>) {
        for (name, key) in &mut self.keys {
            *key = Key { must_find: must_find(name), ..Key::default() };
        }
    }

    /// Returns the versions that have to be found by a process that has changed nothing yet.
    pub(crate) fn must_find(&self) -> Vec<(String, Number)> {
        let of = |(name, key): (&String, &Key)| Some((name.clone(), key.must_find?));
        self.keys.iter().filter_map(of).collect()
    }
}

impl Key {
    fn last(&self) -> Option<Number> {
        match self.states.last()?.0 {
            State::Version(number) | State::Earlier(Some(number)) => Some(number),
            State::Earlier(None) | State::Absent => None,
        }
    }

    /// The stamp of the version of the last state.
    fn seal(&mut self) -> &mut Seal {
        &mut self.states.last_mut().expect("it has one").1
    }
}

const ABSENT: (State, Seal) = (State::Absent, Seal::none());

/// Returns the number that the entry's ETag tells.
fn number_of(entry: &Entry) -> Option<Number> {
    entry.e_tag()?.trim_matches('"').parse().ok()
}
