//! Which metrics and labels a PromQL expression names.
//!
//! This is no parser: whether an expression is right is for Prometheus to say. It finds names, and refuses what would
//! hide some from it.

use std::{collections::BTreeMap, fmt, ops::Range};

/// What an expression names.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Names {
    pub(crate) selectors: Vec<Selector>,
    pub(crate) groupings: Vec<Grouping>,
}

/// `metric{label="value", …}`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Selector {
    pub(crate) metric: String,
    pub(crate) matchers: Vec<Matcher>,
}

/// What a selector asks of one label.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Matcher {
    pub(crate) label: String,
    pub(crate) operator: Operator,
    pub(crate) value: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operator {
    /// `=`
    Equal,
    /// `!=`
    Unequal,
    /// `=~`
    Matching,
    /// `!~`
    Unmatching,
}

/// Labels in a list: of `by` or `without`, each of which every selector under the aggregation must have; or of `on`,
/// `ignoring` and the like, each of which any selector of the expression must have.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Grouping {
    pub(crate) labels: Vec<String>,
    /// Which selectors, by their index.
    pub(crate) over: Range<usize>,
    pub(crate) of_each: bool,
}

impl Names {
    /// Reads `expression`, in which no variable of Grafana may be left.
    ///
    /// # Errors
    ///
    /// What cannot be read, and functions that make labels.
    pub(crate) fn of(expression: &str) -> Result<Self, String> {
        let tokens = tokens(expression)?;
        let pairs = pairs(&tokens)?;
        Reader { tokens: &tokens, pairs, at: 0, begins: Vec::new(), lists: Vec::new(), selectors: Vec::new() }
            .read()
    }
}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let operator = match self.operator {
            Operator::Equal => "=",
            Operator::Unequal => "!=",
            Operator::Matching => "=~",
            Operator::Unmatching => "!~",
        };
        write!(f, "{}{operator}{:?}", self.label, self.value)
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let matchers: Vec<_> = self.matchers.iter().map(Matcher::to_string).collect();
        write!(f, "{}{{{}}}", self.metric, matchers.join(", "))
    }
}

struct Reader<'a> {
    tokens: &'a [Token],
    /// Of each opening parenthesis the closing one, and the other way round.
    pairs: BTreeMap<usize, usize>,
    at: usize,
    /// Where each selector begins.
    begins: Vec<usize>,
    /// Lists of labels, with the tokens over which they reach.
    lists: Vec<(Vec<String>, Range<usize>, bool)>,
    selectors: Vec<Selector>,
}

