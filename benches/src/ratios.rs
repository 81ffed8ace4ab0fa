//! Runs subjects in turn, and prints and writes the table of their best rounds.
//!
//! [`publish`] writes `target/ratios/GROUP.json`: an array of flat objects, one a line, one for
//! each subject of each case. All fields are always present:
//!
//! ```json
//! [
//! {"group":"hits","case":"1k keys, 1 thread","subject":"ours","reference":"quick_cache",
//!  "threads":1,"unit":"ns","value":61.20,"wall":61.30,"ratio":0.861,"note":""}
//! ]
//! ```
//!
//! `value` is the CPU time of an operation (`unit` `ns`) or another measure (`bytes`); `wall` the
//! shortest wall time of an operation, over all threads, 0 where nothing was timed; `ratio` is
//! `value` over that of `reference`, 0 where that is not known; `note` is free text.

use std::{env, fs, io, iter, path::PathBuf};

use crate::{Case, Ready, Sample, Subject};

/// One subject of one case, with its best figures.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The name of the case.
    pub case: String,
    /// The name of the subject.
    pub subject: String,
    /// The subject that it is compared with.
    pub reference: String,
    /// How many threads shared the work.
    pub threads: usize,
    /// Of `value`: `ns`, `us`, `bytes` or `blocks`.
    pub unit: &'static str,
    /// CPU time of an operation, or bytes of an entry.
    pub value: f64,
    /// Wall time of an operation; zero if that was not measured.
    pub wall: f64,
    /// Further figures, as text.
    pub note: String,
}

impl Row {
    /// A row of something other than time, on one thread.
    pub(crate) fn new(
        case: impl Into<String>,
        subject: impl Into<String>,
        reference: &str,
        (value, unit): (f64, &'static str),
        note: String,
    ) -> Self {
        let (case, subject, reference) = (case.into(), subject.into(), reference.to_owned());
        Self { case, subject, reference, threads: 1, unit, value, wall: 0.0, note }
    }
}

/// Runs the subjects in turn, round by round. Returns them too, set up, for other measurements.
pub fn compare(case: &Case) -> (Vec<Row>, Vec<Ready>) {
    let ready: Vec<Ready> = case.subjects.iter().map(Subject::set_up).collect();
    let mut best: Vec<Option<Sample>> = vec![None; ready.len()];
    for round in 0..=case.rounds {
        for (subject, best) in iter::zip(&ready, &mut best) {
            let sample = subject.measure(case.threads, case.ops, case.cpu);
            // The first round only warms up.
            if round > 0 {
                *best = Some(best.map_or(sample, |best| better(best, sample)));
            }
        }
    }
    let of_op = |time: std::time::Duration| time.as_nanos() as f64 / case.ops as f64;
    let row = |(subject, best): (&Ready, Option<Sample>)| {
        let best = best?;
        let cpu = (of_op(best.cpu), "ns");
        let row = Row::new(&case.name, subject.name(), case.reference, cpu, String::new());
        Some(Row { threads: case.threads, wall: of_op(best.wall), ..row })
    };
    let rows = iter::zip(&ready, best).filter_map(row).collect();
    (rows, ready)
}

/// Prints the rows as a table and writes them to `target/ratios/GROUP.json`.
///
/// # Panics
///
/// If the file cannot be written.
pub fn publish(group: &str, rows: &[Row]) {
    println!("{}", table(group, rows));
    let write = || {
        let folder = target()?.join("ratios");
        fs::create_dir_all(&folder)?;
        fs::write(folder.join(format!("{group}.json")), json(group, rows))
    };
    write().expect("the target folder is writable");
}

/// Takes the minimum of each figure: the least disturbed round of one need not be that of the
/// other.
fn better(one: Sample, other: Sample) -> Sample {
    Sample { cpu: one.cpu.min(other.cpu), wall: one.wall.min(other.wall) }
}

/// Returns `value` over that of the reference in the same case.
fn ratio(row: &Row, rows: &[Row]) -> Option<f64> {
    let is_reference = |other: &&Row| other.case == row.case && other.subject == row.reference;
    let reference = rows.iter().find(is_reference)?;
    (reference.value > 0.0).then(|| row.value / reference.value)
}

fn table(group: &str, rows: &[Row]) -> String {
    let mut text = String::new();
    let mut case = None;
    for row in rows {
        if case != Some(&row.case) {
            case = Some(&row.case);
            text += &format!("\n{group}: {}\n", row.case);
        }
        let ratio = ratio(row, rows).map(|ratio| format!("{ratio:.2} x {}", row.reference));
        let wall = (row.wall > 0.0).then(|| format!("wall {:.1} {}", row.wall, row.unit));
        text += &format!(
            "  {:<20}{:>12.1} {:<6}{:<22}{:<22}{}\n",
            row.subject,
            row.value,
            row.unit,
            ratio.unwrap_or_default(),
            wall.unwrap_or_default(),
            row.note
        );
    }
    text
}

fn json(group: &str, rows: &[Row]) -> String {
    let line = |row: &Row| {
        format!(
            r#"{{"group":{},"case":{},"subject":{},"reference":{},"threads":{},"unit":{},"#,
            quoted(group),
            quoted(&row.case),
            quoted(&row.subject),
            quoted(&row.reference),
            row.threads,
            quoted(row.unit)
        ) + &format!(
            r#""value":{:.2},"wall":{:.2},"ratio":{:.3},"note":{}}}"#,
            row.value,
            row.wall,
            ratio(row, rows).unwrap_or_default(),
            quoted(&row.note)
        )
    };
    let lines: Vec<_> = rows.iter().map(line).collect();
    format!("[\n{}\n]\n", lines.join(",\n"))
}

fn quoted(text: &str) -> String {
    let escaped = text.chars().map(|char| match char {
        '"' | '\\' => format!("\\{char}"),
        char if char.is_control() => format!("\\u{:04x}", u32::from(char)),
        char => char.to_string(),
    });
    format!("\"{}\"", escaped.collect::<String>())
}

/// Returns cargo's target folder. A benchmark is `TARGET/PROFILE/deps/NAME`.
fn target() -> io::Result<PathBuf> {
    let benchmark = env::current_exe()?;
    Ok(benchmark.ancestors().nth(3).unwrap_or(&benchmark).to_owned())
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{Arc, Mutex},
        time::Duration,
    };

