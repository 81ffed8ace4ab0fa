//! `cargo xtask report`.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    simulate::report::main()
}
