//! The rows that a client ends with.

use std::{env, error::Error, fs, future::Future, io, process::ExitCode};

use serde_json::{Value, json};

use crate::{Remote, clock::Stopwatch};

/// What a client returns when it cannot go on.
pub type Result<T, E = Box<dyn Error + Send + Sync>> = std::result::Result<T, E>;

/// The rows of one client.
#[derive(Debug)]
pub struct Report {
    client: &'static str,
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    case: String,
    store: &'static str,
    requests: usize,
    bytes: u64,
    seconds: f64,
    equal: bool,
}

impl Report {
    /// A report without rows.
    pub fn new(client: &'static str) -> Self {
        Self { client, rows: Vec::new() }
    }

    /// Does `work` over the store of that name, whose requests go to `remote`, and notes what it took and whether the
    /// result is `expected`.
    ///
    /// # Errors
    ///
    /// That of `work`, with the name of the case. There is no row then.
    pub async fn case<T: PartialEq>(
        &mut self,
        case: impl Into<String>,
        (store, remote): (&'static str, &Remote),
        expected: &T,
        work: impl Future<Output = Result<T>>,
    ) -> Result<()> {
        let case = case.into();
        remote.reset();
        let time = Stopwatch::start();
        let result = work.await.map_err(|error| format!("{case} over {store}: {error}"))?;
        let seconds = time.read().as_secs_f64();
        let equal = result == *expected;
        let row = Row { case, store, requests: remote.requests(), bytes: remote.bytes(), seconds, equal };
        self.rows.push(row);
        Ok(())
    }

    /// Prints the rows as a table, and with `--json FILE` writes them to that file, as an array of objects. What is in
    /// it of other clients stays. Fails if a result was not as expected.
    ///
    /// # Errors
    ///
    /// If the program has other arguments, the file cannot be read or written, or holds something else.
    pub fn finish(self) -> Result<ExitCode> {
        let args: Vec<_> = env::args().skip(1).collect();
        let file = match &args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            [] => None,
            ["--json", file] => Some(*file),
            _ => return Err("arguments: [--json FILE]".into()),
        };
        print!("{}", self.table());
        if let Some(file) = file {
            let before = match fs::read_to_string(file) {
                Ok(text) => text,
                Err(error) if error.kind() == io::ErrorKind::NotFound => "[]".to_owned(),
                Err(error) => return Err(format!("{file}: {error}").into()),
            };
            fs::write(file, self.json(&before)?)?;
        }
        let all_equal = self.rows.iter().all(|row| row.equal);
        Ok(if all_equal { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn table(&self) -> String {
        let mut text = format!(
            "\n| {} | store | requests | MB | seconds | as expected |\n| --- | --- | ---: | ---: | ---: | --- |\n",
            self.client
        );
        for Row { case, store, requests, bytes, seconds, equal } in self.rows.iter().chain(&self.sums()) {
            let megabytes = *bytes as f64 / 1e6;
            let equal = if *equal { "yes" } else { "NO" };
            text += &format!("| {case} | {store} | {requests} | {megabytes:.2} | {seconds:.3} | {equal} |\n");
        }
        text
    }

    /// The cases `PASS: …` of each pass together, in the order of the first of them.
    fn sums(&self) -> Vec<Row> {
        let mut sums: Vec<Row> = Vec::new();
        for row in &self.rows {
            let Some((pass, _)) = row.case.split_once(": ") else { continue };
            let case = format!("{pass}, all");
            let known = sums.iter().position(|sum| sum.case == case && sum.store == row.store);
            let at = known.unwrap_or(sums.len());
            if known.is_none() {
                sums.push(Row { case, store: row.store, requests: 0, bytes: 0, seconds: 0.0, equal: true });
            }
            let sum = &mut sums[at];
            sum.requests += row.requests;
            sum.bytes += row.bytes;
            sum.seconds += row.seconds;
            sum.equal &= row.equal;
        }
        sums
    }

    /// The rows of other clients in `before`, then ours.
    fn json(&self, before: &str) -> Result<String> {
        let mut rows: Vec<Value> = serde_json::from_str(before)?;
        rows.retain(|row| row["client"] != self.client);
        rows.extend(self.rows.iter().map(|row| {
            let Row { case, store, requests, bytes, seconds, equal } = row;
            json!({
                "client": self.client, "case": case, "store": store,
                "requests": requests, "bytes": bytes, "seconds": seconds, "equal": equal,
            })
        }));
        let rows: Vec<_> = rows.iter().map(Value::to_string).collect();
        Ok(format!("[\n{}\n]\n", rows.join(",\n")))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use object_store::{ObjectStoreExt, memory::InMemory};

    use super::*;

    async fn report(expected: &'static str) -> Report {
        let remote = Remote::new(Arc::new(InMemory::new()));
        remote.put(&"a".into(), "body".into()).await.unwrap();
        let mut report = Report::new("me");
        let work = async { Ok(remote.get(&"a".into()).await?.bytes().await?) };
        report.case("read", ("bare", &remote), &expected.into(), work).await.unwrap();
        report
    }

    #[tokio::test(start_paused = true)]
    async fn a_case_is_a_row_with_what_it_took() {
        let row = &report("body").await.rows[0];
        assert_eq!((row.requests, row.bytes, row.equal), (1, 4, true));
        assert!(!report("other").await.rows[0].equal);
        assert!(report("other").await.table().contains("| read | bare | 1 | 0.00 | "));
        assert!(report("other").await.table().contains(" | NO |"));
    }

    #[tokio::test(start_paused = true)]
    async fn the_cases_of_a_pass_are_summed_by_store() {
        let remote = Remote::new(Arc::new(InMemory::new()));
        let mut report = Report::new("me");
        for (case, store, expected) in [
            ("cold: 1", "a", 1),
            ("cold: 2", "a", 2),
            ("warm: 1", "a", 1),
            ("cold: 1", "b", 1),
            ("other", "b", 1),
        ] {
            let work = async {
                remote.put(&"a".into(), "body".into()).await?;
                Ok(1)
            };
            report.case(case, (store, &remote), &expected, work).await.unwrap();
        }
        let sums = report.sums();
        let sums: Vec<_> =
            sums.iter().map(|sum| (sum.case.as_str(), sum.store, sum.requests, sum.equal)).collect();
        assert_eq!(
            sums,
            [("cold, all", "a", 2, false), ("warm, all", "a", 1, true), ("cold, all", "b", 1, true)]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn rows_of_other_clients_stay_in_the_file() {
        let before = r#"[{"client": "me", "case": "old"}, {"client": "you", "case": "old"}]"#;
        let text = report("body").await.json(before).unwrap();
        let rows: Vec<Value> = serde_json::from_str(&text).unwrap();
        let clients: Vec<_> = rows.iter().map(|row| (row["client"].as_str(), row["case"].as_str())).collect();
        assert_eq!(clients, [(Some("you"), Some("old")), (Some("me"), Some("read"))]);
        assert_eq!(
            (&rows[1]["requests"], &rows[1]["bytes"], &rows[1]["equal"]),
            (&json!(1), &json!(4), &json!(true))
        );
        report("body").await.json("{}").unwrap_err();
    }

    #[tokio::test(start_paused = true)]
    async fn a_case_that_fails_is_named() {
        let remote = Remote::new(Arc::new(InMemory::new()));
        let work = async { Err::<(), _>("broken".into()) };
        let error = Report::new("me").case("read", ("bare", &remote), &(), work).await.unwrap_err();
        assert_eq!(error.to_string(), "read over bare: broken");
    }
}
