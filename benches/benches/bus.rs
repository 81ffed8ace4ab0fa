//! The change bus, and a list that validates: what they cost a hit and an object, how many messages
//! a listener applies, and how long a write takes to another node. Separate, since it starts
//! servers. `-- --quick` checks that all of it works, in seconds.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    benches::bus::run(&std::env::args().skip(1).collect::<Vec<_>>())
}
