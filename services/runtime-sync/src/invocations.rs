//! Which invocation ids were used lately, and what came of them: a repeat never sends a call again.
//!
//! Invariants: an id is bound to one call, as long as it is remembered; what came of a call that was certainly not
//! sent is forgotten, so that it may be tried again; memory is bounded by count, bytes and age, and what is kept holds
//! on to nothing larger than itself. Not here: sending, and what is told to callers.

mod memory;
mod ticket;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use lifecycle::{CancellationToken, Clock};
use names::{ConnectorName, ScopeName};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use self::memory::{Entry, Memory};
pub use self::ticket::{Ticket, Waiting};
use crate::domain::CallError;

/// What came of a call.
pub type Answer = Result<Arc<Completed>, CallError>;

/// A call that the server answered.
#[derive(Clone, Debug)]
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
    /// Bytes of results and of servers' errors, all calls together.
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
        self.look(&memory, &(scope.clone(), id), fingerprint)
    }

    /// Begins an invocation: gives the duty to answer it, and its caller's wait for the answer.
    ///
    /// # Errors
    /// What is known of it, if it was begun before.
    pub fn begin(
        &self,
        scope: &ScopeName,
        id: Uuid,
        fingerprint: Fingerprint,
    ) -> Result<(Ticket, Waiting), Known> {
        let key = (scope.clone(), id);
        let mut memory = self.lock();
        memory.expire(self.clock.instant());
        if let Some(known) = self.look(&memory, &key, fingerprint) {
            return Err(known);
        }
        let (ticket, waiting, running) = ticket::begin(self, key.clone());
        memory.insert(key, fingerprint, Entry::Running(running));
        Ok((ticket, waiting))
    }

    /// Forgets what is too old, whether or not anybody calls, until cancelled.
    pub async fn expire_in_time(self, cancel: CancellationToken) {
        let interval = self.lock().age() / 10;
        while cancel
            .run_until_cancelled(self.clock.sleep(interval))
            .await
            .is_some()
        {
            self.lock().expire(self.clock.instant());
        }
    }

    fn look(&self, memory: &Memory, key: &Key, fingerprint: Fingerprint) -> Option<Known> {
        let (found, entry) = memory.get(key)?;
        if found != fingerprint {
            return Some(Known::Reused);
        }
        Some(match entry {
            Entry::Running(running) => Known::Running(Waiting::of(self, running)),
            Entry::Done(answer) => Known::Done(answer.clone()),
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Memory> {
        // Between any two statements the memory is consistent, so a poisoned lock is harmless.
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
