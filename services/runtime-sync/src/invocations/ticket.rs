//! The two ends of a running invocation: the duty to answer it, and the wait for the answer.
//!
//! Invariants: every ticket answers, if only when it is dropped; a call is cancelled when the last of those who wait
//! for it goes away, and not before. What is remembered of answers is the memory's.

use lifecycle::CancellationToken;
use tokio::sync::watch;

use super::{Answer, Invocations, Key, memory::compact};
use crate::domain::{CallError, CallReason, Outcome};

/// A call under way, as the memory holds it.
#[derive(Clone, Debug)]
pub(super) struct Running {
    answer: watch::Sender<Option<Answer>>,
    cancel: CancellationToken,
}

/// Begins an invocation. The caller of this holds the lock, and puts the last part into the memory.
pub(super) fn begin(invocations: &Invocations, key: Key) -> (Ticket, Waiting, Running) {
    let running = Running {
        answer: watch::Sender::new(None),
        cancel: CancellationToken::new(),
    };
    let waiting = Waiting::of(invocations, &running);
    let ticket = Ticket {
        invocations: invocations.clone(),
        key,
        running: running.clone(),
        open: Open::Yes,
    };
    (ticket, waiting, running)
}

/// The wait for the answer of a call. When the last one is dropped the call is cancelled.
#[derive(Debug)]
pub struct Waiting {
    invocations: Invocations,
    running: Running,
    /// `None` once it is dropped.
    answer: Option<watch::Receiver<Option<Answer>>>,
}

impl Waiting {
    /// One wait more. The caller of this holds the lock.
    pub(super) fn of(invocations: &Invocations, running: &Running) -> Self {
        Self {
            invocations: invocations.clone(),
            running: running.clone(),
            answer: Some(running.answer.subscribe()),
        }
    }

    /// The answer. Dropping the future ends the wait.
    pub async fn answer(mut self) -> Answer {
        let Some(answer) = &mut self.answer else {
            return Err(unanswered());
        };
        match answer.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(answer)) => answer.clone(),
            // Every ticket answers, if only when it is dropped.
            Ok(None) | Err(_) => Err(unanswered()),
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        // Under the lock, so that nobody begins to wait between the count and the cancellation.
        let _memory = self.invocations.lock();
        self.answer = None;
        if self.running.answer.receiver_count() == 0 {
            self.running.cancel.cancel();
        }
    }
}

/// Whether a ticket still owes an answer.
#[derive(Debug, PartialEq, Eq)]
enum Open {
    Yes,
    No,
}

/// The right, and the duty, to answer one invocation. Dropped without an answer, the call counts as sent.
#[derive(Debug)]
pub struct Ticket {
    invocations: Invocations,
    key: Key,
    running: Running,
    open: Open,
}

impl Ticket {
    /// Fired when nobody waits for the answer any more.
    #[must_use]
    pub fn abandoned(&self) -> CancellationToken {
        self.running.cancel.clone()
    }

    /// Answers. What is certainly not done is forgotten; anything else is remembered.
    pub fn finish(mut self, answer: Answer) {
        self.settle(answer);
    }

    fn settle(&mut self, answer: Answer) {
        if self.open == Open::No {
            return;
        }
        self.open = Open::No;
        let answer = compact(answer);
        let now = self.invocations.clock.instant();
        let mut memory = self.invocations.lock();
        memory.expire(now);
        match &answer {
            Err(error) if error.outcome == Outcome::NotSent => memory.forget(&self.key),
            Ok(_) | Err(_) => memory.finish(&self.key, answer.clone(), now),
        }
        drop(memory);
        self.running.answer.send_replace(Some(answer));
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.settle(Err(unanswered()));
    }
}

/// What is known of a call whose task ended without an answer.
fn unanswered() -> CallError {
    CallError::new(CallReason::OutcomeUnknown, Outcome::SentUnknown)
}
