//! Debian's package `prometheus`: its server, on a port of its own with data of its own, and `promtool`.

use std::{
    fs,
    io::{self, BufRead, BufReader, Write},
    net::SocketAddr,
    path::Path,
    process::{Child, ChildStdin, Command, Output, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;
use ureq::Agent;

use crate::{catalog::Catalog, exposition::Labels};

/// A server that scrapes one program and has loaded rules. Dropping it ends it; so does the end of this process, however
/// it comes.
pub(crate) struct Prometheus {
    url: String,
    agent: Agent,
    shell: Child,
    stdin: Option<ChildStdin>,
    _folder: TempDir,
}

/// Whether both programs can be run.
pub(crate) fn is_installed() -> bool {
    ["prometheus", "promtool"].iter().all(|program| {
        let version =
            Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        version.is_ok_and(|status| status.success())
    })
}

impl Prometheus {
    /// Starts a server that scrapes `target` under the job [`JOB`], and waits until it answers.
    pub(crate) fn start(target: SocketAddr, rules: &Path) -> Result<Self, String> {
        let shown = |error: io::Error| format!("no Prometheus server: {error}");
        let folder = TempDir::new().map_err(shown)?;
        let config = folder.path().join("prometheus.yml");
        // JSON is YAML.
        let text = serde_json::json!({
            "global": {"scrape_interval": "250ms", "evaluation_interval": "1s"},
            "rule_files": [rules],
            "scrape_configs": [{"job_name": JOB, "static_configs": [{"targets": [target.to_string()]}]}],
        });
        fs::write(&config, text.to_string()).map_err(shown)?;
        // The shell ends the server when its input does.
        let mut shell = Command::new("sh")
            .args([
                "-c",
                r#""$@" & cat; kill "$!"; wait"#,
                "sh",
                "prometheus",
                "--web.listen-address=127.0.0.1:0",
            ])
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(shown)?;
        let log = shell.stderr.take().ok_or("a piped output is there")?;
        let stdin = shell.stdin.take();
        let mut server = Self { url: String::new(), agent: agent(), shell, stdin, _folder: folder };

        let (sender, lines) = mpsc::channel();
        // Reads on after the server is ready: a full pipe would stop it.
        thread::spawn(move || {
            for line in BufReader::new(log).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let mut log = Vec::new();
        while !server.is_ready(&log) {
            let line = lines.recv_timeout(PATIENCE);
            log.push(line.map_err(|_| format!("Prometheus did not come up:\n{}", log.join("\n")))?);
        }
        match log.into_iter().find(|line| line.to_lowercase().contains("level=error")) {
            Some(error) => Err(format!("Prometheus did not come up: {error}")),
            None => Ok(server),
        }
    }

    /// Whether the last line of the `log` tells that it answers, or that it never will. Learns the address.
    fn is_ready(&mut self, log: &[String]) -> bool {
        let Some(line) = log.last() else { return false };
        if let Some((_, address)) = line.split_once("address=").filter(|_| line.contains("Listening on")) {
            let address = address.split_whitespace().next().unwrap_or_default();
            self.url = format!("http://{address}/api/v1");
        }
        line.contains("Server is ready to receive web requests")
            || line.to_lowercase().contains("level=error")
    }

    /// What its API answers.
    ///
    /// # Errors
    ///
    /// Its error, in its own words.
    pub(crate) fn ask(&self, path: &str, parameters: &[(&str, &str)]) -> Result<Value, String> {
        let request = self.agent.get(format!("{}/{path}", self.url)).query_pairs(parameters.iter().copied());
        let body = request.call().and_then(|mut answer| answer.body_mut().read_to_string());
        let body = body.map_err(|error| format!("{path}: {error}"))?;
        let mut answer: Value =
            serde_json::from_str(&body).map_err(|error| format!("{path}: {error}: {body}"))?;
        match answer["status"].as_str() {
            Some("success") => Ok(answer["data"].take()),
            _ => Err(answer["error"].as_str().unwrap_or(&body).to_owned()),
        }
    }

    /// The series that `expression` gives now, each with its value.
    pub(crate) fn evaluate(&self, expression: &str) -> Result<Vec<(Labels, f64)>, String> {
        let answer = self.ask("query", &[("query", expression)])?;
        let one =
            |series: &Value| Some((labels(&series["metric"]), series["value"][1].as_str()?.parse().ok()?));
        let series = answer["result"].as_array().ok_or_else(|| format!("no series: {answer}"))?;
        series.iter().map(one).collect::<Option<_>>().ok_or_else(|| format!("no value: {answer}"))
    }

    /// Every series that was scraped.
    pub(crate) fn catalog(&self) -> Result<Catalog, String> {
        let answer = self.ask("series", &[("match[]", &format!("{{job={JOB:?}}}"))])?;
        let mut catalog = Catalog::default();
        for series in answer.as_array().into_iter().flatten() {
            let mut labels = labels(series);
            if let Some(name) = labels.remove("__name__") {
                catalog.add(&name, labels);
            }
        }
        Ok(catalog)
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        drop(self.stdin.take());
        let _ = self.shell.wait();
    }
}

/// Runs `promtool ARGS…` in `folder` with `input`.
///
/// # Errors
///
/// All that it prints, if it finds anything.
pub(crate) fn promtool(folder: &Path, args: &[&str], input: &str) -> Result<(), String> {
    let run = || -> io::Result<Output> {
        let mut child = Command::new("promtool")
            .args(args)
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(input.as_bytes())?;
        }
        child.wait_with_output()
    };
    let out = run().map_err(|error| format!("promtool: {error}"))?;
    if out.status.success() {
        return Ok(());
    }
    let printed = [out.stdout, out.stderr].concat();
    let printed = String::from_utf8_lossy(&printed);
    Err(if printed.trim().is_empty() { out.status.to_string() } else { printed.into_owned() })
}

fn agent() -> Agent {
    // What Prometheus has to say about an error is in the body.
    let config =
        Agent::config_builder().timeout_global(Some(PATIENCE)).http_status_as_error(false).proxy(None);
    config.build().into()
}

fn labels(object: &Value) -> Labels {
    let pairs = object.as_object().into_iter().flatten();
    pairs.map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned())).collect()
}

/// What the program that is scraped is called.
pub(crate) const JOB: &str = "object-cache";

const PATIENCE: Duration = Duration::from_secs(30);
