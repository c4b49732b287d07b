//! Raw calls over the pipes.
//!
//! Invariants: every call ends by its deadline; a call that was not written is withdrawn and reported as not sent;
//! one that was written and is given up is cancelled at the server, whether its caller cancelled, ran out of time, or
//! simply dropped it.

use std::sync::{Arc, atomic::Ordering};

use bytes::{BufMut as _, Bytes};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::{
    Shared,
    writer::{Claim, Outgoing},
};
use crate::transport::{
    call::{RawCall, RawReply},
    error::{WireError, WireErrorKind, end_of},
    frame,
};

#[derive(Debug, Clone)]
pub(in crate::transport) struct StdioCalls(Arc<Shared>);

impl StdioCalls {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self(shared)
    }

    pub(in crate::transport) async fn call(
        &self,
        call: RawCall,
        deadline: Instant,
        cancel: CancellationToken,
    ) -> Result<RawReply, WireError> {
        let shared = &self.0;
        let number = shared.next.fetch_add(1, Ordering::Relaxed);
        let mut line = frame::request(number, &call).map_err(WireError::not_sent)?;
        line.put_u8(b'\n');
        let mut reply = shared.expect_reply(number);
        let claim = Arc::new(Claim::default());
        let mut flight = Flight {
            shared,
            number,
            claim: Arc::clone(&claim),
            over: false,
        };
        let mut ended = shared.ended.subscribe();
        let outgoing = Outgoing {
            line: line.freeze(),
            claim: Some(claim),
        };

        let given_up = async {
            tokio::select! {
                biased;
                end = end_of(&mut ended) => WireErrorKind::LinkEnded(end),
                () = cancel.cancelled() => WireErrorKind::Cancelled,
                () = sleep_until(deadline) => WireErrorKind::DeadlineExceeded,
            }
        };
        tokio::pin!(given_up);
        tokio::select! {
            biased;
            kind = &mut given_up => return Err(flight.give_up(kind)),
            permit = shared.queue.reserve() => match permit {
                Ok(permit) => permit.send(outgoing),
                Err(_) => return Err(flight.give_up(WireErrorKind::Broken)),
            },
        }
        tokio::select! {
            biased;
            reply = &mut reply => match reply {
                Ok(reply) => flight.land(reply),
                Err(_) => Err(flight.give_up(WireErrorKind::Broken)),
            },
            kind = given_up => Err(flight.give_up(kind)),
        }
    }
}

/// A call on its way; dropping it gives it up.
struct Flight<'a> {
    shared: &'a Shared,
    number: u64,
    claim: Arc<Claim>,
    over: bool,
}

impl Flight<'_> {
    fn land(&mut self, reply: Result<RawReply, WireErrorKind>) -> Result<RawReply, WireError> {
        self.over = true;
        reply.map_err(WireError::answered)
    }

    fn give_up(&mut self, kind: WireErrorKind) -> WireError {
        if self.claim.withdraw() {
            self.over = true;
            return WireError::not_sent(kind);
        }
        // Dropping it will tell the server.
        WireError::unknown(kind)
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        self.shared.forget(self.number);
        if self.over || self.claim.withdraw() {
            return;
        }
        let line = Bytes::from(frame::cancelled(self.number) + "\n");
        // With a full queue the server is stuck anyway, and waiting is not for a destructor.
        let _full = self.shared.queue.try_send(Outgoing { line, claim: None });
    }
}
