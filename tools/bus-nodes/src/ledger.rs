//! All writes, and the numbers that a read may return.

use std::{collections::HashMap, fmt, time::Duration};

use crate::line::{Line, Listens, Read};

/// The writes of every key: those that were sent, and when each was acknowledged and announced.
#[derive(Debug, Default)]
pub struct Ledger {
    keys: HashMap<String, Writes>,
    /// The announcements whose write is not yet known.
    announced: Vec<(String, String, u64)>,
}

#[derive(Debug, Default)]
struct Writes {
    sent: Events,
    acknowledged: Events,
    announced: Events,
    /// The numbers by ETag.
    by_tag: HashMap<String, u64>,
}

/// Moments, each with the number that was written.
#[derive(Debug, Default)]
struct Events(Vec<(u64, u64)>);

/// What a reader's rule promises.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    /// A read returns nothing older than a write that was acknowledged so long before it began.
    pub fallback: Duration,
    /// The same for a read during which the cache did not listen at any moment.
    pub disconnected: Duration,
    /// A read returns nothing older than a write that was *announced* so long before it began:
    /// proof of listening is over, or the message was heard. `None` where announcements get lost
    /// after the bus has taken them.
    pub proof: Option<Duration>,
}

/// A read that breaks a rule.
#[derive(Debug)]
pub struct Violation {
    read: Read,
    reason: String,
}

impl Ledger {
    /// Takes note of a line of a writer. Lines may come in any order.
    pub fn note(&mut self, line: &Line) {
        match line {
            Line::Sending { key, value, at } => self.writes(key).sent.0.push((*at, *value)),
            Line::Acknowledged { key, value, e_tag, at } => {
                let writes = self.writes(key);
                writes.acknowledged.0.push((*at, *value));
                if let Some(e_tag) = e_tag {
                    writes.by_tag.insert(e_tag.clone(), *value);
                }
            }
            Line::Announced { key, e_tag: Some(e_tag), at } => {
                self.announced.push((key.clone(), e_tag.clone(), *at));
            }
            _ => {}
        }
    }

    /// Returns the last number of `key` that was acknowledged, and when; zeros without one.
    pub fn last_acknowledged(&self, key: &str) -> (u64, u64) {
        let writes = self.keys.get(key);
        let all = writes.into_iter().flat_map(|writes| &writes.acknowledged.0);
        all.map(|(at, value)| (*value, *at)).max().unwrap_or_default()
    }

    /// Returns when each number of `key` was acknowledged: moment and number.
    pub fn acknowledged(&self, key: &str) -> Vec<(u64, u64)> {
        self.keys.get(key).map(|writes| writes.acknowledged.0.clone()).unwrap_or_default()
    }

    /// Returns the reads of one reader that break `rule`, or that are older than an earlier one's
    /// of the same key. `reads` is in the order in which the reader printed them.
    pub fn check(&mut self, reads: &[Read], rule: Rule) -> Vec<Violation> {
        for (key, e_tag, at) in std::mem::take(&mut self.announced) {
            let writes = self.writes(&key);
            if let Some(value) = writes.by_tag.get(&e_tag) {
                writes.announced.0.push((at, *value));
            }
        }
        for writes in self.keys.values_mut() {
            for events in [&mut writes.sent, &mut writes.acknowledged, &mut writes.announced] {
                events.0.sort_unstable();
            }
        }
        let mut last = HashMap::<&str, u64>::new();
        let mut violations = Vec::new();
        for read in reads {
            let last = last.entry(&read.key).or_default();
            let none = Writes::default();
            let writes = self.keys.get(&read.key).unwrap_or(&none);
            if let Some(reason) = broken(writes, read, rule, *last) {
                violations.push(Violation { read: read.clone(), reason });
            }
            *last = read.value.max(*last);
        }
        violations
    }

    fn writes(&mut self, key: &str) -> &mut Writes {
        self.keys.entry(key.to_owned()).or_default()
    }
}

/// Returns the rule that `read` breaks.
fn broken(writes: &Writes, read: &Read, rule: Rule, last: u64) -> Option<String> {
    if read.value < last {
        return Some(format!("{last} had been read before"));
    }
    if read.value > writes.sent.before(read.ended) {
        return Some("that had not been sent".to_owned());
    }
    let older = |events: &Events, bound: Duration| {
        let bound = u64::try_from(bound.as_nanos()).unwrap_or(u64::MAX);
        let least = events.before(read.began.saturating_sub(bound));
        (read.value < least).then_some(least)
    };
    if read.listens == Listens::No
        && let Some(least) = older(&writes.acknowledged, rule.disconnected)
    {
        let bound = rule.disconnected;
        return Some(format!("{least} was acknowledged {bound:?} before, and it does not listen"));
    }
    if let Some(least) = older(&writes.acknowledged, rule.fallback) {
        return Some(format!("{least} was acknowledged {:?} before, at least", rule.fallback));
    }
    let proof = rule.proof?;
    let least = older(&writes.announced, proof)?;
    Some(format!("{least} was announced {proof:?} before, at least"))
}

