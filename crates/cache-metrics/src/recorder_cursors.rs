//! How far each recorder of the `metrics` crate has got.

use std::{
    ptr,
    sync::{Arc, Mutex},
};

use metrics::Recorder;

use crate::delta::HistogramCursor;

/// What one recorder already has.
#[derive(Debug, Default)]
pub(crate) struct RecorderCursor {
    pub(crate) is_described: bool,
    pub(crate) histograms: HistogramCursor,
}

/// The cursors of the recorders that were used last, by the recorder's address, in the order of
/// their last use.
#[derive(Default)]
pub(crate) struct RecorderCursors(Vec<(usize, Arc<Mutex<RecorderCursor>>)>);

impl RecorderCursors {
    /// Returns the cursor of `recorder`, a new one if the address is not known.
    pub(crate) fn of(&mut self, recorder: &dyn Recorder) -> Arc<Mutex<RecorderCursor>> {
        let address = ptr::from_ref(recorder).cast::<()>().addr();
        let known = self.0.iter().position(|(known, _)| *known == address);
        let (_, cursor) = known.map_or_else(|| (address, Arc::default()), |at| self.0.remove(at));
        if self.0.len() == RECORDERS_MAX {
            self.0.remove(0);
        }
        self.0.push((address, Arc::clone(&cursor)));
        cursor
    }
}

const RECORDERS_MAX: usize = 16;
