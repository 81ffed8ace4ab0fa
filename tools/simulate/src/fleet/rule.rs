//! The freshness rules that a fleet is simulated under.

use std::{fmt, str::FromStr, time::Duration};

use crate::Result;

/// How old a cached object may be and still be served without a request, on every node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Every read sends a request, or waits for one that was sent after the read began.
    Strong,
    /// No request for less than this long after the entry was validated.
    MaxAge(Duration),
    /// `max_age`, and a background list of the prefix that renews the entries whose version it
    /// shows.
    List {
        /// From the start of a list to the start of the next; longer if the pages take longer.
        every: Duration,
        /// How old an entry may become if the lists do not renew it.
        max_age: Duration,
    },
    /// `until_notified`: fresh for this long, unless a message on the bus marks the entry. Strong
    /// while disconnected.
    Bus {
        /// As `max_age`.
        fallback: Duration,
    },
}

impl Rule {
    /// How old an entry may be at most, marks aside. Zero for `strong`: no entry is younger.
    pub(super) fn max_age(self) -> Duration {
        match self {
            Self::Strong => Duration::ZERO,
            Self::MaxAge(max_age) | Self::List { max_age, .. } => max_age,
            Self::Bus { fallback } => fallback,
        }
    }
}

impl FromStr for Rule {
    type Err = Box<dyn std::error::Error + Send + Sync>;

    fn from_str(text: &str) -> Result<Self> {
        let fault = |why: String| format!("freshness {text:?}: {why}");
        let span = |span: &str| positive(span).map_err(|error| fault(error.to_string()));
        Ok(match text.split_once('=') {
            None if text == "strong" => Self::Strong,
            Some(("max_age", max_age)) => Self::MaxAge(span(max_age)?),
            Some(("bus", fallback)) => Self::Bus { fallback: span(fallback)? },
            Some(("list", spans)) => {
                let (every, max_age) = match spans.split_once(':') {
                    Some((every, max_age)) => (span(every)?, span(max_age)?),
                    // Renewals come one interval and one round trip apart.
                    None => (span(spans)?, span(spans)?.saturating_mul(2).min(SPAN_MAX)),
                };
                if max_age <= every {
                    let why = "the max_age must be longer than the interval of the lists";
                    return Err(fault(why.to_owned()).into());
                }
                Self::List { every, max_age }
            }
            _ => {
                let forms = "strong, max_age=10s, list=5s, list=5s:20s or bus=60s";
                return Err(fault(format!("give {forms}")).into());
            }
        })
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |span: Duration| humantime::format_duration(span).to_string().replace(' ', "");
        match *self {
            Self::Strong => f.write_str("strong"),
            Self::MaxAge(max_age) => write!(f, "max_age={}", text(max_age)),
            Self::List { every, max_age } if max_age == every.saturating_mul(2) => {
                write!(f, "list={}", text(every))
            }
            Self::List { every, max_age } => write!(f, "list={}:{}", text(every), text(max_age)),
            Self::Bus { fallback } => write!(f, "bus={}", text(fallback)),
        }
    }
}

/// Parses a time such as `10s` or `500ms`, of at most a year.
pub(super) fn span(text: &str) -> Result<Duration> {
    let span = humantime::parse_duration(text)
        .map_err(|_| format!("{text:?} is not a time; give one such as 10s, 500ms or 5m"))?;
    if span > SPAN_MAX {
        return Err(format!("{text:?} is longer than 365 days").into());
    }
    Ok(span)
}

/// Parses a time above zero.
pub(super) fn positive(text: &str) -> Result<Duration> {
    let span = span(text)?;
    if span.is_zero() {
        return Err(format!("{text:?} must be above zero").into());
    }
    Ok(span)
}

/// Sums of a few of these fit into 64 bits of nanoseconds.
const SPAN_MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_parsed_and_shown() {
        let seconds = Duration::from_secs;
        for (text, rule) in [
            ("strong", Rule::Strong),
            ("max_age=500ms", Rule::MaxAge(Duration::from_millis(500))),
            ("list=5s", Rule::List { every: seconds(5), max_age: seconds(10) }),
            ("list=5s:1m30s", Rule::List { every: seconds(5), max_age: seconds(90) }),
            ("bus=1h", Rule::Bus { fallback: seconds(3600) }),
        ] {
            assert_eq!(text.parse::<Rule>().unwrap(), rule);
            assert_eq!(rule.to_string(), text);
        }
        assert_eq!("bus=3600s".parse::<Rule>().unwrap().to_string(), "bus=1h");
    }

    #[test]
    fn errors_say_what_to_write() {
        let forms = "give strong, max_age=10s, list=5s, list=5s:20s or bus=60s";
        let time = |text| format!("{text:?} is not a time; give one such as 10s, 500ms or 5m");
        for (text, why) in [
            ("", forms),
            ("Strong", forms),
            ("strong=1s", forms),
            ("max_age", forms),
            ("swr=1s", forms),
            ("max_age=", &time("")),
            ("max_age=10", &time("10")),
            ("bus=-1s", &time("-1s")),
            ("bus=99999999999999999999s", &time("99999999999999999999s")),
            ("max_age=0s", "\"0s\" must be above zero"),
            ("list=0s", "\"0s\" must be above zero"),
            ("bus=366days", "\"366days\" is longer than 365 days"),
            ("list=5s:5s", "the max_age must be longer than the interval of the lists"),
        ] {
            let error = text.parse::<Rule>().unwrap_err().to_string();
            assert_eq!(error, format!("freshness {text:?}: {why}"));
        }
    }
}
