//! The results of a client.

use std::{error::Error, future::Future, process::ExitCode};

use crate::{Remote, clock::Stopwatch};

/// The result of a client.
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

    /// Does `work` over the named store, whose requests go to `remote`, and adds a row with its
    /// requests, bytes and time, and whether the result is `expected`.
    ///
    /// # Errors
    ///
    /// The error of `work`, with the name of the case; no row is added.
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

    /// Prints the rows as a table. Fails if a result was not as expected.
    pub fn finish(self) -> ExitCode {
        print!("{}", self.table());
        let all_equal = self.rows.iter().all(|row| row.equal);
        if all_equal { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    fn table(&self) -> String {
        let mut text = format!(
            "\n| {} | store | requests | MB | seconds | correct |\n| --- | --- | ---: | ---: | \
                ---: | --- |\n",
            self.client
        );
        for Row { case, store, requests, bytes, seconds, equal } in self.rows.iter().chain(&self.sums()) {
            let megabytes = *bytes as f64 / 1e6;
            let equal = if *equal { "yes" } else { "NO" };
            text += &format!("| {case} | {store} | {requests} | {megabytes:.2} | {seconds:.3} | \
                {equal} |\n");
        }
        text
    }

    /// The sums of the cases `PASS: …` of each pass and store.
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
        report.case("read", ("uncached", &remote), &expected.into(), work).await.unwrap();
        report
    }

    #[tokio::test(start_paused = true)]
    async fn a_case_is_a_row_with_its_cost() {
        let row = &report("body").await.rows[0];
        assert_eq!((row.requests, row.bytes, row.equal), (1, 4, true));
        assert!(!report("other").await.rows[0].equal);
        assert!(report("other").await.table().contains("| read | uncached | 1 | 0.00 | "));
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
    async fn a_case_that_fails_is_named() {
        let remote = Remote::new(Arc::new(InMemory::new()));
        let work = async { Err::<(), _>("broken".into()) };
        let error = Report::new("me").case("read", ("uncached", &remote), &(), work).await.unwrap_err();
        assert_eq!(error.to_string(), "read over uncached: broken");
    }
}
