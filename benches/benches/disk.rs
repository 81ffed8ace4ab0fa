//! The tier on disk beside others, and its limits. Separate, since it runs programs of itself that
//! it kills, and measures files. `-- --quick` checks that all of it works, in seconds.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    #[cfg(unix)]
    return benches::disk::run(&std::env::args().skip(1).collect::<Vec<_>>());
    #[cfg(not(unix))]
    ExitCode::SUCCESS
}
