//! Getting the servers, once, by the package managers as they are set up here.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

use crate::shell::{Result, command, root, run};

/// Where the servers are installed.
pub(super) struct Tools {
    s3: PathBuf,
    azure: PathBuf,
}

impl Tools {
    /// Installs what is not there yet. Takes about a minute the first time, and 700 MB.
    pub(super) fn installed() -> Result<Self> {
        let home = root().join(".servers");
        let tools = Self { s3: home.join("s3"), azure: home.join("azure") };
        once(&tools.s3, S3, |folder| {
            run(command("python3").args(["-m", "venv"]).arg(folder)).map_err(|error| {
                format!("{error}\nneeded: Python 3 with venv (Debian: python3-venv)")
            })?;
            run(command(&in_venv(folder)).args(["-m", "pip", "--quiet", "install", S3]))
        })?;
        once(&tools.azure, AZURE, |folder| {
            let args = [
                "install",
                "--no-save",
                "--no-audit",
                "--no-fund",
                "--ignore-scripts",
                "--loglevel=error",
                AZURE,
                "--prefix",
            ];
            run(command("npm").args(args).arg(folder))
                .map_err(|error| format!("{error}\nneeded: Node.js with npm (Debian: npm)").into())
        })?;
        Ok(tools)
    }

    pub(super) fn s3(&self) -> Command {
        self.python("serve_s3.py")
    }

    pub(super) fn azure(&self) -> Command {
        let mut node = command("node");
        node.arg("--require").arg(scripts().join("end_with_stdin.js"));
        node.arg(self.azure.join("node_modules/azurite/dist/src/blob/main.js"));
        // Data in memory cannot be left over, and the server has no other clients than the tests.
        node.args([
            "--inMemoryPersistence",
            "--disableTelemetry",
            "--silent",
            "--skipApiVersionCheck",
        ]);
        node.args(["--blobHost", "127.0.0.1", "--blobPort", "0"]);
        node
    }

    /// One of our scripts, run where the S3 server is installed.
    pub(super) fn python(&self, script: &str) -> Command {
        let mut python = command(&in_venv(&self.s3));
        python.arg(scripts().join(script));
        python
    }
}

const S3: &str = "moto[server,s3]==5.2.5";
const AZURE: &str = "azurite@3.37.0";

/// Fills `folder` by `install`, unless it was filled with this very `what` before.
fn once(folder: &Path, what: &str, install: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let done = folder.join("installed");
    if fs::read_to_string(&done).is_ok_and(|held| held == what) {
        return Ok(());
    }
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        _ => fs::create_dir_all(folder)?,
    }
    install(folder)?;
    Ok(fs::write(done, what)?)
}

fn in_venv(folder: &Path) -> String {
    folder.join("bin/python").display().to_string()
}

fn scripts() -> PathBuf {
    root().join("xtask/src/servers")
}
