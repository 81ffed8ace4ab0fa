//! What typed readers made of an entry's body.

use std::{
    any::{Any, TypeId},
    cell::RefCell,
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use once_cell::race::OnceBox;
use tokio::sync::OnceCell;

use crate::{Entry, Error, ErrorKind, Result};

/// One value for each type that was asked for. Costs one word until the first is.
#[derive(Default)]
pub(crate) struct Decoded(OnceBox<Cells>);

type Cells = Mutex<Vec<(TypeId, Cell)>>;

type Cell = Arc<OnceCell<Arc<dyn Any + Send + Sync>>>;

impl Decoded {
    /// The value of type `T` of `entry`, made by `make` if there is none. Of many that ask at once,
    /// one makes it and the others wait; the lock is held to find the cell only, never while `make`
    /// runs.
    ///
    /// # Errors
    ///
    /// `Decode` inside of a `make` of the same; what `make` returns.
    pub(crate) async fn get_or_try_init<T: Any + Send + Sync>(
        &self,
        entry: &Entry,
        make: impl FnOnce() -> Result<T>,
    ) -> Result<Arc<T>> {
        let id = TypeId::of::<T>();
        let cell = self.cell(id);
        let value = match cell.get() {
            Some(value) => value,
            None => {
                Decoding::check(entry, id)?;
                let make = async || {
                    let _decoding = Decoding::begin(entry, id);
                    make().map(|value| Arc::new(value) as Arc<_>)
                };
                cell.get_or_try_init(make).await?
            }
        };
        Ok(Arc::clone(value).downcast().expect("the cell is found by the type's own id"))
    }

    fn cell(&self, id: TypeId) -> Cell {
        let mut cells = lock(self.0.get_or_init(Box::default));
        match cells.iter().find(|(held, _)| *held == id) {
            Some((_, cell)) => Arc::clone(cell),
            None => {
                let cell = Cell::default();
                cells.push((id, Arc::clone(&cell)));
                cell
            }
        }
    }
}

impl Drop for Decoded {
    /// A value that panics when it is dropped is not the fault of the backend that drops its entry,
    /// and may be in the middle of a change there.
    fn drop(&mut self) {
        let Some(cells) = self.0.get() else { return };
        for cell in mem::take(&mut *lock(cells)) {
            // The panic was reported by its hook. There is nobody else to tell.
            let _ = catch_unwind(AssertUnwindSafe(|| drop(cell)));
        }
    }
}

fn lock(cells: &Cells) -> MutexGuard<'_, Vec<(TypeId, Cell)>> {
    cells.lock().unwrap_or_else(PoisonError::into_inner)
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
