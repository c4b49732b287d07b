//! Where a session's status is put up: the one place that writes it.
//!
//! Every change gets the next sequence number and, when the state changed, a new `since`; nothing is published that
//! changes nothing. What the status should be is decided by the actor.

use std::{sync::Arc, time::SystemTime};

use lifecycle::Clock;
use tokio::sync::watch;

use crate::domain::{Reason, SessionSpec, SessionStatus};

/// The writer of one session's status.
#[derive(Debug)]
pub(super) struct Board {
    status: watch::Sender<Arc<SessionStatus>>,
    clock: Clock,
    connector: String,
}

impl Board {
    pub(super) fn new(spec: &SessionSpec, clock: Clock) -> Self {
        let initial = SessionStatus::initial(spec.generation, clock.now());
        Self {
            status: watch::Sender::new(Arc::new(initial)),
            clock,
            connector: spec.name.to_string(),
        }
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<Arc<SessionStatus>> {
        self.status.subscribe()
    }

    pub(super) fn current(&self) -> Arc<SessionStatus> {
        self.status.borrow().clone()
    }

    pub(super) fn now(&self) -> SystemTime {
        self.clock.now()
    }

    /// Moves to the state that belongs to a reason, with whatever else changes at the same time.
    pub(super) fn enter(&self, reason: Reason, change: impl FnOnce(&mut SessionStatus)) {
        let before = self.current();
        self.update(|status| {
            status.state = reason.state();
            status.reason = reason;
            status.stage = None;
            if status.state != before.state {
                status.since = self.clock.now();
            }
            change(status);
        });
        if before.state != reason.state() || before.reason != reason {
            tracing::info!(
                connector = %self.connector,
                from = before.state.as_str(),
                to = reason.state().as_str(),
                reason = reason.as_str(),
                "session state changed"
            );
        }
    }

    /// Changes the status without moving to another state.
    pub(super) fn update(&self, change: impl FnOnce(&mut SessionStatus)) {
        self.status.send_modify(|current| {
            let mut next = SessionStatus::clone(current);
            change(&mut next);
            next.sequence += 1;
            *current = Arc::new(next);
        });
    }
}