impl Reader<'_> {
    fn read(mut self) -> Result<Names, String> {
        while let Some(token) = self.tokens.get(self.at) {
            match token {
                Token::Name(name) => self.name(&name.clone())?,
                Token::Sign("{") => self.selector(None)?,
                Token::Sign("[") => self.skip_to("]")?,
                _ => self.at += 1,
            }
        }
        let index = |at: usize| self.begins.partition_point(|begin| *begin < at);
        let grouping = |(labels, over, of_each): (Vec<String>, Range<usize>, bool)| Grouping {
            labels,
            over: index(over.start)..index(over.end),
            of_each,
        };
        Ok(Names { groupings: self.lists.into_iter().map(grouping).collect(), selectors: self.selectors })
    }

    fn name(&mut self, name: &str) -> Result<(), String> {
        let lower = name.to_lowercase();
        if MAKERS.contains(&lower.as_str()) {
            return Err(format!("{name} makes labels, which are not followed here"));
        }
        match lower.as_str() {
            "by" | "without" => self.aggregation(),
            "on" | "ignoring" | "group_left" | "group_right" => {
                self.at += 1;
                if self.sign() != Some("(") {
                    return Ok(());
                }
                let labels = self.list()?;
                self.lists.push((labels, 0..self.tokens.len(), false));
                Ok(())
            }
            word if WORDS.contains(&word) => {
                self.at += 1;
                Ok(())
            }
            _ if self.is_called() => {
                self.at += 1;
                Ok(())
            }
            _ => self.selector(Some(name)),
        }
    }

    /// `by (…)` or `without (…)`, before or behind what is aggregated.
    fn aggregation(&mut self) -> Result<(), String> {
        let before = self.at.checked_sub(1).filter(|at| self.tokens[*at] == Token::Sign(")"));
        self.at += 1;
        let labels = self.list()?;
        let (open, close) = match before {
            Some(close) => (self.pairs[&close], close),
            None if self.sign() == Some("(") => (self.at, self.pairs[&self.at]),
            None => return Err("a grouping of nothing".to_owned()),
        };
        self.lists.push((labels, open..close, true));
        Ok(())
    }

    /// Whether the name here is that of a function or an aggregation.
    fn is_called(&self) -> bool {
        match self.tokens.get(self.at + 1) {
            Some(Token::Sign("(")) => true,
            Some(Token::Name(next)) => matches!(next.to_lowercase().as_str(), "by" | "without"),
            _ => false,
        }
    }

    /// `(a, b)`.
    fn list(&mut self) -> Result<Vec<String>, String> {
        let mut labels = Vec::new();
        if self.sign() != Some("(") {
            return Err("a list of labels must follow".to_owned());
        }
        self.at += 1;
        loop {
            match self.tokens.get(self.at) {
                Some(Token::Name(label)) => labels.push(label.clone()),
                Some(Token::Sign(",")) => {}
                Some(Token::Sign(")")) => break,
                other => return Err(format!("{other:?} in a list of labels")),
            }
            self.at += 1;
        }
        self.at += 1;
        Ok(labels)
    }

    fn selector(&mut self, metric: Option<&str>) -> Result<(), String> {
        let begin = self.at;
        self.at += usize::from(metric.is_some());
        let mut metric = metric.map(ToOwned::to_owned);
        let mut matchers = Vec::new();
        if self.sign() == Some("{") {
            self.at += 1;
            while self.sign() != Some("}") {
                let matcher = self.matcher()?;
                match (matcher.label.as_str(), matcher.operator) {
                    ("__name__", Operator::Equal) => metric = Some(matcher.value),
                    ("__name__", _) => return Err("a pattern for the name of a metric".to_owned()),
                    _ => matchers.push(matcher),
                }
                self.at += usize::from(self.sign() == Some(","));
            }
            self.at += 1;
        }
        let metric = metric.ok_or("a selector without a metric")?;
        self.begins.push(begin);
        self.selectors.push(Selector { metric, matchers });
        Ok(())
    }

    fn matcher(&mut self) -> Result<Matcher, String> {
        let three = self.tokens.get(self.at..self.at + 3);
        let Some([Token::Name(label), Token::Sign(sign), Token::Text(value)]) = three else {
            return Err(format!("no matcher: {three:?}"));
        };
        let operator = match *sign {
            "=" => Operator::Equal,
            "!=" => Operator::Unequal,
            "=~" => Operator::Matching,
            "!~" => Operator::Unmatching,
            other => return Err(format!("no matcher: {label}{other}")),
        };
        self.at += 3;
        Ok(Matcher { label: label.clone(), operator, value: value.clone() })
    }

    fn sign(&self) -> Option<&'static str> {
        match self.tokens.get(self.at)? {
            Token::Sign(sign) => Some(sign),
            _ => None,
        }
    }

    fn skip_to(&mut self, end: &str) -> Result<(), String> {
        while self.sign() != Some(end) {
            self.at += 1;
            if self.at >= self.tokens.len() {
                return Err(format!("no {end:?}"));
            }
        }
        Ok(())
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Token {
    Name(String),
    /// Without its quotes.
    Text(String),
    /// Or a span of time.
    Number,
    Sign(&'static str),
}

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (token, len) = match first {
            c if c.is_whitespace() => (None, c.len_utf8()),
            '#' => (None, rest.find('\n').unwrap_or(rest.len())),
            '"' | '\'' | '`' => {
                let (value, len) = quoted(rest, first)?;
                (Some(Token::Text(value)), len)
            }
            c if is_of_name(c) && !c.is_ascii_digit() => {
                let len = rest.find(|c| !is_of_name(c)).unwrap_or(rest.len());
                (Some(Token::Name(rest[..len].to_owned())), len)
            }
            '0'..='9' | '.' => {
                let len = rest.find(|c| !(is_of_name(c) || c == '.')).unwrap_or(rest.len());
                (Some(Token::Number), len)
            }
            _ => {
                let sign = SIGNS.iter().find(|sign| rest.starts_with(**sign));
                let sign = sign.ok_or_else(|| format!("{first:?} in {text:?}"))?;
                (Some(Token::Sign(sign)), sign.len())
            }
        };
        tokens.extend(token);
        rest = &rest[len..];
    }
    Ok(tokens)
}

/// The string at the begin of `text`, and how many bytes it takes there.
fn quoted(text: &str, quote: char) -> Result<(String, usize), String> {
    let mut value = String::new();
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            c if c == quote => return Ok((value, at + c.len_utf8())),
            '\\' if quote != '`' => match chars.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, c @ ('\\' | '"' | '\''))) => value.push(c),
                other => return Err(format!("an escape that is not read here: {other:?}")),
            },
            c => value.push(c),
        }
    }
    Err(format!("a string without an end: {text}"))
}

