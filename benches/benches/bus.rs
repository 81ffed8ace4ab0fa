//! The change bus: what it costs a hit, how many messages a listener applies, and how long a write
//! takes to another node. Separate, since it starts servers. `-- --quick` checks that all of it
//! works, in seconds.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    benches::bus::run(&std::env::args().skip(1).collect::<Vec<_>>())
}
