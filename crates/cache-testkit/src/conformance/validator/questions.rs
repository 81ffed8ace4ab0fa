//! The validator's half.

use std::pin::pin;

use bytes::Bytes;
use cache_core::{ErrorKind, Key, Storability, Validation};
use futures_util::future::{BoxFuture, Either, select};
use tokio::task::yield_now;

use super::{Suite, Trouble, asking, text, unexpected};
use crate::conformance::{Broken, Fault, Outcome, bounds::settle};

/// `Unchanged` *never with nothing held*: what is there comes as `Changed`, also with an empty
/// body, and what is not is `Gone`.
///
/// # Errors
///
/// [`Broken`] if it is not so.
pub async fn with_nothing_held_nothing_is_unchanged(suite: &Suite) -> Result<Outcome, Broken> {
    let name = "with_nothing_held_nothing_is_unchanged";
    suite
        .checked(name, async move |suite| {
            let (missing, empty, large) =
                (suite.key(name, "missing")?, suite.key(name, "empty")?, suite.key(name, "large")?);
            suite.delete(&missing).await?;
            suite.is_gone(&missing, None, "where there is no object").await?;
            for (key, size) in [(&empty, 0), (&large, 1 << 20)] {
                let body = Bytes::from_iter((0..size).map(|n: usize| n.to_le_bytes()[n % 3]));
                suite.put(key, body.clone()).await?;
                for _ in 0..2 {
                    suite
                        .fetch(key, &body, "with nothing held, of an object that is there")
                        .await?;
                }
            }
            Ok(Outcome::Kept)
        })
        .await
}

/// An answer is about the very key that was asked for: `held` is *for this very `key`*, and so is
/// what comes. Not about one that it is a prefix of, or that looks like it.
///
/// # Errors
///
/// [`Broken`] if it is not so.
pub async fn each_key_has_its_own_answer(suite: &Suite) -> Result<Outcome, Broken> {
    let name = "each_key_has_its_own_answer";
    suite
        .checked(name, async move |suite| {
            let long = "k".repeat(200);
            let longer = ["l".repeat(200), "l".repeat(200), "m".repeat(200)].join("/");
            let names = [
                "p",
                "pq",
                "d/x",
                "d/xy",
                "a b",
                "a%20b",
                "a+b",
                "\u{e9}/\u{1f980}",
                &long,
                &longer,
            ];
            let keys =
                names.iter().map(|odd| suite.key(name, odd)).collect::<Result<Vec<Key>, _>>()?;
            for key in &keys {
                suite.delete(key).await?;
            }
            for (n, key) in keys.iter().enumerate() {
                suite.is_gone(key, None, "before this object was written").await?;
                suite.put(key, format!("body {n}")).await?;
            }
            for (n, key) in keys.iter().enumerate() {
                let held = suite
                    .fetch(key, format!("body {n}").as_bytes(), "with objects of like names")
                    .await?;
                suite.is_unchanged(key, &held, "when nothing had changed").await?;
            }
            Ok(Outcome::Kept)
        })
        .await
}

/// A held entry that is current is `Unchanged`: however often it is asked about, and whatever is
/// done to other keys. An entry that was just fetched is `Storability::Revalidatable`, unless it
/// was declared that none is.
///
/// # Errors
///
/// [`Broken`] if it is not so.
pub async fn a_current_entry_is_unchanged(suite: &Suite) -> Result<Outcome, Broken> {
    let name = "a_current_entry_is_unchanged";
    suite
        .checked(name, async move |suite| {
            let (key, other) = (suite.key(name, "a")?, suite.key(name, "b")?);
            suite.put(&key, "body").await?;
            let held = suite.fetch(&key, b"body", "of an object that is there").await?;
            if held.storability() != Storability::Revalidatable {
                return if suite.can.never_confirms {
                    Ok(Outcome::LeftOut("nothing that was just fetched can be confirmed here"))
                } else {
                    Err(format!(
                        "an entry that was just fetched is `Storability::{:?}`, and so is fetched \
                        whole whenever it is asked about; \
                     a validator that cannot help it declares `never_confirms`",
                        held.storability()
                    ))
                };
            }
            for _ in 0..3 {
                suite.is_unchanged(&key, &held, "when nothing had changed").await?;
                suite.put(&other, "other").await?;
            }
            Ok(Outcome::Kept)
        })
        .await
}