impl Events {
    /// Returns the greatest number before `moment`. Numbers ascend with the moments.
    fn before(&self, moment: u64) -> u64 {
        let end = self.0.partition_point(|(at, _)| *at < moment);
        self.0[..end].last().map_or(0, |(_, value)| *value)
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Read { key, value, began, ended, status, listens } = &self.read;
        let took = Duration::from_nanos(ended.saturating_sub(*began));
        write!(
            f,
            "{key}: {value} was read at {began} in {took:?} ({status}, listens: {listens:?}), but \
                {}",
            self.reason
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    /// Sent, acknowledged and announced at these seconds.
    fn write(ledger: &mut Ledger, value: u64, [sent, acknowledged, announced]: [u64; 3]) {
        let (key, e_tag) = ("k".to_owned(), Some(value.to_string()));
        let at = announced * SECOND;
        ledger.note(&Line::Announced { key: key.clone(), e_tag: e_tag.clone(), at });
        ledger.note(&Line::Sending { key: key.clone(), value, at: sent * SECOND });
        ledger.note(&Line::Acknowledged { key, value, e_tag, at: acknowledged * SECOND });
    }

    fn read(value: u64, began: u64, listens: Listens) -> Read {
        let (began, ended) = (began * SECOND, began * SECOND + 1);
        Read { key: "k".to_owned(), value, began, ended, status: "Fresh".to_owned(), listens }
    }

    fn is_broken(ledger: &mut Ledger, reads: &[Read], rule: Rule) -> bool {
        !ledger.check(reads, rule).is_empty()
    }

    #[test]
    fn a_read_is_as_old_as_its_rule_allows_and_no_older() {
        let mut ledger = Ledger::default();
        write(&mut ledger, 1, [0, 1, 2]);
        write(&mut ledger, 2, [10, 11, 13]);
        let rule = Rule { fallback: secs(20), disconnected: secs(0), proof: Some(secs(5)) };
        for (began, listens, is_allowed) in [
            // Acknowledged at 11; strong where it does not listen.
            (11, Listens::No, true),
            (12, Listens::No, false),
            (12, Listens::Changed, true),
            // Announced at 13, and 5 s of proof.
            (18, Listens::Yes, true),
            (19, Listens::Yes, false),
            (19, Listens::Changed, false),
        ] {
            let reads = [read(1, began, listens)];
            assert_eq!(is_broken(&mut ledger, &reads, rule), !is_allowed, "{began} {listens:?}");
            assert!(!is_broken(&mut ledger, &[read(2, began, listens)], rule));
        }
        let rule = Rule { proof: None, disconnected: secs(3), ..rule };
        assert!(!is_broken(&mut ledger, &[read(1, 14, Listens::No)], rule));
        assert!(is_broken(&mut ledger, &[read(1, 15, Listens::No)], rule));
        assert!(!is_broken(&mut ledger, &[read(1, 31, Listens::Yes)], rule));
        assert!(is_broken(&mut ledger, &[read(1, 32, Listens::Yes)], rule));
    }

    #[test]
    fn a_reader_does_not_go_back_and_reads_nothing_that_was_not_sent() {
        let mut ledger = Ledger::default();
        write(&mut ledger, 1, [1, 2, 2]);
        write(&mut ledger, 2, [3, 9, 9]);
        let rule = Rule { fallback: secs(60), disconnected: secs(0), proof: None };
        let yes = Listens::Yes;
        assert!(!is_broken(&mut ledger, &[read(1, 4, yes), read(2, 5, yes)], rule));
        assert!(is_broken(&mut ledger, &[read(2, 4, yes), read(1, 5, yes)], rule));
        // It was sent at 3.
        assert!(is_broken(&mut ledger, &[read(2, 2, yes)], rule));
        assert_eq!(ledger.last_acknowledged("k"), (2, 9 * SECOND));
        let violations = ledger.check(&[read(0, 62, yes), read(0, 63, yes)], rule);
        assert_eq!(violations.len(), 1);
        let text = violations[0].to_string();
        assert!(text.contains("0 was read") && text.contains("1 was acknowledged 60s"), "{text}");
    }
}
