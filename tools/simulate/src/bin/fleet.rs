//! `cargo xtask simulate --nodes N…`.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    simulate::fleet::main()
}
