//! The session's own stream (legacy era): what a server says that answers no request.
//!
//! Invariant: it is a convenience, never a need: it is given up after some failures in a row, its waits are bounded,
//! and nothing of it reaches the link but a session that is denied where it was served before.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep};

use super::{driver::Job, resume::worth_another, stream::EventStream, wire::Wire};
use crate::transport::{
    error::{LinkEnd, WireErrorKind},
    frame::{self, Envelope},
    inbound::Taken,
};

/// The first wait and the longest one.
const WAITS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// Failures in a row before it is given up; lists are synced by a timer as well.
const FAILURES: u32 = 8;
/// A stream that lived this long was no failure.
const LIVED: Duration = Duration::from_secs(30);

/// Keeps the stream open until the server has none, or fails too often.
pub(super) async fn run(wire: &Wire) {
    let (mut failures, mut last, mut retry) = (0, None, None);
    let mut served = false;
    while failures < FAILURES {
        let opened = Instant::now();
        match wire.get(last.as_deref(), usize::MAX).await {
            Ok(stream) => {
                served = true;
                let mut stream = stream.endless();
                let heard = listen(wire, &mut stream).await;
                last = stream.events.last_id.take().or(last);
                retry = stream.events.retry.or(retry);
                if heard || opened.elapsed() >= LIVED {
                    failures = 0;
                }
            }
            Err(error) if worth_another(&error.kind) => {}
            Err(error) => {
                if served && error.kind == WireErrorKind::SessionLost {
                    wire.end(LinkEnd::SessionLost);
                }
                // Otherwise there is no such stream: 405, or 404 from servers that know no better.
                return;
            }
        }
        failures += 1;
        // However short a wait the server asks for: it is no conversation, and what it announces is collected anyway.
        let wait = retry
            .unwrap_or(WAITS.0)
            .max(WAITS.0)
            .saturating_mul(1 << (failures - 1).min(6));
        sleep(wait.min(WAITS.1)).await;
    }
}

/// Passes on events until the stream ends; says whether there were any.
async fn listen(wire: &Wire, stream: &mut EventStream) -> bool {
    let mut heard = false;
    while let Ok(Some(data)) = stream.next().await {
        heard = true;
        pass_on(wire, &data).await;
    }
    heard
}

async fn pass_on(wire: &Wire, data: &Bytes) {
    for message in frame::split_batch(data) {
        let Some(envelope) = Envelope::read(&message) else {
            wire.inbound.count_dropped();
            continue;
        };
        if let Taken::Answer(answer) = wire.inbound.take(&message, &envelope).await {
            let _full = wire.jobs.try_send(Job::Answer(answer));
        }
    }
}
