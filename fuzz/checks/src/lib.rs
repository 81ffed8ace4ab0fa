//! What must hold of whatever is parsed or computed from bytes that strangers choose. Each function
//! takes any bytes and panics if something is wrong: called with generated ones by the tests here,
//! and with ones that reach new code by `cargo fuzz`, whose targets are beside this package.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a check that fails is a panic")]

use std::{sync::Arc, time::Duration};

use cache_core::{
    Entry, Evaluation, Freshness, Key, Moment, Storability, Validation, Validator as _,
};
use cache_store::{EtagValidator, ValidatorStrength};
use cache_testkit::{Fault, FaultyStore, TagFault};
use object_store::{ObjectStoreExt as _, path::Path};
use simulate::{read::Columns, trace::Trace};

/// A key is what object_store's parser takes as it is, and what the documentation of [`Key::parse`]
/// says.
pub fn key(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let is_canonical = !text.is_empty()
        && text.len() <= Key::LEN_MAX
        && !text.chars().any(char::is_control)
        && text.split('/').all(|segment| !matches!(segment, "" | "." | ".."));
    match Key::parse(text) {
        Ok(key) => {
            assert!(is_canonical, "{text:?} is taken");
            assert_eq!(key.as_str(), text);
            if let Ok(path) = Path::parse(text) {
                assert_eq!(path.as_ref(), text, "object_store writes it in another way");
            }
        }
        Err(error) => {
            assert!(!is_canonical, "{text:?} is refused");
            assert!(error.key().is_some_and(|key| text.starts_with(key)), "{error:?}");
        }
    }
}

/// An ETag is kept byte for byte, and confirms a copy only if it is strong and, sent back, asks
/// about itself alone.
pub fn e_tag(data: &[u8]) {
    let Ok(tag) = std::str::from_utf8(data) else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let store = FaultyStore::in_memory();
        store.inner().put(&Path::from("a"), "body".into()).await.unwrap();
        store.fault(Fault::tag(TagFault::Replaced(tag.to_owned())));
        let origin = EtagValidator::builder(Arc::new(store.clone()))
            .validator_strength(ValidatorStrength::Strong);
        let origin = origin.build().unwrap();
        let key = Key::parse("a").unwrap();
        let Validation::Modified(entry) = origin.validate(&key, None).await.unwrap() else {
            panic!("nothing was held")
        };
        assert_eq!(entry.e_tag(), Some(tag));
        let answer = origin.validate(&key, Some(&entry)).await.unwrap();
        let sent = store.requests().pop().unwrap().if_none_match;
        if entry.storability() == Storability::Revalidatable {
            let is_list = tag.contains(',') && !(tag.starts_with('"') && tag.ends_with('"'));
            assert!(!tag.starts_with("W/") && tag != "*" && !tag.is_empty() && !is_list, "{tag:?}");
            assert!(tag.chars().filter(|&letter| letter == '"').count() <= 2, "{tag:?}");
            assert!(
                !tag.bytes().any(|byte| byte < b' ' || byte == 0x7F),
                "{tag:?} does not fit into a header"
            );
            assert_eq!(sent.as_deref(), Some(tag));
            assert!(matches!(answer, Validation::NotModified), "{tag:?}: {answer:?}");
        } else {
            assert_eq!(sent, None, "{tag:?} is sent");
            assert!(matches!(answer, Validation::Modified(_)), "{tag:?}: {answer:?}");
        }
    });
}

/// What may be done with a copy only gets less as time goes by; whatever the spans are, and if the
/// clock stands before the moment that the copy was validated.
pub fn freshness(data: &[u8]) {
    let mut numbers = data.chunks(8).map(|chunk| {
        let mut bytes = [0; 8];
        bytes[..chunk.len()].copy_from_slice(chunk);
        u64::from_le_bytes(bytes)
    });
    let mut number = || numbers.next().unwrap_or(0);
    let mut span = || match number() % 5 {
        0 => Duration::ZERO,
        1 => Duration::MAX,
        2 => Duration::new(number(), 999_999_999),
        3 => Duration::from_nanos(number()),
        _ => Duration::from_millis(number() % 100),
    };
    let (max_age, revalidate, if_error, time_to_live) = (span(), span(), span(), span());
    let rule =
        Freshness::max_age(max_age).stale_while_revalidate(revalidate).stale_if_error(if_error);
    assert_eq!(rule.check().is_err(), rule.is_strong() && !revalidate.is_zero());
    let (validated_at, now, later) = (number(), number(), number());
    let [validated_at, now, later] =
        [validated_at, now.min(later), now.max(later)].map(Moment::from_nanos);
    let key = Key::parse("a").unwrap();
    let entry = Entry::builder(&key, "".into())
        .e_tag("\"1\"")
        .validated(validated_at, Some(time_to_live))
        .build();
    let verdicts = [now, later].map(|at| {
        let verdict = rule.evaluate(&entry, at);
        if rule.is_strong() {
            assert!(
                matches!(verdict, Evaluation::MustRevalidate | Evaluation::Expired),
                "{verdict:?}"
            );
        }
        match verdict {
            Evaluation::Fresh => 0,
            Evaluation::StaleWhileRevalidate => 1,
            Evaluation::MustRevalidate => 2,
            Evaluation::Expired => 3,
        }
    });
    assert!(verdicts[0] <= verdicts[1], "{verdicts:?} at {now:?} and {later:?} under {rule:?}");
    assert!(entry.expires_at().is_none_or(|at| at >= validated_at));
    if later <= validated_at && !rule.is_strong() && !time_to_live.is_zero() {
        assert_eq!(verdicts[1], 0, "no time has passed");
    }
}