/// `Unchanged` *only if the origin confirmed the very version in `held`*: a changed object comes
/// with its new body, also one of equal length, and with a version by which it is unchanged from
/// then on.
///
/// # Errors
///
/// [`Broken`] if it is not so.
pub async fn a_changed_object_comes_with_its_new_body(suite: &Suite) -> Result<Outcome, Broken> {
    let name = "a_changed_object_comes_with_its_new_body";
    suite
        .checked(name, async move |suite| {
            let key = suite.key(name, "a")?;
            suite.put(&key, "version 0").await?;
            let mut held = suite.fetch(&key, b"version 0", "of an object that is there").await?;
            for body in ["version 1", "version 2", "another length", ""] {
                suite.put(&key, body).await?;
                let when = "when the object had changed";
                held = suite.ask_for(&key, Some(&held), body.as_bytes(), when).await?;
                suite.is_unchanged(&key, &held, "about what had just come").await?;
            }
            Ok(Outcome::Kept)
        })
        .await
}

/// `Gone` *if the origin says that there is no such object*, whatever is held; and written again,
/// it comes again.
///
/// # Errors
///
/// [`Broken`] if it is not so.
pub async fn a_deleted_object_is_gone(suite: &Suite) -> Result<Outcome, Broken> {
    let name = "a_deleted_object_is_gone";
    suite
        .checked(name, async move |suite| {
            let key = suite.key(name, "a")?;
            for body in ["first", "again"] {
                suite.put(&key, body).await?;
                let held =
                    suite.fetch(&key, body.as_bytes(), "when the object had been written").await?;
                suite.delete(&key).await?;
                suite.is_gone(&key, Some(&held), "when the object had been deleted").await?;
                suite.is_gone(&key, None, "when the object had been deleted").await?;
            }
            Ok(Outcome::Kept)
        })
        .await
}

/// *Ask the origin anew on every call, after the future is first polled: no answer comes from a
/// cache of its own*, be it of a body, of a "not modified", or of a missing object.
///
/// # Errors
///
/// [`Broken`] if it is not so.
pub async fn each_call_asks_anew(suite: &Suite) -> Result<Outcome, Broken> {
    let name = "each_call_asks_anew";
    suite
        .checked(name, async move |suite| {
            let key = suite.key(name, "a")?;
            for n in 0..3 {
                let body = format!("body {n}");
                suite.delete(&key).await?;
                suite.is_gone(&key, None, "when the object had been deleted").await?;
                suite.put(&key, body.clone()).await?;
                let held = suite
                    .fetch(&key, body.as_bytes(), "when it had been gone, and was written")
                    .await?;
                suite.is_unchanged(&key, &held, "when nothing had changed").await?;
            }
            let late = async {
                let question = suite.validator.validate(&key, None);
                suite.truth.put(&key, "late".into()).await;
                question.await
            };
            let answer = suite.calls.answered(asking(&key, None), || late).await?;
            match &answer {
                Ok(Validation::Modified(entry)) if entry.body() == "late" => {}
                _ => {
                    let when = "called before the object changed, and polled after it had";
                    return Err(unexpected(
                        &asking(&key, None),
                        when,
                        &answer,
                        "`Changed` with \"late\"",
                    ));
                }
            }
            for _ in 0..3 {
                let before = suite.truth.n_requests();
                suite.fetch(&key, b"late", "when nothing had changed").await?;
                if let (Some(before), Some(after)) = (before, suite.truth.n_requests())
                    && before == after
                {
                    return Err(format!(
                        "{} was answered without a request to the origin",
                        asking(&key, None)
                    ));
                }
            }
            Ok(Outcome::Kept)
        })
        .await
}

