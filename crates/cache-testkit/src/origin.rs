//! An origin in memory whose every step a test can hold, watch and spoil.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use bytes::Bytes;
use cache_core::{
    Entry, Error, ErrorKind, Key, Origin, PutCondition, Result, Validation, Validator, Version,
};

use crate::Gate;

/// An origin over a map: one request, one answer, each version with an ETag of its own.
///
/// A request passes `before`, then takes effect or is evaluated in one step, then passes `after` on its way back.
/// Both gates are open until closed. Requests are recorded when they come, before the first gate.
#[derive(Debug, Default)]
pub struct MemoryOrigin {
    /// Holds requests on their way to the origin.
    pub before: Gate,
    /// Holds answers on their way back.
    pub after: Gate,
    state: Mutex<State>,
}

/// A request that an origin got.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum OriginRequest {
    /// A validation, with the ETag that was sent.
    Validate(String, Option<String>),
    /// A put.
    Put(String),
    /// A delete.
    Delete(String),
}

/// What goes wrong with a request.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum OriginFault {
    /// It fails without reaching the origin.
    Fails(ErrorKind),
    /// It reaches the origin and takes effect, and the answer is this error.
    LosesReply(ErrorKind),
    /// It never answers.
    Hangs,
    /// The validator panics.
    Panics,
    /// The answer is "unchanged", whatever was asked.
    ClaimsUnchanged,
    /// The answer has no validator: neither ETag nor date.
    HasNoValidator,
}

#[derive(Debug, Default)]
struct State {
    objects: HashMap<String, (Bytes, String)>,
    written: u64,
    requests: Vec<OriginRequest>,
    faults: VecDeque<OriginFault>,
}

impl MemoryOrigin {
    /// An empty origin.
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes an object as another node would: unseen by any cache, not recorded. Its ETag.
    pub fn write(&self, key: &str, body: impl Into<Bytes>) -> String {
        self.lock().write(key, body.into())
    }

    /// Deletes an object as another node would.
    pub fn erase(&self, key: &str) {
        self.lock().objects.remove(key);
    }

    /// The requests so far.
    pub fn requests(&self) -> Vec<OriginRequest> {
        self.lock().requests.clone()
    }

    /// How many requests came so far.
    pub fn count(&self) -> usize {
        self.lock().requests.len()
    }

    /// Spoils the next request; called again, the one after it.
    pub fn fault(&self, fault: OriginFault) {
        self.lock().faults.push_back(fault);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records the request and takes it through the gates and faults; `effect` is the origin's own step.
    async fn request<T>(
        &self,
        request: OriginRequest,
        effect: impl FnOnce(&mut State) -> Result<T>,
    ) -> Result<T> {
        let fault = {
            let mut state = self.lock();
            state.requests.push(request);
            state.faults.pop_front()
        };
        self.before.pass().await;
        let answer = match fault {
            Some(OriginFault::Fails(kind)) => return Err(Error::new(kind, "the origin was told to fail")),
            Some(OriginFault::Hangs) => std::future::pending().await,
            Some(OriginFault::Panics) => panic!("the origin was told to panic"),
            Some(OriginFault::LosesReply(kind)) => {
                let _ = effect(&mut self.lock());
                Err(Error::new(kind, "the origin was told to lose the reply"))
            }
            Some(fault) => {
                let mut state = self.lock();
                state.faults.push_front(fault);
                let answer = effect(&mut state);
                state.faults.pop_front();
                answer
            }
            None => effect(&mut self.lock()),
        };
        self.after.pass().await;
        answer
    }
}

#[async_trait]
impl Validator for MemoryOrigin {
    async fn validate(&self, key: &Key, held: Option<&Entry>) -> Result<Validation> {
        let sent = held.and_then(|held| held.e_tag().map(String::from));
        let request = OriginRequest::Validate(key.as_str().to_owned(), sent.clone());
        self.request(request, |state| {
            let fault = state.faults.front().cloned();
            if matches!(fault, Some(OriginFault::ClaimsUnchanged)) {
                return Ok(Validation::Unchanged);
            }
            Ok(match state.objects.get(key.as_str()) {
                None => Validation::Gone,
                Some((body, _)) if matches!(fault, Some(OriginFault::HasNoValidator)) => {
                    Validation::Changed(Entry::builder(key, body.clone()).build())
                }
                Some((_, e_tag)) if Some(e_tag) == sent.as_ref() => Validation::Unchanged,
                Some((body, e_tag)) => {
                    Validation::Changed(Entry::builder(key, body.clone()).e_tag(e_tag.clone()).build())
                }
            })
        })
        .await
    }
}

#[async_trait]
impl Origin for MemoryOrigin {
    async fn put(&self, key: &Key, body: Bytes, condition: PutCondition) -> Result<Version> {
        self.request(OriginRequest::Put(key.as_str().to_owned()), |state| {
            let current = state.objects.get(key.as_str()).map(|(_, e_tag)| e_tag);
            let holds = match &condition {
                PutCondition::Absent => current.is_none(),
                PutCondition::Matches(version) => current.is_some() && current == version.e_tag.as_ref(),
                _ => true,
            };
            if !holds {
                return Err(Error::new(ErrorKind::PreconditionFailed, "the object is at another version"));
            }
            let size = body.len() as u64;
            let e_tag = state.write(key.as_str(), body);
            Ok(Version { e_tag: Some(e_tag), size, ..Version::default() })
        })
        .await
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        self.request(OriginRequest::Delete(key.as_str().to_owned()), |state| {
            state.objects.remove(key.as_str());
            Ok(())
        })
        .await
    }
}

impl State {
    fn write(&mut self, key: &str, body: Bytes) -> String {
        self.written += 1;
        let e_tag = format!("\"{}\"", self.written);
        self.objects.insert(key.to_owned(), (body, e_tag.clone()));
        e_tag
    }
}
