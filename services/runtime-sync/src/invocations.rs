//! Which invocation ids were used lately, and what came of them: a repeat never sends a call again.
//!
//! Invariants: an id is bound to one call, as long as it is remembered; what came of a call that was certainly not
//! sent is forgotten, so that it may be tried again; memory is bounded by count, bytes and age. Not here: sending, and
//! what is told to callers.

mod memory;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use lifecycle::Clock;
use names::{ConnectorName, ScopeName};
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;
use uuid::Uuid;

use self::memory::{Entry, Memory};
use crate::domain::{CallError, CallReason, Outcome};

/// What came of a call.
pub type Answer = Result<Arc<Completed>, CallError>;

/// A call that the server answered.
#[derive(Debug)]
pub struct Completed {
    /// The server's exact result; `None` when it was too large to be kept.
    pub result: Option<Bytes>,
    /// Whether the tool reported an error.
    pub is_error: bool,
    /// Hash of the definition the tool had.
    pub definition_hash: String,
}

/// How much is remembered.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Calls.
    pub calls: usize,
    /// Bytes of results, all calls together.
    pub bytes: usize,
    /// How long an answer is remembered.
    pub age: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            calls: 100_000,
            bytes: 64 << 20,
            age: Duration::from_secs(600),
        }
    }
}

/// An invocation: its caller's id within a scope.
pub(crate) type Key = (ScopeName, Uuid);

/// What makes two calls the same call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The fingerprint of a call.
    #[must_use]
    pub fn of(connector: &ConnectorName, tool: &str, arguments: &str, expected: &str) -> Self {
        let mut hash = Sha256::new();
        for part in [&connector.to_string(), tool, expected, arguments] {
            // Lengths keep two neighbouring parts from being read as others.
            hash.update(part.len().to_be_bytes());
            hash.update(part.as_bytes());
        }
        Self(hash.finalize().into())
    }
}

/// What is known of an invocation that was begun before.
#[derive(Debug)]
pub enum Known {
    /// It is running; wait for its answer.
    Running(Waiting),
    /// It has an answer.
    Done(Answer),
    /// The id was used for another call.
    Reused,
}

/// The invocations of the last minutes. Cheap to clone; clones share their memory.
#[derive(Clone, Debug)]
pub struct Invocations {
    // Locked for a look-up or an insertion, never across an await.
    memory: Arc<Mutex<Memory>>,
    clock: Clock,
}

impl Invocations {
    /// Nothing is remembered yet.
    #[must_use]
    pub fn new(bounds: Bounds, clock: Clock) -> Self {
        Self {
            memory: Arc::new(Mutex::new(Memory::new(bounds))),
            clock,
        }
    }

    /// What is known of an invocation, if anything.
    #[must_use]
    pub fn known(&self, scope: &ScopeName, id: Uuid, fingerprint: Fingerprint) -> Option<Known> {
        let mut memory = self.lock();
        memory.expire(self.clock.instant());
        known(&memory, &(scope.clone(), id), fingerprint)
    }

    /// Begins an invocation.
    ///
    /// # Errors
    /// What is known of it, if it was begun before.
    pub fn begin(
        &self,
        scope: &ScopeName,
        id: Uuid,
        fingerprint: Fingerprint,
    ) -> Result<Ticket, Known> {
        let key = (scope.clone(), id);
        let answer = watch::Sender::new(None);
        let mut memory = self.lock();
        if let Some(known) = known(&memory, &key, fingerprint) {
            return Err(known);
        }
        memory.insert(key.clone(), fingerprint, Entry::Running(answer.clone()));
        drop(memory);
        Ok(Ticket {
            invocations: self.clone(),
            key,
            answer,
            open: Open::Yes,
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Memory> {
        // Between any two statements the memory is consistent, so a poisoned lock is harmless.
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn known(memory: &Memory, key: &Key, fingerprint: Fingerprint) -> Option<Known> {
    let (found, entry) = memory.get(key)?;
    if found != fingerprint {
        return Some(Known::Reused);
    }
    Some(match entry {
        Entry::Running(answer) => Known::Running(Waiting(answer.subscribe())),
        Entry::Done(answer) => Known::Done(answer.clone()),
    })
}

/// The answer of a call that somebody else is making.
#[derive(Debug)]
pub struct Waiting(watch::Receiver<Option<Answer>>);

impl Waiting {
    /// The answer. Cancel safe.
    pub async fn answer(mut self) -> Answer {
        match self.0.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(answer)) => answer.clone(),
            // Every ticket answers, if only when it is dropped.
            Ok(None) | Err(_) => Err(unanswered()),
        }
    }
}

/// Whether a ticket still owes an answer.
#[derive(Debug, PartialEq, Eq)]
enum Open {
    Yes,
    No,
}

/// Whether an answer is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keep {
    Yes,
    No,
}

impl Keep {
    fn of(outcome: Outcome) -> Self {
        match outcome {
            Outcome::NotSent => Self::No,
            Outcome::SentUnknown | Outcome::Completed => Self::Yes,
        }
    }
}

/// The right, and the duty, to answer one invocation. Dropped without an answer, the call counts as sent.
#[derive(Debug)]
pub struct Ticket {
    invocations: Invocations,
    key: Key,
    answer: watch::Sender<Option<Answer>>,
    open: Open,
}

impl Ticket {
    /// Answers. What is certainly not done is forgotten; anything else is remembered.
    pub fn finish(mut self, answer: Answer) {
        let keep = match &answer {
            Ok(_) => Keep::Yes,
            Err(error) => Keep::of(error.outcome),
        };
        self.settle(answer, keep);
    }

    /// Answers a call whose id nobody will repeat, because its caller did not choose it: a result need not be kept.
    pub fn finish_unnamed(mut self, answer: Answer) {
        let keep = match &answer {
            Ok(_) => Keep::No,
            Err(error) => Keep::of(error.outcome),
        };
        self.settle(answer, keep);
    }

    fn settle(&mut self, answer: Answer, keep: Keep) {
        if self.open == Open::No {
            return;
        }
        self.open = Open::No;
        let mut memory = self.invocations.lock();
        if keep == Keep::No {
            memory.forget(&self.key);
        } else {
            let now = self.invocations.clock.instant();
            memory.finish(&self.key, answer.clone(), now);
        }
        drop(memory);
        self.answer.send_replace(Some(answer));
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.settle(Err(unanswered()), Keep::Yes);
    }
}

/// What is known of a call whose caller went away.
fn unanswered() -> CallError {
    CallError::new(CallReason::OutcomeUnknown, Outcome::SentUnknown)
}

#[cfg(test)]
mod tests;
