//! Text in columns.

use std::io::{self, Write};

use cache_disk::inspect::{Record, SegmentState, SegmentSummary};

use crate::lines::hex;

pub(crate) struct Table {
    has_records: bool,
    n_written: u64,
    segments: Vec<SegmentSummary>,
}

impl Table {
    pub(crate) fn new(has_records: bool) -> Self {
        Self { has_records, n_written: 0, segments: Vec::new() }
    }

    /// Writes the line of a record. The key comes last, since it may be long.
    pub(crate) fn record(&mut self, out: &mut impl Write, record: &Record) -> io::Result<()> {
        if !self.has_records {
            return Ok(());
        }
        if self.n_written == 0 {
            writeln!(
                out,
                "{:>10} {:>16} {:>12}  {:<34} KEY",
                "OFFSET", "SEQUENCE", "BODY", "ETAG"
            )?;
        }
        self.n_written += 1;
        let text = |text: &Option<String>| text.as_deref().map_or("-".into(), printable);
        write!(
            out,
            "{:>10} {:>16} {:>12}  {:<34} {}",
            record.offset,
            record.sequence,
            record.body_bytes,
            text(&record.e_tag),
            text(&record.key)
        )?;
        match record.fault {
            Some(fault) => writeln!(out, "  DAMAGED: {fault}"),
            None if !record.is_indexed => writeln!(out, "  removed"),
            None => writeln!(out),
        }
    }

    /// Its lines are written together, at the end.
    pub(crate) fn segment(&mut self, summary: SegmentSummary) {
        self.segments.push(summary);
    }

    pub(crate) fn end(self, out: &mut impl Write) -> io::Result<()> {
        if self.n_written > 0 {
            writeln!(out)?;
        }
        let head = ["STATE", "BYTES", "RECORDS", "REMOVED", "DAMAGED", "BODIES", "NAMESPACE"];
        let line =
            |name: &str, [state, bytes, records, removed, damaged, bodies, space]: [&str; 7]| {
                format!(
                    "{name:<21}  {state:<8} {bytes:>11} {records:>9} {removed:>9} {damaged:>7} \
                 {bodies:>12}  {space:<16}"
                )
            };
        writeln!(out, "{}", line("SEGMENT", head).trim_end())?;
        let mut totals = [0; 5];
        for segment in &self.segments {
            let removed = segment.records - segment.indexed;
            let numbers =
                [segment.bytes, segment.records, removed, segment.damaged, segment.body_bytes];
            for (total, number) in totals.iter_mut().zip(numbers) {
                *total += number;
            }
            let namespace = segment.namespace.map_or("-".to_owned(), |name| hex(name.bits()));
            let text = numbers.map(|number| number.to_string());
            let [bytes, records, removed, damaged, bodies] = text.each_ref().map(String::as_str);
            let state = state_name(segment.state);
            let columns = [state, bytes, records, removed, damaged, bodies, &namespace];
            write!(out, "{}", line(&segment.name.to_string(), columns).trim_end())?;
            match segment.fault {
                Some(fault) => writeln!(out, "  {fault}")?,
                None if segment.unfinished_bytes > 0 => {
                    writeln!(out, "  {} bytes unfinished", segment.unfinished_bytes)?;
                }
                None => writeln!(out)?,
            }
        }
        let text = totals.map(|number| number.to_string());
        let [bytes, records, removed, damaged, bodies] = text.each_ref().map(String::as_str);
        let name = format!("{} segments", self.segments.len());
        let columns = ["", bytes, records, removed, damaged, bodies, ""];
        writeln!(out, "{}", line(&name, columns).trim_end())
    }
}

/// The state, as it is written.
pub(crate) fn state_name(state: SegmentState) -> &'static str {
    match state {
        SegmentState::Sealed => "sealed",
        SegmentState::Unsealed => "unsealed",
        SegmentState::Foreign => "foreign",
        SegmentState::Newer => "newer",
        SegmentState::Damaged => "damaged",
        _ => "unknown",
    }
}

/// Keys and ETags are chosen by other people: nothing in them reaches the terminal as a command.
fn printable(text: &str) -> String {
    text.chars()
        .map(|char| if char.is_control() { char.escape_default().to_string() } else { char.into() })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(printable("a/\u{1b}[2Jé\n"), "a/\\u{1b}[2Jé\\n");
    }
}
