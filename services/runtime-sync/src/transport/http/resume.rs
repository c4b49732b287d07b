//! Resuming a response stream that ended before the reply (legacy era, SEP-1699).
//!
//! Invariants: nothing is sent twice: a GET with `Last-Event-ID` asks for the rest of what was asked already; without
//! an event id there is nothing to ask for; attempts are bounded, without progress and altogether.

use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::{stream::EventStream, wire::Wire};
use crate::{
    domain::Era,
    transport::error::{WireError, WireErrorKind},
};

/// How long to wait when the server did not say.
const DEFAULT_WAIT: Duration = Duration::from_secs(1);
/// How many times the attempts without progress may be made for one request, progress or not.
const IN_ALL: usize = 20;

#[derive(Debug)]
pub(super) struct Resume {
    era: Era,
    budget: usize,
    left: usize,
    /// Attempts for this request altogether, whatever progress there is.
    in_all: usize,
    max_reply: usize,
}

impl Resume {
    pub(super) fn new(era: Era, budget: usize, max_reply: usize) -> Self {
        Self {
            era,
            budget,
            left: budget,
            in_all: budget.saturating_mul(IN_ALL),
            max_reply,
        }
    }

    /// An event came: the server is alive, and the budget of attempts in a row is whole again.
    pub(super) fn progress(&mut self) {
        self.left = self.budget;
    }

    /// The rest of a stream that ended.
    pub(super) async fn again(
        &mut self,
        wire: &Wire,
        ended: Box<EventStream>,
    ) -> Result<Box<EventStream>, WireErrorKind> {
        let Some(last) = ended
            .events
            .last_id
            .clone()
            .filter(|_| self.era == Era::Legacy)
        else {
            return Err(WireErrorKind::Broken);
        };
        let retry = ended.events.retry;
        // The old connection is given back before the wait.
        drop(ended);
        while self.left > 0 && self.in_all > 0 {
            self.left -= 1;
            self.in_all -= 1;
            sleep(retry.unwrap_or(DEFAULT_WAIT)).await;
            let resumed = timeout(
                wire.limits.response_head,
                wire.get(Some(&last), self.max_reply),
            )
            .await;
            match resumed.unwrap_or(Err(WireError::unknown(WireErrorKind::TimedOut))) {
                Ok(mut stream) => {
                    stream.events.last_id = Some(last);
                    stream.events.retry = retry;
                    return Ok(stream);
                }
                Err(WireError { kind, .. }) if worth_another(&kind) => {}
                // Why the rest cannot be had says nothing about the call, nor about the session.
                Err(_) => return Err(WireErrorKind::Broken),
            }
        }
        Err(WireErrorKind::Broken)
    }
}

/// Whether a failed GET may succeed when it is repeated.
pub(super) const fn worth_another(kind: &WireErrorKind) -> bool {
    match kind {
        WireErrorKind::ConnectFailed
        | WireErrorKind::DnsFailed
        | WireErrorKind::TimedOut
        | WireErrorKind::Broken
        | WireErrorKind::RateLimited { .. } => true,
        WireErrorKind::HttpStatus(status) => *status >= 500,
        WireErrorKind::LinkEnded(_)
        | WireErrorKind::Busy
        | WireErrorKind::Cancelled
        | WireErrorKind::DeadlineExceeded
        | WireErrorKind::PolicyDenied
        | WireErrorKind::TlsFailed
        | WireErrorKind::AuthRequired { .. }
        | WireErrorKind::Forbidden { .. }
        | WireErrorKind::SessionLost
        | WireErrorKind::RedirectRefused
        | WireErrorKind::ResponseTooLarge
        | WireErrorKind::InvalidResponse
        | WireErrorKind::InvalidRequest => false,
    }
}
