//! Prometheus' text format, read: what a program exports.

use std::collections::BTreeMap;

/// Name and value of each label.
pub(crate) type Labels = BTreeMap<String, String>;

/// One line that is no comment.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sample {
    /// With `_bucket`, `_sum` or `_count`, in a histogram.
    pub(crate) name: String,
    pub(crate) labels: Labels,
    pub(crate) value: f64,
}

/// The samples of `text`.
///
/// # Errors
///
/// The line that is none.
pub(crate) fn samples(text: &str) -> Result<Vec<Sample>, String> {
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| sample(line).ok_or_else(|| format!("no sample: {line}"))).collect()
}

/// The metrics that `text` declares, and their types.
pub(crate) fn families(text: &str) -> BTreeMap<String, String> {
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    types.map(|(name, kind)| (name.to_owned(), kind.to_owned())).collect()
}

fn sample(line: &str) -> Option<Sample> {
    let end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(end);
    let mut labels = Labels::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        while !rest.starts_with('}') {
            let (label, after) = rest.split_once("=\"")?;
            let (value, after) = unquoted(after)?;
            labels.insert(label.to_owned(), value);
            rest = after.strip_prefix(',').unwrap_or(after);
        }
        rest = &rest[1..];
    }
    let value = rest.trim().parse().ok()?;
    Some(Sample { name: name.to_owned(), labels, value })
}

/// What stands before the closing quote, and what comes behind it.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    loop {
        match chars.next()? {
            (at, '"') => return Some((value, &text[at + 1..])),
            (_, '\\') => match chars.next()?.1 {
                'n' => value.push('\n'),
                c => value.push(c),
            },
            (_, c) => value.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_read_with_their_labels() {
        let text = "# HELP a What.\n# TYPE a counter\na 1\na{x=\"1\",y=\"q\\\"\\\\\\n},\"} 2.5\nb_bucket{le=\"+Inf\"} 3\n";
        let labels = |labels: &[(&str, &str)]| {
            labels.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect::<Labels>()
        };
        let sample = |name: &str, labels, value| Sample { name: name.to_owned(), labels, value };
        let expected = [
            sample("a", labels(&[]), 1.0),
            sample("a", labels(&[("x", "1"), ("y", "q\"\\\n},")]), 2.5),
            sample("b_bucket", labels(&[("le", "+Inf")]), 3.0),
        ];
        assert_eq!(samples(text).unwrap(), expected);
        assert_eq!(families(text), BTreeMap::from([("a".to_owned(), "counter".to_owned())]));
    }

    #[test]
    fn a_line_that_is_no_sample_is_named() {
        for line in ["a", "a{x=\"1\" 2", "a{x=\"1} 2", "a{x} 2", "a two"] {
            assert_eq!(samples(line), Err(format!("no sample: {line}")));
        }
    }
}
