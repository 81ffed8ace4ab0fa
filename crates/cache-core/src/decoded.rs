//! What typed readers made of an entry's body.

use std::{
    any::{Any, TypeId},
    sync::{Arc, Mutex, PoisonError},
};

use once_cell::race::OnceBox;
use tokio::sync::OnceCell;

use crate::Result;

/// One value for each type that was asked for. Costs one word until the first is.
#[derive(Default)]
pub(crate) struct Decoded(OnceBox<Cells>);

type Cells = Mutex<Vec<(TypeId, Cell)>>;

type Cell = Arc<OnceCell<Arc<dyn Any + Send + Sync>>>;

impl Decoded {
    /// The value of type `T`, made by `make` if there is none. Of many that ask at once, one makes it and the
    /// others wait; the lock is held to find the cell only, never while `make` runs.
    pub(crate) async fn get_or_try_init<T: Any + Send + Sync>(
        &self,
        make: impl FnOnce() -> Result<T>,
    ) -> Result<Arc<T>> {
        let made = self.cell(TypeId::of::<T>());
        let value = made.get_or_try_init(async || make().map(|value| Arc::new(value) as Arc<_>)).await?;
        Ok(Arc::clone(value).downcast().expect("the cell is found by the type's own id"))
    }

    fn cell(&self, id: TypeId) -> Cell {
        let cells = self.0.get_or_init(Box::default);
        let mut cells = cells.lock().unwrap_or_else(PoisonError::into_inner);
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