fn is_of_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | ':')
}

fn pairs(tokens: &[Token]) -> Result<BTreeMap<usize, usize>, String> {
    let (mut pairs, mut open) = (BTreeMap::new(), Vec::new());
    for (at, token) in tokens.iter().enumerate() {
        match token {
            Token::Sign("(") => open.push(at),
            Token::Sign(")") => {
                let begin = open.pop().ok_or("a parenthesis that was not opened")?;
                pairs.extend([(begin, at), (at, begin)]);
            }
            _ => {}
        }
    }
    if open.is_empty() { Ok(pairs) } else { Err("a parenthesis that is not closed".to_owned()) }
}

/// Longer ones before those they begin with.
const SIGNS: [&str; 24] = [
    "=~", "!~", "!=", "==", ">=", "<=", "(", ")", "{", "}", "[", "]", ",", "=", ">", "<", "+", "-", "*", "/",
    "%", "^", "@", ":",
];

/// Names that are neither metrics nor functions.
const WORDS: [&str; 8] = ["and", "or", "unless", "offset", "bool", "atan2", "inf", "nan"];

/// What gives a series labels that its metric does not have.
const MAKERS: [&str; 3] = ["label_replace", "label_join", "count_values"];

#[cfg(test)]
mod tests {
    use super::*;

    /// The selectors, then each grouping as `labels of selectors`.
    #[track_caller]
    fn check(expression: &str, selectors: &[&str], groupings: &[&str]) {
        let names = Names::of(expression).unwrap();
        let found: Vec<_> = names.selectors.iter().map(Selector::to_string).collect();
        assert_eq!(found, selectors, "{expression}");
        let shown = |grouping: &Grouping| {
            let which = if grouping.of_each { "each" } else { "any" };
            format!("{} of {which} {:?}", grouping.labels.join(","), grouping.over)
        };
        let found: Vec<_> = names.groupings.iter().map(shown).collect();
        assert_eq!(found, groupings, "{expression}");
    }

    #[test]
    fn metrics_are_told_from_functions_words_and_times() {
        check("up", &["up{}"], &[]);
        check("rate(a_total[5m])", &["a_total{}"], &[]);
        check("rate(a:b_total[5m] offset 1h) > bool 1e3", &["a:b_total{}"], &[]);
        check("max_over_time(a[5m:10s]) and b unless c or inf", &["a{}", "b{}", "c{}"], &[]);
        check("time() - a @ end() # + b\n* -.5", &["a{}"], &[]);
        check("SUM(a) BY (x)", &["a{}"], &["x of each 0..1"]);
        // A metric may be called as a function is.
        check("rate + sum", &["rate{}", "sum{}"], &[]);
    }

    #[test]
    fn matchers_are_read_with_their_values() {
        check(r#"a{x="1", y!='2' , z=~"b|c",w!~`\d`,}"#, &[r#"a{x="1", y!="2", z=~"b|c", w!~"\\d"}"#], &[]);
        check(r#"{__name__="a", x="}{),\"\\"}"#, &[r#"a{x="}{),\"\\"}"#], &[]);
    }

    #[test]
    fn a_grouping_reaches_over_what_it_aggregates() {
        check("sum by (x, y) (a) / sum(b) by (z)", &["a{}", "b{}"], &["x,y of each 0..1", "z of each 1..2"]);
        check(
            "max by (x) (sum without (y) (rate(a[1m]) / b) + c) - d",
            &["a{}", "b{}", "c{}", "d{}"],
            &["x of each 0..3", "y of each 0..2"],
        );
        check("histogram_quantile(0.9, sum by (le) (a))", &["a{}"], &["le of each 0..1"]);
        check("a / on (x) group_left b", &["a{}", "b{}"], &["x of any 0..2"]);
        check("a / ignoring (x) group_left (y) b", &["a{}", "b{}"], &["x of any 0..2", "y of any 0..2"]);
    }

    #[test]
    fn what_could_hide_a_name_is_refused() {
        for expression in [
            "sum(a",
            "sum(a))",
            "a{x=\"1\"",
            "a{x}",
            "a{x==\"1\"}",
            "{x=\"1\"}",
            "{__name__=~\"a.*\"}",
            "a{x=\"1}",
            "a[5m",
            "sum by x (a)",
            "sum by (x)",
            "sum by (x=1) (a)",
            "label_replace(a, \"x\", \"$1\", \"y\", \"(.*)\")",
            "count_values(\"x\", a)",
            "a{x=\"\\d\"}",
            "rate(a[$interval])",
        ] {
            assert!(Names::of(expression).is_err(), "{expression}");
        }
    }
}