/// *Build the entry of a `Changed` anew: an entry belongs to the cache that it was given to, which
/// stamps it.*
///
/// # Errors
///
/// [`Broken`] if it is not so.
pub async fn an_entry_is_built_anew(suite: &Suite) -> Result<Outcome, Broken> {
    let name = "an_entry_is_built_anew";
    suite
        .checked(name, async move |suite| {
            let key = suite.key(name, "a")?;
            suite.put(&key, "body").await?;
            let first = suite.fetch(&key, b"body", "of an object that is there").await?;
            let second = suite.fetch(&key, b"body", "of an object that is there").await?;
            if first.is_same(&second) {
                return Err(format!(
                    "{} answered twice with handles of one entry",
                    asking(&key, None)
                ));
            }
            if let Some(at) = first.validated_at() {
                return Err(format!(
                    "{} brought an entry that is stamped already, for {at:?}",
                    asking(&key, None)
                ));
            }
            Ok(Outcome::Kept)
        })
        .await
}

/// *Take the body and the version of a `Changed` from one and the same answer*: the object changes
/// while it is read, at one point after the other, and between the requests if there are several,
/// and what is confirmed afterwards has the bytes that are there. Left out, unless it is seen to be
/// broken, if a question may be several requests and the [`Truth`](super::Truth) does not know how
/// to [change an object between them](super::Truth::put_between_requests).
///
/// # Errors
///
/// [`Broken`] if it is not so.
pub async fn a_body_comes_with_its_own_version(suite: &Suite) -> Result<Outcome, Broken> {
    let name = "a_body_comes_with_its_own_version";
    suite
        .checked(name, async move |suite| {
            let key = suite.key(name, "a")?;
            let mut is_one_request = suite.truth.n_requests().is_some();
            for (n_turns, holds) in (0..10).flat_map(|n| [(n, false), (n, true)]) {
                let (old, new) = (
                    format!("old {n_turns} {holds}"),
                    format!(
                        "new {n_turns} \
                    {holds}"
                    ),
                );
                let change = async {
                    for _ in 0..n_turns {
                        yield_now().await;
                    }
                    suite.put(&key, new.clone()).await
                };
                let before = suite.truth.n_requests();
                changing(suite, &key, [&old, &new], holds, async |question| {
                    let (answer, changed) = tokio::join!(biased; question, change);
                    changed?;
                    answer
                })
                .await?;
                // One for each of the questions of `changing`, if one request is a question.
                let asked =
                    suite.truth.n_requests().zip(before).map(|(after, before)| after - before);
                is_one_request &= asked.is_some_and(|n| n <= 4);
            }
            let mut can_change = true;
            for (n, holds) in (1..REQUESTS_MAX).flat_map(|n| [(n, false), (n, true)]) {
                let (old, new) = (format!("old, {n} {holds}"), format!("new, {n} {holds}"));
                let change = suite.truth.put_between_requests(n, &key, new.clone().into());
                changing(suite, &key, [&old, &new], holds, async |question| {
                    let (mut question, mut change) = (pin!(question), pin!(change));
                    // The change is polled first: the question may need no more than one poll.
                    match select(change.as_mut(), question.as_mut()).await {
                        Either::Left((is_changed, _)) => {
                            can_change &= is_changed;
                            question.await
                        }
                        Either::Right((answer, _)) => answer,
                    }
                })
                .await?;
            }
            Ok(match is_one_request || can_change {
                true => Outcome::Kept,
                false => Outcome::LeftOut(
                    "the truth neither counts requests nor changes an object between two of them, \
                        and a question may be \
                     several",
                ),
            })
        })
        .await
}

