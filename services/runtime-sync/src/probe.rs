//! Asking a server whether it is well, in the way its era knows.
//!
//! A ladder: modern servers are asked `server/discover`, legacy ones `ping`; a server that does not know its question
//! is asked for its tools. Only an answer that is a result counts. When to probe is the session's, and what follows
//! from failures is in `domain::health`.

use std::time::Duration;

use lifecycle::CancellationToken;
use tokio::time::Instant;

use crate::{
    domain::{Era, Failure, FailureCode, ProbeKind, Stage},
    session::{Live, ProbeOptions, plain, wire_failure},
    transport::RawReply,
};

/// What came of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probed {
    /// What was asked last.
    pub kind: ProbeKind,
    /// Whether the server answered.
    pub outcome: Result<(), Failure>,
    /// How long the last question took.
    pub latency: Duration,
}

/// Probes once, waiting for a turn first; `None` when there was none in time, which says nothing of the server. `first`
/// is the rung that worked last time.
pub(crate) async fn probe(
    live: &Live,
    first: Option<ProbeKind>,
    options: &ProbeOptions,
    cancel: CancellationToken,
) -> Option<Probed> {
    let turn = tokio::time::timeout(options.timeout, options.parallel.acquire());
    // A closed semaphore means that the runtime stops.
    let Ok(Ok(_turn)) = turn.await else {
        return None;
    };
    let rung = first.unwrap_or(match live.agreement.era {
        Era::Modern => ProbeKind::Discover,
        Era::Legacy => ProbeKind::Ping,
    });
    let deadline = Instant::now() + options.timeout;
    let asked = ask(live, rung, deadline, &cancel).await;
    Some(match asked {
        Asked::Refused if rung != ProbeKind::ListTools => {
            ask(live, ProbeKind::ListTools, deadline, &cancel)
                .await
                .into_probed(ProbeKind::ListTools, deadline, options)
        }
        other => other.into_probed(rung, deadline, options),
    })
}

/// The answer to one question.
enum Asked {
    Answered(Duration),
    /// With an error of the protocol: the question may just not be known there.
    Refused,
    Failed(Failure),
}

impl Asked {
    fn into_probed(self, kind: ProbeKind, deadline: Instant, options: &ProbeOptions) -> Probed {
        let (outcome, latency) = match self {
            Self::Answered(latency) => (Ok(()), latency),
            Self::Refused => {
                let failure = Failure::new(FailureCode::InvalidMcpServer, Stage::List);
                (Err(failure), Duration::ZERO)
            }
            Self::Failed(failure) => {
                let left = deadline.saturating_duration_since(Instant::now());
                (Err(failure), options.timeout.saturating_sub(left))
            }
        };
        Probed {
            kind,
            outcome,
            latency,
        }
    }
}

async fn ask(live: &Live, kind: ProbeKind, deadline: Instant, cancel: &CancellationToken) -> Asked {
    let method = match kind {
        ProbeKind::Discover => "server/discover",
        ProbeKind::Ping => "ping",
        ProbeKind::ListTools | ProbeKind::Traffic | ProbeKind::Connection => "tools/list",
    };
    let started = Instant::now();
    let question = plain(live, method, &[]);
    match live.request(question, deadline, cancel.clone()).await {
        Ok(RawReply::Result(_)) => Asked::Answered(started.elapsed()),
        Ok(RawReply::Error { .. }) => Asked::Refused,
        Err(error) => Asked::Failed(wire_failure(&error.kind)),
    }
}
