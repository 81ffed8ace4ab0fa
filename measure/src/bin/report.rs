//! `cargo xtask report`.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    measure::report::main()
}
