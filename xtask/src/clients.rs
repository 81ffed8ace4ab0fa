//! `cargo xtask clients`: real clients over our stores.

use std::process::ExitCode;

use crate::shell::{Result, build_unlocked_and_run};

pub(crate) const USAGE: &str = "\
cargo xtask clients [NAME…] [--json FILE]
    Runs real clients over a store 20 ms away: requests, bytes, times, and whether the results are
    right. All of them, or some of parquet, slatedb, datafusion.";

/// Stops at the first that fails.
pub(crate) fn run(args: &[String]) -> Result<ExitCode> {
    let (names, rest) = chosen(args)?;
    for name in names {
        let build = format!("build --manifest-path tools/clients/Cargo.toml --release --features {name}");
        let code = build_unlocked_and_run(&format!("{build} --bin client-{name}"), rest)?;
        if code != ExitCode::SUCCESS {
            return Ok(code);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The named clients, or all, and the arguments for each of them.
fn chosen(args: &[String]) -> Result<(Vec<&str>, &[String])> {
    let named = args.iter().take_while(|arg| !arg.starts_with('-')).count();
    let (names, rest) = args.split_at(named);
    if let Some(unknown) = names.iter().find(|name| !CLIENTS.contains(&name.as_str())) {
        return Err(format!("no client {unknown:?}; choose from {}", CLIENTS.join(", ")).into());
    }
    match names {
        [] => Ok((CLIENTS.to_vec(), rest)),
        names => Ok((names.iter().map(String::as_str).collect(), rest)),
    }
}

/// The quick builds first.
const CLIENTS: [&str; 3] = ["parquet", "slatedb", "datafusion"];

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(args: &[&str], names: &[&str], rest: &[&str]) {
        let args: Vec<_> = args.iter().map(ToString::to_string).collect();
        let (chosen, left) = chosen(&args).unwrap();
        assert_eq!((chosen, left), (names.to_vec(), &args[args.len() - rest.len()..]));
        assert_eq!(left, rest);
    }

    #[test]
    fn named_clients_get_the_other_arguments() {
        check(&[], &CLIENTS, &[]);
        check(&["--json", "x"], &CLIENTS, &["--json", "x"]);
        check(&["slatedb", "parquet", "--json", "x"], &["slatedb", "parquet"], &["--json", "x"]);
    }

    #[test]
    fn an_unknown_client_is_an_error() {
        assert!(chosen(&["parquets".to_owned()]).is_err());
    }
}
