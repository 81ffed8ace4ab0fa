//! The origin's half.

use std::sync::Arc;

use bytes::Bytes;
use cache_core::{ErrorKind, Key, Origin, PutCondition, Result, Storability, Validation, Version};
use tokio::task::yield_now;

use super::{Fault, Suite, Trouble, text};
use crate::conformance::{Broken, Outcome};

/// *The version that `put` returns MUST name the body that was put, and come from the answer to the
/// put itself*: the entry of a put is unchanged as long as the object is, and not when another body
/// took its place, however soon.
///
/// # Errors
///
/// [`Broken`] if it is not so.
pub async fn the_version_of_a_put_names_its_body(suite: &Suite) -> Result<Outcome, Broken> {
    let name = "the_version_of_a_put_names_its_body";
    suite
        .checked(name, async move |suite| {
            let Some(origin) = &suite.origin else { return NO_ORIGIN };
            let key = suite.key(name, "a")?;
            for body in ["first", "other", ""] {
                let version =
                    succeeds(put(suite, origin, &key, body, PutCondition::Always).await?, &key, "Always")?;
                suite.fetch(&key, body.as_bytes(), "when it had been put").await?;
                let entry = origin.entry_of_put(&key, body.into(), &version);
                if (entry.key(), &**entry.body()) != (key.as_str(), body.as_bytes()) {
                    return Err(format!(
                        "`entry_of_put({key}, {body:?}, …)` is an entry of {:?} with {}",
                        entry.key(),
                        text(entry.body())
                    ));
                }
                suite
                    .is_unchanged(&key, &entry, "about the entry of a put, when nothing had \
                        changed")
                    .await?;
                suite.put(&key, "another node's").await?;
                let when = "about the entry of a put, when another node had written";
                suite.ask_for(&key, Some(&entry), b"another node's", when).await?;
            }
            for n_turns in 0..10 {
                let (own, other) = (format!("own {n_turns}"), format!("another's {n_turns}"));
                let others = async {
                    for _ in 0..n_turns {
                        yield_now().await;
                    }
                    suite.put(&key, other.clone()).await
                };
                let (version, written) =
                    tokio::join!(biased; put(suite, origin, &key, &own, PutCondition::Always), others);
                written?;
                let entry =
                    origin.entry_of_put(&key, own.clone().into(), &succeeds(version?, &key, "Always")?);
                if entry.storability() != Storability::Revalidatable {
                    continue;
                }
                if let Ok(Validation::NotModified) = suite.ask(&key, Some(&entry)).await? {
                    suite
                        .fetch(
                            &key,
                            own.as_bytes(),
                            "when the version of a put that another node's write met was confirmed",
                        )
                        .await?;
                }
            }
            Ok(Outcome::Kept)
        })
        .await
}

/// Under `PutCondition::Absent` a put takes effect *only if there is no such object yet*, and is
/// `PreconditionFailed` otherwise. Left out unless declared.
///
/// # Errors
///
/// [`Broken`] if it is not so.
pub async fn a_put_if_absent_spares_what_is_there(suite: &Suite) -> Result<Outcome, Broken> {
    let name = "a_put_if_absent_spares_what_is_there";
    suite
        .checked(name, async move |suite| {
            let Some(origin) = &suite.origin else { return NO_ORIGIN };
            if !suite.can.puts_if_absent {
                return Ok(Outcome::LeftOut("puts under this condition were not declared"));
            }
            let key = suite.key(name, "a")?;
            for body in ["first", "again"] {
                suite.delete(&key).await?;
                succeeds(
                    put(suite, origin, &key, body, PutCondition::Absent).await?,
                    &key,
                    "Absent",
                )?;
                suite.fetch(&key, body.as_bytes(), "when it had been put").await?;
                let late = put(suite, origin, &key, "late", PutCondition::Absent).await?;
                fails(
                    late,
                    &key,
                    "Absent, of an object that is there",
                    &[ErrorKind::PreconditionFailed],
                )?;
                suite.fetch(&key, body.as_bytes(), "when a put under `Absent` had failed").await?;
            }
            Ok(Outcome::Kept)
        })
        .await
}

