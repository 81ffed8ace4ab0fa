//! A server as a child process.

use std::{
    error::Error,
    fs::File,
    io::{BufRead, BufReader, Write},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use crate::shell::{Result, root};

/// A server that answers. Dropping it ends it.
pub(super) struct Server {
    name: &'static str,
    url: String,
    child: Child,
    log: PathBuf,
}

impl Server {
    /// Starts `command` and waits until it prints a line in which `url_in` finds the address that
    /// it listens on. Its output goes to `.servers/NAME.log`.
    pub(super) fn start(
        name: &'static str,
        command: &mut Command,
        url_in: impl Fn(&str) -> Option<String> + Send + 'static,
    ) -> Result<Self> {
        let log = root().join(".servers").join(format!("{name}.log"));
        let mut file = File::create(&log)?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(file.try_clone()?);
        let program = command.get_program().display().to_string();
        let mut child =
            command.spawn().map_err(|error| format!("could not run {program}: {error}"))?;
        let stdout = child.stdout.take().ok_or("a piped output is there")?;
        let mut server = Self { name, url: String::new(), child, log };

        let (sender, address) = mpsc::channel();
        // Reads on after the address was printed: a full pipe would stop the server.
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(|line| line.ok()) {
                if let Some(url) = url_in(&line) {
                    let _ = sender.send(url);
                }
                let _ = writeln!(file, "{line}");
            }
        });
        server.url = address.recv_timeout(PATIENCE).map_err(|error| {
            format!("the {name} server did not come up ({error}); see {}", server.log.display())
        })?;
        Ok(server)
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Waits until the server ends, which it should not.
    pub(super) fn ended(&mut self) -> Box<dyn Error> {
        // Waiting closes the server's standard input, and so would end it: it is kept open
        // meanwhile.
        let open = self.child.stdin.take();
        let how =
            self.child.wait().map_or_else(|error| error.to_string(), |status| status.to_string());
        drop(open);
        format!("the {} server ended ({how}); see {}", self.name, self.log.display()).into()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // An error says that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Finds the address in a line that has one.
pub(super) fn http_url(line: &str) -> Option<String> {
    line.find("http://").map(|at| line[at..].trim_end().to_owned())
}

const PATIENCE: Duration = Duration::from_secs(60);
