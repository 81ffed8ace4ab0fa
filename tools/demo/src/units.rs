//! Formatting of numbers.

use std::time::Duration;

/// `1,234,567`.
pub(crate) fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut shown = String::with_capacity(digits.len() * 4 / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

/// A count in at most five characters: `950`, `1.2k`, `25k`, `1.5M`.
pub(crate) fn short(n: f64) -> String {
    let (n, unit) = match n {
        n if n < 999.5 => return format!("{n:.0}"),
        n if n < 999_500.0 => (n / 1e3, "k"),
        n if n < 999_500_000.0 => (n / 1e6, "M"),
        n => (n / 1e9, "G"),
    };
    let shown = if n < 9.95 { format!("{n:.1}") } else { format!("{n:.0}") };
    format!("{}{unit}", shown.strip_suffix(".0").unwrap_or(&shown))
}

/// `12.3 MiB`.
pub(crate) fn bytes(n: u64) -> String {
    let mut amount = n as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if amount < 999.5 {
            return if unit == "B" {
                format!("{n} B")
            } else {
                format!("{} {unit}", digits(amount))
            };
        }
        amount /= 1024.0;
    }
    format!("{} TiB", digits(amount))
}

/// `0.42 µs`, `41.3 ms`.
pub(crate) fn time(span: Duration) -> String {
    let nanos = span.as_nanos() as f64;
    match nanos {
        n if n < 999.5 => format!("{n:.0} ns"),
        n if n < 999_500.0 => format!("{} µs", digits(n / 1e3)),
        n if n < 999_500_000.0 => format!("{} ms", digits(n / 1e6)),
        n => format!("{} s", digits(n / 1e9)),
    }
}

/// The same, or a dash for `None`.
pub(crate) fn time_if(span: Option<Duration>) -> String {
    span.map_or_else(|| "–".to_owned(), time)
}

/// `93.1 %`. A share below 1 is never shown as 100 %, one above 0 never as 0 %.
pub(crate) fn percent(share: f64) -> String {
    let shown = match share * 100.0 {
        almost_all if (99.95..100.0).contains(&almost_all) => 99.9,
        little if little > 0.0 && little < 0.05 => 0.1,
        percent => percent,
    };
    format!("{shown:.1} %")
}

/// The same, or a dash for `None`.
pub(crate) fn percent_if(share: Option<f64>) -> String {
    share.map_or_else(|| "–".to_owned(), percent)
}

/// Three digits.
fn digits(n: f64) -> String {
    match n {
        n if n < 9.995 => format!("{n:.2}"),
        n if n < 99.95 => format!("{n:.1}"),
        n => format!("{n:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_have_commas() {
        for (n, shown) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(count(n), shown);
        }
    }

    #[test]
    fn short_counts_are_short() {
        let cases = [
            (0.0, "0"),
            (999.4, "999"),
            (999.5, "1k"),
            (1249.0, "1.2k"),
            (25_000.0, "25k"),
            (999_499.0, "999k"),
            (1.5e6, "1.5M"),
            (2e9, "2G"),
        ];
        for (n, shown) in cases {
            assert_eq!(short(n), shown);
        }
    }

    #[test]
    fn amounts_have_three_digits() {
        for (n, shown) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "0.98 KiB"),
            (1 << 20, "1.00 MiB"),
            (1_300_000_000, "1.21 GiB"),
        ] {
            assert_eq!(bytes(n), shown);
        }
        for (nanos, shown) in [
            (0, "0 ns"),
            (420, "420 ns"),
            (1500, "1.50 µs"),
            (41_300_000, "41.3 ms"),
            (2_000_000_000, "2.00 s"),
        ] {
            assert_eq!(time(Duration::from_nanos(nanos)), shown);
        }
    }

    #[test]
    fn almost_all_is_not_all_and_little_is_not_nothing() {
        assert_eq!(percent(0.9999), "99.9 %");
        assert_eq!(percent(1.0), "100.0 %");
        assert_eq!(percent(-0.5), "-50.0 %");
        assert_eq!((percent(0.000_07).as_str(), percent(0.0).as_str()), ("0.1 %", "0.0 %"));
    }
}