/// Stored bytes are read as an entry or refused, and what is read is written and read as the same.
/// The bytes are taken as they are, and as damage to an entry that was written: a place, and what
/// is there instead.
pub fn entry(data: &[u8]) {
    let check = |bytes: &[u8]| {
        let Ok(read) = Entry::from_bytes(bytes) else { return false };
        assert!(
            read.validated_at().is_none() && read.must_revalidate(),
            "it would be served as fresh"
        );
        assert!(Key::parse(read.key()).is_ok());
        let again = Entry::from_bytes(&read.to_bytes()).unwrap();
        assert_eq!((again.key(), again.body()), (read.key(), read.body()));
        assert_eq!((again.version(), again.attributes()), (read.version(), read.attributes()));
        assert_eq!(
            (again.storability(), again.namespace()),
            (read.storability(), read.namespace())
        );
        true
    };
    check(data);
    let key = Key::parse("a/b").unwrap();
    let written = Entry::builder(&key, data.to_vec().into()).e_tag("\"1\"").build().to_bytes();
    assert!(check(&written));
    let Some((&[low, high, damage], _)) = data.split_first_chunk() else { return };
    let (mut damaged, at) = (written.to_vec(), usize::from(u16::from_le_bytes([low, high])));
    let at = at % damaged.len();
    damaged[at] ^= damage;
    assert_eq!(check(&damaged), damage == 0, "damage at {at} goes unnoticed");
    assert!(!check(&written[..at]), "cut off at {at}, it is read");
}

/// A trace is read or refused, and has at most a request a line.
pub fn trace(data: &[u8]) {
    let (columns, text) = data.split_at(data.len().min(4));
    let columns = Columns::parse(&String::from_utf8_lossy(columns)).unwrap_or_default();
    for columns in [columns, Columns::default()] {
        match Trace::read("a trace", text, &columns) {
            Ok(trace) if text.starts_with(&ZSTD_MAGIC) => {
                assert!(trace.n_distinct() <= trace.len() as u64);
            }
            Ok(trace) => {
                let n_lines = text.split(|&byte| byte == b'\n').count();
                assert!(trace.len() <= n_lines && trace.n_distinct() <= trace.len() as u64);
                assert_eq!(trace.requests().count(), trace.len());
            }
            Err(error) => {
                assert!(error.to_string().contains("a trace"), "{error} does not say where");
            }
        }
    }
}

const ZSTD_MAGIC: [u8; 4] = [0x28, 0xB5, 0x2F, 0xFD];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Bytes made of what is likely to matter, and any.
    fn bytes(parts: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
        let part = prop_oneof![
            3 => prop::sample::select(parts).prop_map(|part| part.as_bytes().to_vec()),
            1 => prop::collection::vec(any::<u8>(), 0..12),
        ];
        prop::collection::vec(part, 0..8).prop_map(|parts| parts.concat())
    }

    proptest! {
        #[test]
        fn keys(data in bytes(&["a", "/", ".", "..", "//", " \
            ", "%2F", "ü", "\u{85}", "\n", "0123456789abcdef"])) {
            key(&data);
        }

        #[test]
        fn e_tags(data in bytes(&["\"", "W/", ",", "*", "abc", " \
            ", "ü", "\u{7f}", "\r\n", "\"x\"", ", \"y\""])) {
            e_tag(&data);
        }

        #[test]
        fn spans_and_clocks(data in prop::collection::vec(any::<u8>(), 0..100)) {
            freshness(&data);
        }

        #[test]
        fn extreme_spans_and_clocks(numbers in prop::collection::vec(
            prop_oneof![Just(0), Just(1), Just(u64::MAX), Just(u64::MAX >> 1), 0..20u64, any::<u64>()], 0..12,
        )) {
            freshness(&numbers.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<_>>());
        }

        #[test]
        fn entries(data in bytes(&["OCE\u{1}", "\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}", "\u{1}", "a/b"])) {
            entry(&data);
        }

        #[test]
        fn traces(data in bytes(&["key", ",", "size", "\n", "1", "-7", "\"", "99999999999999999999", "\u{feff}", "\r", "a b"])) {
            trace(&data);
        }
    }
}
