//! What look-ups show.

use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use cache_core::{Attributes, Entry, Key, Moment, Namespace, Storability, Version};

use super::{
    probe::{Inserting, Probe, Shown, difference, entry, validated},
    suite::Suite,
};
use crate::conformance::{Broken, Fault, Outcome, Short};

/// *A look-up shows what was inserted under that very key*, and nothing of a key that is a prefix
/// of it, longer, written in another case or another Unicode form, or much like a path; and what
/// was stored is shown, while there is room.
///
/// # Errors
///
/// [`Broken`] if it is not so.
pub async fn each_key_shows_its_own_entry(suite: &Suite) -> Result<Outcome, Broken> {
    suite.kept("each_key_shows_its_own_entry", keys).await
}

async fn keys(suite: &Suite) -> Result<(), Fault> {
    let backend = suite.open().await?;
    let keys = odd_keys();
    // Of every second one first, so that each of the others has neighbours that are held, and is
    // not.
    for (of, parity) in [("first", 0), ("second", 1)] {
        for (n, key) in keys.iter().enumerate().filter(|(n, _)| n % 2 == parity) {
            backend
                .shows_nothing_but(key, None, "before anything was inserted under this key")
                .await?;
            let held = entry(key, &format!("{n}"), 10 + n);
            backend.hold(&held).await?;
            backend.shows(&held, format!("after {of} inserts")).await?;
        }
    }
    for (n, key) in keys.iter().enumerate() {
        let held = entry(key, &format!("{n}"), 10 + n);
        backend
            .shows(&held, format!("after inserts under {} keys that are much alike", keys.len()))
            .await?;
    }
    Ok(())
}

fn odd_keys() -> Vec<String> {
    let mut keys: Vec<String> = [
        "a",
        "ab",
        "a/b",
        "a/bc",
        "b",
        "a b",
        "a%20b",
        "a%2Fb",
        "A",
        "a.b",
        "a.",
        "a:b",
        "a\\b",
        "con",
        // One letter in its two Unicode forms, and one beyond the first plane.
        "\u{e9}",
        "e\u{301}",
        "\u{1f980}",
        "a?b",
        "a#b",
        "a*b",
        "...",
        "a..b",
        "-a",
        "~",
        "a,b",
    ]
    .map(String::from)
    .into();
    // Longer than a file's name may be, and the longest, twice with another end.
    keys.extend([255, 256, Key::LEN_MAX - 1].map(|len| "k".repeat(len)));
    keys.extend(["x", "y"].map(|end| "k".repeat(Key::LEN_MAX - 1) + end));
    keys
}

/// The entry that is shown says what the inserted one does: *key, body, version, attributes,
/// identity and how far it can be kept*, also of bodies that are empty or large. The last one
/// matters where entries are written to a medium: an entry that is not confirmable must not become
/// one.
///
/// # Errors
///
/// [`Broken`] if it is not so.
pub async fn an_entry_comes_back_whole(suite: &Suite) -> Result<Outcome, Broken> {
    suite.kept("an_entry_comes_back_whole", whole).await
}

async fn whole(suite: &Suite) -> Result<(), Fault> {
    for held in odd_entries() {
        let backend = suite.open().await?;
        backend.hold(&held).await?;
        let shown = backend.look_up(held.key()).await?;
        match shown.as_ref().map(|shown| difference(shown, &held)) {
            Some(None) => {}
            None if !backend.can.holds() => {}
            None => return Err(format!("after `insert` of {held:?} nothing is shown of it")),
            Some(Some(difference)) => {
                return Err(format!(
                    "after `insert` of {held:?} an entry is shown that has {difference}"
                ));
            }
        }
    }
    Ok(())
}

fn odd_entries() -> Vec<Entry> {
    let key = Key::parse("a/b").expect("it is canonical");
    let built = |body: Bytes, version: Version, keep| {
        let attributes =
            Attributes::from_iter([("content-type", "text/plain"), ("metadata.owner", "\u{e9}")]);
        let builder =
            Entry::builder(&key, body).version(version).attributes(attributes).storability(keep);
        builder.namespace(Some(Namespace::named("conformance"))).build()
    };
    let named = |e_tag: &str| Version::default().with_e_tag(Some(e_tag.into()));
    let dated = Some(UNIX_EPOCH + Duration::from_nanos(1_700_000_000_123_456_789));
    let all = named("\"x\"").with_version(Some("7".into())).with_last_modified(dated);
    let large = Bytes::from_iter((0..LARGE).map(|n| n.to_le_bytes()[n % 3]));
    vec![
        built(Bytes::new(), all.clone(), Storability::Revalidatable),
        built(large, all, Storability::Revalidatable),
        built(Bytes::from_static(b"\0\xff\r\n"), named(""), Storability::Revalidatable),
        built(Bytes::from_static(b"weak"), named("W/\"x\""), Storability::FreshOnly),
        built(
            Bytes::from_static(b"dated"),
            Version::default().with_last_modified(dated),
            Storability::Revalidatable,
        ),
        Entry::builder(&key, Bytes::from_static(b"plain")).e_tag("\"x\"").build(),
    ]
}

