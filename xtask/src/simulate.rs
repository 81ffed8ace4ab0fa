//! `cargo xtask simulate`: traces replayed through eviction policies. The program is a target of the package
//! `benches`, where the caches are that it compares with; here it is built and run.

use std::process::{Command, ExitCode};

use crate::shell::{Result, cargo, output};

pub(crate) const USAGE: &str = "\
cargo xtask simulate --trace FILE…       replay traces through policies, other caches and Belady's optimum: tables,
                                         charts and figures in target/simulate; see --help";

pub(crate) fn run(args: &[String]) -> Result<ExitCode> {
    let build =
        "bench --package benches --bench simulate --no-run --locked --message-format json-render-diagnostics";
    let messages = output(&mut cargo(build))?;
    let program = executable(&messages).ok_or("cargo did not say where the simulation is")?;
    // In the folder of whoever calls, so that the paths of traces are found.
    let status = Command::new(&program).args(args).status();
    let status = status.map_err(|error| format!("could not run {program}: {error}"))?;
    // Ended by a signal: no code.
    Ok(ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)))
}

/// What was built last, in cargo's JSON messages.
fn executable(messages: &str) -> Option<String> {
    let paths = messages.lines().filter_map(|line| line.split_once(r#""executable":""#));
    let path = paths.filter_map(|(_, rest)| rest.split('"').next()).next_back()?;
    Some(path.replace(r"\\", r"\"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_executable_is_found_in_cargos_messages() {
        let messages = r#"
            {"reason":"compiler-artifact","target":{"name":"measure"},"executable":null,"fresh":true}
            {"reason":"compiler-artifact","target":{"name":"simulate"},"executable":"C:\\x\\simulate-1","fresh":true}
            {"reason":"build-finished","success":true}"#;
        assert_eq!(executable(messages).as_deref(), Some(r"C:\x\simulate-1"));
        assert_eq!(executable(""), None);
    }
}
