//! One attempt to connect: open a link, find out the era, shake hands.
//!
//! Everything here happens under one deadline, and whatever was opened is closed again when the attempt fails or is
//! dropped. Trying again is the actor's; what the answers mean is in `negotiate`.

use std::time::Duration;

use lifecycle::CancellationToken;
use tokio::time::Instant;

use super::{
    handshake::{self, Refused, end_of},
    live::{Agreement, Connection, Live, guarded},
    negotiate::{self, Discovered, Verdict, Why, unsupported},
    notices,
    prepare::Prepared,
    request,
};
use crate::{
    domain::{Era, Failure, FailureCode, HeaderRule, Stage},
    transport::{self, Link, Target},
};

/// A failed attempt, and what it taught about the server's era.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unconnected {
    /// Why it failed.
    pub(super) failure: Failure,
    /// The era to start with next time.
    pub(super) era: Option<Era>,
}

/// Connects once. `known` is the era that worked, or is worth trying, last.
pub(super) async fn connect(
    prepared: Prepared,
    known: Option<Era>,
    deadline: Instant,
) -> Result<(Connection, Live), Unconnected> {
    Box::pin(attempt(prepared, known, deadline)).await
}

async fn attempt(
    prepared: Prepared,
    known: Option<Era>,
    deadline: Instant,
) -> Result<(Connection, Live), Unconnected> {
    let with_era = |era| move |failure| Unconnected { failure, era };
    let link = open(&prepared, deadline).await.map_err(with_era(known))?;
    if known == Some(Era::Legacy) {
        // A legacy handshake that fails may mean that the server was upgraded: the next attempt asks.
        return match legacy(link, deadline).await {
            Ok((parts, agreement)) => Ok(assemble(prepared, parts, agreement)),
            Err(Refused::IsModern) => Err(with_era(Some(Era::Modern))(unsupported())),
            Err(Refused::Failed(failure)) => Err(with_era(None)(failure)),
        };
    }
    let (link, slow) = match discover(&link, known, deadline).await {
        Verdict::Modern(discovered) => {
            let parts = modern(link, &discovered, deadline)
                .await
                .map_err(with_era(Some(Era::Modern)))?;
            return Ok(assemble(prepared, parts, discovered.agreement));
        }
        Verdict::Legacy => (link, Why::Trouble),
        Verdict::LegacyOnFreshLink(why) => {
            drop(link);
            (
                open(&prepared, deadline).await.map_err(with_era(None))?,
                why,
            )
        }
        Verdict::AskAgain => return Err(with_era(Some(Era::Modern))(unsupported())),
        Verdict::Failed(failure) => return Err(with_era(known)(failure)),
    };
    match legacy(link, deadline).await {
        Ok((parts, agreement)) => Ok(assemble(prepared, parts, agreement)),
        Err(Refused::IsModern) => Err(with_era(Some(Era::Modern))(unsupported())),
        // It was silent first: next time the legacy handshake gets all the time there is.
        Err(Refused::Failed(failure)) => Err(with_era(
            (slow == Why::Silence).then_some(Era::Legacy),
        )(failure)),
    }
}

/// The parts of a link that rmcp does not consume, with rmcp on it.
struct Parts {
    connection: ConnectionParts,
    calls: transport::CallWire,
}

/// What a connection is made of before the lease is added.
struct ConnectionParts {
    service: handshake::Service,
    notices: notices::Notices,
    ended: tokio::sync::watch::Receiver<Option<transport::LinkEnd>>,
    stderr: Option<transport::StderrTail>,
    control: transport::LinkControl,
}

async fn open(prepared: &Prepared, deadline: Instant) -> Result<Link, Failure> {
    let opened = transport::open(&prepared.target, &prepared.options);
    match tokio::time::timeout_at(deadline, Box::pin(opened)).await {
        Ok(Ok(link)) => Ok(link),
        Ok(Err(error)) => Err(Failure::new(error.code, error.stage)),
        Err(_) => Err(Failure::new(FailureCode::Timeout, Stage::Connect)),
    }
}

/// Asks for the era. A server that is known to be modern gets all the time there is, another one half of it, so that
/// a legacy handshake can still follow.
async fn discover(link: &Link, known: Option<Era>, deadline: Instant) -> Verdict {
    let now = Instant::now();
    let left = deadline.saturating_duration_since(now);
    let limit = match known {
        Some(Era::Modern) => left,
        Some(Era::Legacy) | None => left / 2,
    };
    let first = ask(link, now + limit).await;
    match first {
        // Asked in the one modern revision there is; a second refusal is final.
        Verdict::AskAgain => match ask(link, now + limit).await {
            Verdict::AskAgain => Verdict::Failed(unsupported()),
            other => other,
        },
        other => other,
    }
}

async fn ask(link: &Link, deadline: Instant) -> Verdict {
    let question = request::discover();
    // `guarded` waits a little longer than it is told, because it does not trust the wire.
    let answer = guarded(&link.calls, question, deadline, CancellationToken::new());
    let limit = deadline + Duration::from_millis(100);
    match tokio::time::timeout_at(limit, Box::pin(answer)).await {
        Ok(answer) => negotiate::judge(answer),
        Err(_) => Verdict::LegacyOnFreshLink(Why::Silence),
    }
}

async fn modern(link: Link, found: &Discovered, deadline: Instant) -> Result<Parts, Failure> {
    let (notifier, notices) = notices::channel();
    let service = handshake::modern(link.messages, found, notifier, deadline)
        .await
        .map_err(|refused| match refused {
            Refused::Failed(failure) => failure,
            Refused::IsModern => unsupported(),
        })?;
    let (calls, ended, stderr, control) = (link.calls, link.ended, link.stderr, link.control);
    let connection = ConnectionParts {
        service,
        notices,
        ended,
        stderr,
        control,
    };
    Ok(Parts { connection, calls })
}

async fn legacy(link: Link, deadline: Instant) -> Result<(Parts, Agreement), Refused> {
    let (notifier, notices) = notices::channel();
    let (service, agreement) =
        handshake::legacy(link.messages, link.ended.clone(), notifier, deadline)
            .await
            .map_err(|refused| match refused {
                // A dead link explains more than what rmcp made of it.
                Refused::Failed(failure) if failure.code == FailureCode::InvalidMcpServer => {
                    Refused::Failed(end_of(&link.ended).unwrap_or(failure))
                }
                other => other,
            })?;
    let (calls, ended, stderr, control) = (link.calls, link.ended, link.stderr, link.control);
    let connection = ConnectionParts {
        service,
        notices,
        ended,
        stderr,
        control,
    };
    Ok((Parts { connection, calls }, agreement))
}

fn assemble(prepared: Prepared, parts: Parts, agreement: Agreement) -> (Connection, Live) {
    // Header annotations mean something to modern servers over HTTP only.
    let header_rule = match (&prepared.target, agreement.era) {
        (Target::Http(_), Era::Modern) => HeaderRule::Obeyed,
        (Target::Http(_), Era::Legacy) | (Target::Stdio(_), _) => HeaderRule::Ignored,
    };
    let ConnectionParts {
        service,
        notices,
        ended,
        stderr,
        control,
    } = parts.connection;
    let connection = Connection {
        service,
        notices,
        ended,
        stderr,
        control,
        revoked: prepared.revoked,
        lease: prepared.lease,
    };
    (connection, Live::new(parts.calls, agreement, header_rule))
}
