//! The disk tier over a simulated disk: schedules from seeds, with a model of what may be shown.

mod memories;
mod model;
mod play;
mod records;
mod schedules;