/// Under `PutCondition::Matches` a put takes effect *only if the object is at this version*, and is
/// `PreconditionFailed` otherwise; of an object that is gone, it may be `NotFound`. Left out unless
/// declared.
///
/// # Errors
///
/// [`Broken`] if it is not so.
pub async fn a_put_if_matches_spares_what_has_changed(suite: &Suite) -> Result<Outcome, Broken> {
    let name = "a_put_if_matches_spares_what_has_changed";
    suite
        .checked(name, async move |suite| {
            let Some(origin) = &suite.origin else { return NO_ORIGIN };
            if !suite.can.puts_if_matches {
                return Ok(Outcome::LeftOut("puts under this condition were not declared"));
            }
            let key = suite.key(name, "a")?;
            let first = succeeds(
                put(suite, origin, &key, "first", PutCondition::Always).await?,
                &key,
                "Always",
            )?;
            let second =
                put(suite, origin, &key, "second", PutCondition::Matches(first.clone())).await?;
            succeeds(second, &key, "Matches(the current version)")?;
            suite.fetch(&key, b"second", "when it had been put").await?;

            let lost =
                put(suite, origin, &key, "late", PutCondition::Matches(first.clone())).await?;
            fails(lost, &key, "Matches(an older version)", &[ErrorKind::PreconditionFailed])?;
            suite.fetch(&key, b"second", "when a put under `Matches` had failed").await?;

            // The version that a read brought is as good.
            let read = suite.fetch(&key, b"second", "of an object that is there").await?.version();
            let third = put(suite, origin, &key, "third", PutCondition::Matches(read)).await?;
            let third = succeeds(third, &key, "Matches(the version that a read brought)")?;

            suite.delete(&key).await?;
            let lost = put(suite, origin, &key, "late", PutCondition::Matches(third)).await?;
            let kinds = [ErrorKind::PreconditionFailed, ErrorKind::NotFound];
            fails(lost, &key, "Matches(the last version), of an object that is gone", &kinds)?;
            suite
                .is_gone(
                    &key,
                    None,
                    "when a put under `Matches` of an object that is gone had failed",
                )
                .await?;
            Ok(Outcome::Kept)
        })
        .await
}

/// A condition that was not declared is an error of kind `Unsupported`, after which *the write took
/// no effect*: never a put that ignores it. Left out if both were.
///
/// # Errors
///
/// [`Broken`] if it is not so.
pub async fn what_is_unsupported_says_so_and_changes_nothing(
    suite: &Suite,
) -> Result<Outcome, Broken> {
    let name = "what_is_unsupported_says_so_and_changes_nothing";
    suite
        .checked(name, async move |suite| {
            let Some(origin) = &suite.origin else { return NO_ORIGIN };
            let key = suite.key(name, "a")?;
            let mut outcome = Outcome::LeftOut("all conditions are supported");
            for (is_supported, name) in
                [(suite.can.puts_if_absent, "Absent"), (suite.can.puts_if_matches, "Matches")]
            {
                if is_supported {
                    continue;
                }
                outcome = Outcome::Kept;
                suite.put(&key, "held").await?;
                let current =
                    suite.fetch(&key, b"held", "of an object that is there").await?.version();
                let condition = match name {
                    "Absent" => PutCondition::Absent,
                    _ => PutCondition::Matches(current),
                };
                let answer = put(suite, origin, &key, "late", condition).await?;
                fails(
                    answer,
                    &key,
                    &format!("{name}, which was not declared,"),
                    &[ErrorKind::Unsupported],
                )?;
                suite
                    .fetch(&key, b"held", "when a put under a condition had been unsupported")
                    .await?;
            }
            Ok(outcome)
        })
        .await
}

