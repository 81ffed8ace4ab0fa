//! Running other programs, and finding the workspace's files.

use std::{
    env,
    error::Error,
    io::ErrorKind,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
};

pub(crate) type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The folder of the workspace.
pub(crate) fn root() -> PathBuf {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap_or(xtask).to_owned()
}

/// `program`, to be run in the workspace's folder.
pub(crate) fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    command.current_dir(root());
    // `cargo run` sets these for xtask. Build scripts that watch them (ring's does) would run
    // again.
    for (name, _) in env::vars().filter(|(name, _)| OURS.iter().any(|ours| name.starts_with(ours)))
    {
        command.env_remove(name);
    }
    command
}

/// `cargo ARGS…`, where `args` is split at spaces.
pub(crate) fn cargo(args: &str) -> Command {
    let mut command = command("cargo");
    command.args(args.split_whitespace());
    command
}

/// Prints `command` and runs it. An error says which command failed, and how.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    println!("$ {}", shown(command));
    let status = command.status().map_err(|error| not_run(command, &error))?;
    if status.success() { Ok(()) } else { Err(format!("{status}: {}", shown(command)).into()) }
}

/// The standard output of `command`; its standard error is inherited.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let out =
        command.stderr(Stdio::inherit()).output().map_err(|error| not_run(command, &error))?;
    if !out.status.success() {
        return Err(format!("{}: {}", out.status, shown(command)).into());
    }
    Ok(String::from_utf8(out.stdout)?)
}

/// Builds a program with cargo and runs it with `args` in the current folder, so that relative
/// paths work.
pub(crate) fn build_and_run(build: &str, args: &[String]) -> Result<ExitCode> {
    build_unlocked_and_run(&format!("{build} --locked"), args)
}

/// The same for a workspace whose Cargo.lock is not in the repository.
pub(crate) fn build_unlocked_and_run(build: &str, args: &[String]) -> Result<ExitCode> {
    let mut program = built(build)?;
    ended(program.args(args))
}

/// Builds a program with cargo, to be run in the current folder.
pub(crate) fn built(build: &str) -> Result<Command> {
    let messages =
        output(&mut cargo(&format!("{build} --message-format json-render-diagnostics")))?;
    Ok(Command::new(executable(&messages).ok_or("cargo did not say where the program is")?))
}

/// Runs `program` and returns its exit code.
pub(crate) fn ended(program: &mut Command) -> Result<ExitCode> {
    let status = program.status().map_err(|error| not_run(program, &error))?;
    // A program ended by a signal has no code.
    Ok(ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)))
}

/// The program built last, in the JSON messages of cargo.
fn executable(messages: &str) -> Option<String> {
    let paths = messages.lines().filter_map(|line| line.split_once(r#""executable":""#));
    let path = paths.filter_map(|(_, rest)| rest.split('"').next()).next_back()?;
    Some(path.replace(r"\\", r"\"))
}

/// The command as typed in a shell.
fn shown(command: &Command) -> String {
    let set = command.get_envs().filter_map(|(name, value)| Some((name, value?)));
    let set = set.map(|(name, value)| format!("{}='{}' ", name.display(), value.display()));
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<_> = words.map(|word| word.display().to_string()).collect();
    set.collect::<String>() + &words.join(" ")
}

fn not_run(command: &Command, error: &std::io::Error) -> String {
    let program = command.get_program().display();
    match error.kind() {
        ErrorKind::NotFound => format!("{program} is not installed, or not on the PATH"),
        _ => format!("could not run {program}: {error}"),
    }
}

const OURS: [&str; 4] = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_executable_is_found_in_cargos_messages() {
        let messages = r#"
            {"reason":"compiler-artifact","target":{"name":"bytes"},"executable":null,"fresh":true}
            {"reason":"compiler-artifact","target":{"name":"simulate"},"executable":"C:\\x\\simulate-1","fresh":true}
            {"reason":"build-finished","success":true}"#;
        assert_eq!(executable(messages).as_deref(), Some(r"C:\x\simulate-1"));
        assert_eq!(executable(""), None);
    }
}