    use super::*;
    use crate::Run;

    fn row(subject: &str, value: f64) -> Row {
        let row = Row::new("one \"case\"", subject, "peer", (value, "ns"), String::new());
        Row { threads: 2, ..row }
    }

    #[test]
    fn a_ratio_is_over_the_reference_of_the_same_case() {
        let other = Row { case: "other".to_owned(), ..row("ours", 9.0) };
        let rows = [row("ours", 30.0), row("peer", 60.0), other];
        assert_eq!(ratio(&rows[0], &rows), Some(0.5));
        assert_eq!(ratio(&rows[1], &rows), Some(1.0));
        assert_eq!(ratio(&rows[2], &rows), None);
    }

    #[test]
    fn the_file_is_json_with_a_row_a_line() {
        let rows = [row("ours", 30.0), row("peer", 60.0)];
        let lines: Vec<_> = json("hits", &rows).lines().map(ToOwned::to_owned).collect();
        assert_eq!(lines.len(), 4);
        let names = r#"{"group":"hits","case":"one \"case\"","subject":"ours","reference":"peer","#;
        let figures =
            r#""threads":2,"unit":"ns","value":30.00,"wall":0.00,"ratio":0.500,"note":""},"#;
        assert_eq!(lines[1], format!("{names}{figures}"));
    }

    #[test]
    fn the_best_round_counts() {
        let nanos = Duration::from_nanos;
        let at = |cpu, wall| Sample { cpu: nanos(cpu), wall: nanos(wall) };
        let best = better(at(5, 9), at(7, 8));
        assert_eq!((best.cpu.as_nanos(), best.wall.as_nanos()), (5, 8));
    }

    #[test]
    fn subjects_take_turns() {
        let turns = Arc::new(Mutex::new(String::new()));
        let subject = |name: &'static str| {
            let turns = Arc::clone(&turns);
            Subject::new(name, move || {
                let turns = Arc::clone(&turns);
                Run::new(move |_, ops| turns.lock().unwrap().push_str(&format!("{name}{ops} ")))
            })
        };
        let case = Case::new("turns", "a", (7, 2), vec![subject("a"), subject("b")]);
        let (rows, ready) = compare(&case);
        assert_eq!((rows.len(), ready.len()), (2, 2));
        assert_eq!(*turns.lock().unwrap(), "a7 b7 a7 b7 a7 b7 ");
    }
}