/// Entries with all that an entry can have, each under a key of its own and with a stamp.
pub(super) fn stamped_entries() -> Vec<Entry> {
    let keys = ["a", "b", "c", "d", "e", "f"];
    let stamped = |(key, entry): (&str, Entry)| {
        let key = Key::parse(key).expect("it is canonical");
        Entry::builder(&key, entry.body().clone())
            .version(entry.version())
            .attributes(entry.attributes().clone())
            .namespace(entry.namespace())
            .storability(entry.storability())
            .validated(Moment::from_nanos(5), None)
            .build()
    };
    keys.into_iter().zip(odd_entries()).map(stamped).collect()
}

/// *All handles to what one `insert` stored are clones of the inserted entry, so that they share
/// one renewal*; only one that is read back from bytes is a new one, and then has no stamp, or the
/// one that the backend keeps and renews.
///
/// # Errors
///
/// [`Broken`] if it is not so.
pub async fn a_look_up_shows_the_inserted_entry_itself(suite: &Suite) -> Result<Outcome, Broken> {
    suite.kept("a_look_up_shows_the_inserted_entry_itself", itself).await
}

async fn itself(suite: &Suite) -> Result<(), Fault> {
    let backend = suite.open().await?;
    for round in 0..8 {
        let held = validated("a", &format!("{round}"), 100, 5, Some(1_000_000));
        if !backend.hold(&held).await? {
            continue;
        }
        for _ in 0..2 {
            let Some(shown) = backend.look_up("a").await? else { continue };
            let is_read_back = backend.can.outlives && shown.validated_at().is_none();
            if !is_read_back && !shown.is_same(&held) && !shares_renewal(&backend, &shown).await? {
                return Err(format!(
                    "after {}, a look-up shows a copy of it that would not be renewed with it: \
                     expected a clone of the very `Entry` (`Entry::is_same`), or a new one \
                     with the stamp that the backend keeps, which `renewed` renews{}",
                    Inserting(&held),
                    if backend.can.outlives { ", or without a stamp" } else { "" },
                ));
            }
        }
    }
    Ok(())
}

/// Whether the renewal of a new handle is seen by the next look-up.
async fn shares_renewal(backend: &Probe, shown: &Entry) -> Result<bool, Fault> {
    shown.renew_from(&validated("a", "renewal", 0, 50, Some(1_000_000)));
    backend.renewed(shown)?;
    let again = backend.look_up("a").await?;
    Ok(again.is_none_or(|again| again.validated_at() == shown.validated_at()))
}

/// *Memory backends answer in `get_now` and `peek`, and only there.* Left out for a backend that
/// waits.
///
/// # Errors
///
/// [`Broken`] if it is not so.
pub async fn memory_answers_in_peek_alone(suite: &Suite) -> Result<Outcome, Broken> {
    if suite.can.waits {
        return Ok(Outcome::LeftOut("this backend waits"));
    }
    suite.kept("memory_answers_in_peek_alone", at_hand).await
}

async fn at_hand(suite: &Suite) -> Result<(), Fault> {
    let backend = suite.open().await?;
    backend.hold(&entry("a", "1", 10)).await?;
    match backend.get("a").await? {
        None => Ok(()),
        Some(shown) => Err(format!(
            "`get(\"a\")` shows {}; expected nothing, since `get_now` has shown it. A backend \
                whose \
             `get` shows more than its `get_now` declares `waits`",
            Shown(Some(&shown))
        )),
    }
}

/// *What is read back from a medium that outlives the process* is the inserted entry, *built anew
/// with `Entry::builder`, and so will be asked about before use*: whatever its stamp was, the clock
/// of another process has another zero. Left out unless it was declared that entries outlive the
/// process.
///
/// # Errors
///
/// [`Broken`] if it is not so.
pub async fn what_outlives_the_process_comes_back_without_a_stamp(
    suite: &Suite,
) -> Result<Outcome, Broken> {
    if !suite.can.outlives {
        return Ok(Outcome::LeftOut("nothing outlives the process here"));
    }
    suite.kept("what_outlives_the_process_comes_back_without_a_stamp", reopened).await
}

async fn reopened(suite: &Suite) -> Result<(), Fault> {
    let number = suite.number();
    let first = suite.open_at(number).await?;
    let held = stamped_entries();
    for entry in &held {
        first.hold(entry).await?;
    }
    drop(first);
    let second: Probe = suite.open_at(number).await?;
    for held in &held {
        let after = "when it had been inserted and the backend was opened again";
        let Some(shown) = second.look_up(held.key()).await? else {
            // An entry that cannot be revalidated is of no use to a later process.
            if second.can.holds() && held.storability() == Storability::Revalidatable {
                return Err(format!(
                    "{after}, nothing is shown of {}; expected the entry",
                    Short(held.key())
                ));
            }
            continue;
        };
        if let Some(difference) = difference(&shown, held) {
            return Err(format!("{after}, {} comes back with {difference}", Short(held.key())));
        }
        if let Some(at) = shown.validated_at() {
            return Err(format!(
                "{after}, {} is shown as validated at {at:?}, which may be served without asking; \
                    expected \
                 `validated_at()` to be `None`",
                Shown(Some(&shown))
            ));
        }
    }
    Ok(())
}

const LARGE: usize = 256 << 10;
