//! Typed reads: the body decoded once for all readers of an entry.

use std::{
    any::{Any, TypeId},
    cell::RefCell,
    sync::Arc,
};

use bytes::Bytes;

use super::Entry;
use crate::{Error, ErrorKind, Result};

impl Entry {
    /// Returns what `decode` makes of the body. It runs once for each type, however many readers
    /// ask for the value at the same time, and the value is kept with the entry. A failure is not
    /// kept. If the future is dropped, the next reader in line decodes. A value that panics when it
    /// is dropped with the entry is caught.
    ///
    /// # Errors
    ///
    /// The error of `decode`; `Decode` inside of a `decode` of the same type of the same object,
    /// which would wait for itself.
    pub async fn decoded<T, F>(&self, decode: F) -> Result<Arc<T>>
    where
        T: Any + Send + Sync,
        F: FnOnce(&Bytes) -> Result<T>,
    {
        let id = TypeId::of::<T>();
        // The lock is held to find the cell only, never while `decode` runs.
        let cell = self.head().rare.get_or_init(Box::default).decoded.cell(id);
        let value = match cell.get() {
            Some(value) => value,
            None => {
                Decoding::check(self, id)?;
                let decode = async || {
                    let _decoding = Decoding::begin(self, id);
                    decode(self.body()).map(|value| Arc::new(value) as Arc<_>)
                };
                cell.get_or_try_init(decode).await?
            }
        };
        Ok(Arc::clone(value).downcast().expect("the cell is found by the type's own id"))
    }
}

thread_local! {
    /// What is being decoded on this thread, each inside of the one before. A decoder awaits
    /// nothing, so whatever calls from inside of it is on its thread.
    static DECODING: RefCell<Vec<(Entry, TypeId)>> = const { RefCell::new(Vec::new()) };
}

/// A decoder that is running on this thread.
struct Decoding;

impl Decoding {
    /// # Errors
    ///
    /// `Decode` inside of a decoder of the same object and the same type, at whatever depth: it
    /// would wait for itself, or, where the object is not cached, call itself for ever.
    fn check(entry: &Entry, id: TypeId) -> Result<()> {
        let is_it = |(other, other_id): &(Entry, TypeId)| {
            let is_same_object = other.namespace().is_some()
                && (other.namespace(), other.key()) == (entry.namespace(), entry.key());
            // An uncached object is another entry at each read, so it is compared as an object too.
            // mutant: same_object
            *other_id == id && (other.is_same(entry) || is_same_object)
        };
        if DECODING.with_borrow(|running| running.iter().any(is_it)) {
            let why = "the decoder asks for the value that it is making";
            return Err(Error::new(ErrorKind::Decode, why));
        }
        Ok(())
    }

    fn begin(entry: &Entry, id: TypeId) -> Self {
        DECODING.with_borrow_mut(|running| running.push((entry.clone(), id)));
        Self
    }
}

impl Drop for Decoding {
    fn drop(&mut self) {
        // Dropped when it is not borrowed any more, for it may be the last handle.
        // A decoder that stayed in the list would look like a recursive call.
        // mutant: decoder_ends
        drop(DECODING.with_borrow_mut(Vec::pop));
    }
}
