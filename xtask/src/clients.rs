//! `cargo xtask clients`: real clients over our stores.

use std::process::ExitCode;

use crate::shell::{Result, build_unlocked_and_run};

pub(crate) const USAGE: &str = "\
cargo xtask clients [NAME…]
    Runs real clients over a store 20 ms away: requests, bytes, times, and whether the results are
    right. All of them, or some of parquet, slatedb, datafusion.";

/// Stops at the first client that fails.
pub(crate) fn run(args: &[String]) -> Result<ExitCode> {
    for name in chosen(args)? {
        let build =
            format!("build --manifest-path tools/clients/Cargo.toml --release --features {name}");
        let code = build_unlocked_and_run(&format!("{build} --bin client-{name}"), &[])?;
        if code != ExitCode::SUCCESS {
            return Ok(code);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The named clients, or all.
fn chosen(args: &[String]) -> Result<Vec<&str>> {
    if let Some(unknown) = args.iter().find(|name| !CLIENTS.contains(&name.as_str())) {
        return Err(format!("no client {unknown:?}; choose from {}", CLIENTS.join(", ")).into());
    }
    match args {
        [] => Ok(CLIENTS.to_vec()),
        names => Ok(names.iter().map(String::as_str).collect()),
    }
}

/// The quick builds first.
const CLIENTS: [&str; 3] = ["parquet", "slatedb", "datafusion"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_chosen_by_name() {
        assert_eq!(chosen(&[]).unwrap(), CLIENTS);
        let names = ["slatedb", "parquet"].map(str::to_owned);
        assert_eq!(chosen(&names).unwrap(), ["slatedb", "parquet"]);
        assert!(chosen(&["parquets".to_owned()]).is_err());
    }
}