/// *An error of kind `PermissionDenied` or `Unauthenticated` does not leave it open whether the
/// write took effect*: it took none. Left out where the [`Truth`](super::Truth) knows no refusals.
///
/// # Errors
///
/// [`Broken`] if it is not so.
pub async fn a_refused_put_changes_nothing(suite: &Suite) -> Result<Outcome, Broken> {
    let name = "a_refused_put_changes_nothing";
    suite
        .checked(name, async move |suite| {
            let Some(origin) = &suite.origin else { return NO_ORIGIN };
            let key = suite.key(name, "a")?;
            suite.put(&key, "held").await?;
            if !suite.truth.trouble(Trouble::Refusal) {
                return Ok(Outcome::LeftOut("the truth cannot have requests refused"));
            }
            let answer = put(suite, origin, &key, "late", PutCondition::Always).await?;
            let kinds = [ErrorKind::PermissionDenied, ErrorKind::Unauthenticated];
            fails(answer, &key, "Always, whose request was refused,", &kinds)?;
            suite.fetch(&key, b"held", "when a put had been refused").await?;
            Ok(Outcome::Kept)
        })
        .await
}

/// What `delete` deleted is `Gone`, and can be put again. *Whether a missing one is an error is the
/// origin's affair*: no other than `NotFound`.
///
/// # Errors
///
/// [`Broken`] if it is not so.
pub async fn a_deleted_object_is_gone_for_all(suite: &Suite) -> Result<Outcome, Broken> {
    let name = "a_deleted_object_is_gone_for_all";
    suite.checked(name, async move |suite| {
        let Some(origin) = &suite.origin else { return NO_ORIGIN };
        let key = suite.key(name, "a")?;
        for body in ["first", "again"] {
            let version = succeeds(put(suite, origin, &key, body, PutCondition::Always).await?, &key, "Always")?;
            let entry = origin.entry_of_put(&key, body.into(), &version);
            let deleted = suite.calls.answered(format!("`delete({key})`"), || origin.delete(&key)).await?;
            deleted.map_err(|error| format!("`delete({key})` of an object that is there failed: \
                {error}"))?;
            suite.is_gone(&key, Some(&entry), "when it had been deleted").await?;
            suite.is_gone(&key, None, "when it had been deleted").await?;
            let missing = suite.calls.answered(format!("`delete({key})`"), || origin.delete(&key)).await?;
            if let Err(error) = missing
                && error.kind() != ErrorKind::NotFound
            {
                return Err(format!(
                    "`delete({key})` of a missing object failed with `{:?}` ({error}); expected \
                        success or `NotFound`",
                    error.kind()
                ));
            }
        }
        Ok(Outcome::Kept)
    })
    .await
}

async fn put(
    suite: &Suite,
    origin: &Arc<dyn Origin>,
    key: &Key,
    body: &str,
    condition: PutCondition,
) -> Result<Result<Version>, Fault> {
    let body = Bytes::copy_from_slice(body.as_bytes());
    suite.calls.answered(format!("`put({key}, …)`"), || origin.put(key, body, condition)).await
}

fn succeeds(answer: Result<Version>, key: &Key, condition: &str) -> Result<Version, Fault> {
    answer.map_err(|error| {
        format!(
            "`put({key}, …)` under {condition} failed with `{:?}` ({error}); expected success",
            error.kind()
        )
    })
}

fn fails(
    answer: Result<Version>,
    key: &Key,
    condition: &str,
    kinds: &[ErrorKind],
) -> Result<(), Fault> {
    let seen = match answer {
        Err(error) if kinds.contains(&error.kind()) => return Ok(()),
        Err(error) => format!("failed with `{:?}` ({error})", error.kind()),
        Ok(version) => format!("succeeded, with {version:?}"),
    };
    Err(format!("`put({key}, …)` under {condition} {seen}; expected an error of kind {kinds:?}"))
}

const NO_ORIGIN: Result<Outcome, Fault> =
    Ok(Outcome::LeftOut("this is no origin, it cannot be written to"));
