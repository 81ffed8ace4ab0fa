//! The paths of the keys that were asked about lately.
//!
//! Parsing a path costs a third of what a conditional GET of a store in memory does, and a key that
//! is validated is mostly one that was validated before. A key has one place, by its hash; the last
//! one to come has it.

use std::{
    hash::BuildHasher,
    sync::{Arc, Mutex, TryLockError},
};

use cache_core::{Error, ErrorKind, Key, Result};
use foldhash::fast::RandomState;
use object_store::path::Path;

/// At most some 700 KiB.
pub(crate) struct Paths {
    hasher: RandomState,
    places: Box<[Mutex<Option<Arc<Path>>>]>,
}

impl Paths {
    pub(crate) fn new() -> Self {
        Self {
            hasher: RandomState::default(),
            places: (0..PLACES).map(|_| Mutex::default()).collect(),
        }
    }

    /// The path of `key`: a key is a path as it is, parsed, never encoded.
    pub(crate) fn of(&self, key: &Key) -> Result<Arc<Path>> {
        let at = usize::try_from(self.hasher.hash_one(key.as_str().as_bytes()) % PLACES)
            .expect("below PLACES");
        let mut place = match self.places[at].try_lock() {
            Ok(place) => place,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return parse(key).map(Arc::new),
        };
        if let Some(path) = place.as_ref().filter(|path| is_of(path, key)) {
            return Ok(Arc::clone(path));
        }
        let path = Arc::new(parse(key)?);
        if key.as_str().len() <= LEN_MAX {
            *place = Some(Arc::clone(&path));
        }
        Ok(path)
    }
}

fn is_of(path: &Path, key: &Key) -> bool {
    path.as_ref() == key.as_str()
}

fn parse(key: &Key) -> Result<Path> {
    Path::parse(key.as_str()).map_err(|error| {
        Error::new(ErrorKind::InvalidKey, "object_store does not take this key as a path")
            .with_source(error)
    })
}

const PLACES: u64 = 4096;

/// Longer ones are parsed each time.
const LEN_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    /// More keys than places, so that many share one.
    #[test]
    fn a_path_is_that_of_its_key() {
        let paths = Paths::new();
        let long = "k".repeat(LEN_MAX + 1);
        for _ in 0..2 {
            for n in 0..3 * PLACES {
                let key = Key::parse(&format!("a/{n}")).unwrap();
                assert!(is_of(&paths.of(&key).unwrap(), &key));
                assert!(is_of(&paths.of(&key).unwrap(), &key));
            }
            let long = Key::parse(&long).unwrap();
            assert!(is_of(&paths.of(&long).unwrap(), &long));
        }
        assert!(paths.places.iter().all(|place| {
            place
                .lock()
                .unwrap()
                .as_ref()
                .is_none_or(|path| path.as_ref().as_ref().len() <= LEN_MAX)
        }));
    }

    #[test]
    fn a_place_that_is_in_use_holds_nobody_up() {
        let paths = Paths::new();
        let _held: Vec<_> = paths.places.iter().map(|place| place.lock().unwrap()).collect();
        let key = Key::parse("a").unwrap();
        assert!(is_of(&paths.of(&key).unwrap(), &key));
    }
}
