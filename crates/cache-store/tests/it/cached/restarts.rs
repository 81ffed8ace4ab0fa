//! After a restart.