/// Asks about an object that is `old`, while `meanwhile` makes it `new`, and looks what came.
async fn changing(
    suite: &Suite,
    key: &Key,
    [old, new]: [&str; 2],
    holds: bool,
    meanwhile: impl AsyncFnOnce(BoxFuture<'_, Result<Answer, Fault>>) -> Result<Answer, Fault>,
) -> Result<(), Fault> {
    suite.put(key, old.to_owned()).await?;
    let before = suite.fetch(key, old.as_bytes(), "when the object had been written").await?;
    let held = Some(&before).filter(|_| holds);
    let Ok(Validation::Modified(entry)) = meanwhile(Box::pin(suite.ask(key, held))).await? else {
        return Ok(());
    };
    if entry.storability() != Storability::Revalidatable {
        return Ok(());
    }
    if entry.version() == before.version() && entry.body() != before.body() {
        return Err(format!(
            "while the object changed, {} brought {} with the version of {}, {:?}: body and \
                version must come from one \
             answer",
            asking(key, None),
            text(entry.body()),
            text(before.body()),
            entry.version()
        ));
    }
    // Nothing changes any more.
    let Ok(Validation::Modified(now)) = suite.ask(key, None).await? else { return Ok(()) };
    if let Ok(Validation::NotModified) = suite.ask(key, Some(&entry)).await?
        && entry.body() != now.body()
    {
        return Err(format!(
            "while the object changed to {}, {} brought {} with a version, {:?}, that is \
                confirmed although the object is {} \
             by now: body and version must come from one answer",
            text(new.as_bytes()),
            asking(key, None),
            text(entry.body()),
            entry.version(),
            text(now.body())
        ));
    }
    Ok(())
}

type Answer = cache_core::Result<Validation>;

/// Between so many requests of one question the object is changed.
const REQUESTS_MAX: usize = 4;

/// *Leave nothing behind when the future is dropped*: the next question is answered as ever, and no
/// request is sent later, unless it was declared that calls block.
///
/// # Errors
///
/// [`Broken`] if it is not so.
pub async fn a_dropped_question_leaves_nothing_behind(suite: &Suite) -> Result<Outcome, Broken> {
    let name = "a_dropped_question_leaves_nothing_behind";
    suite
        .checked(name, async move |suite| {
            let key = suite.key(name, "a")?;
            for n_polls in 0..8 {
                let body = format!("body {n_polls}");
                suite.put(&key, body.clone()).await?;
                let held = suite
                    .fetch(
                        &key,
                        body.as_bytes(),
                        "when the object had been \
                    written",
                    )
                    .await?;
                for held in [
                    None,
                    Some(&held).filter(|held| held.storability() == Storability::Revalidatable),
                ] {
                    let validator = &suite.validator;
                    suite
                        .calls
                        .abandoned(asking(&key, held), n_polls, || validator.validate(&key, held))
                        .await?;
                    let before = suite.truth.n_requests();
                    settle().await;
                    let after = suite.truth.n_requests();
                    if before != after && !suite.can.blocks {
                        return Err(format!(
                            "{} was polled {n_polls} times and dropped; later the origin got \
                                another request",
                            asking(&key, held)
                        ));
                    }
                }
                let when = format!("after a question that was polled {n_polls} times and dropped");
                suite.fetch(&key, body.as_bytes(), &when).await?;
                suite.is_unchanged(&key, &held, &when).await?;
            }
            Ok(Outcome::Kept)
        })
        .await
}

/// *An outage is an error, of kind `Unavailable` or `Timeout`, and a refusal one of kind
/// `PermissionDenied` or `Unauthenticated`*, and neither is `Gone`, or `Unchanged`. Left out where
/// the [`Truth`](super::Truth) knows no trouble.
///
/// # Errors
///
/// [`Broken`] if it is not so.
pub async fn an_outage_is_an_error(suite: &Suite) -> Result<Outcome, Broken> {
    let name = "an_outage_is_an_error";
    suite
        .checked(name, async move |suite| {
            let key = suite.key(name, "a")?;
            suite.put(&key, "body").await?;
            let held = suite.fetch(&key, b"body", "of an object that is there").await?;
            let mut outcome = Outcome::LeftOut("the truth cannot have requests fail");
            for (trouble, kinds) in [
                (Trouble::Outage, [ErrorKind::Unavailable, ErrorKind::Timeout]),
                (Trouble::Refusal, [ErrorKind::PermissionDenied, ErrorKind::Unauthenticated]),
            ] {
                for held in [None, Some(&held)] {
                    if !suite.truth.trouble(trouble) {
                        continue;
                    }
                    outcome = Outcome::Kept;
                    let answer = suite.ask(&key, held).await?;
                    if !answer.as_ref().is_err_and(|error| kinds.contains(&error.kind())) {
                        let when = format!("when its request met `Trouble::{trouble:?}`");
                        let expected =
                            format!("an error of kind `{:?}` or `{:?}`", kinds[0], kinds[1]);
                        return Err(unexpected(&asking(&key, held), &when, &answer, &expected));
                    }
                    suite.fetch(&key, b"body", "when the trouble was over").await?;
                }
            }
            Ok(outcome)
        })
        .await
}
