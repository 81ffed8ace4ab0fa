//! The values that typed readers decoded from an entry's body.

use std::{
    any::{Any, TypeId},
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use once_cell::race::OnceBox;
use tokio::sync::OnceCell;

/// One value for each type that was asked for. Costs one word until the first is.
#[derive(Default)]
pub(super) struct Decoded(OnceBox<Cells>);

type Cells = Mutex<Vec<(TypeId, Cell)>>;

pub(super) type Cell = Arc<OnceCell<Arc<dyn Any + Send + Sync>>>;

impl Decoded {
    /// Returns the cell of the type `id`, empty at first.
    pub(super) fn cell(&self, id: TypeId) -> Cell {
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
