//! One attempt to connect: open a link, find out the era, shake hands.
//!
//! Everything here happens under one deadline, and whatever was opened is closed again when the attempt fails or is
//! dropped. Trying again is the actor's; what the answers mean is in `negotiate`.

use std::time::Duration;

use lifecycle::CancellationToken;
use tokio::time::Instant;

use super::{
    handshake::{self, Refused, end_of},
    live::{Agreement, Connection, Live, close_link, guarded},
    negotiate::{self, Discovered, Verdict, Why, unsupported},
    notices,
    prepare::Prepared,
    request,
};
use crate::{
    domain::{Era, Failure, FailureCode, HeaderRule, Stage},
    transport::{self, Target},
};

/// Why there is no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unconnected {
    /// It failed.
    Failed(Failed),
    /// The permission to use the secrets was withdrawn.
    Revoked,
    /// The session is to stop.
    Stopped,
}

/// A failed attempt, and what it taught about the server's era.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Failed {
    /// Why it failed.
    pub(super) failure: Failure,
    /// The era to start with next time.
    pub(super) era: Option<Era>,
}

/// How long an attempt may take, and closing what it leaves behind.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) deadline: Instant,
    pub(super) grace: Duration,
}

/// How long a link may take to close while another one is waited for.
const FRESH: Duration = Duration::from_secs(1);

/// Connects once. `known` is the era that worked, or is worth trying, last. When this returns without a connection,
/// whatever was opened is closed; `turn` is given back before that.
pub(super) async fn connect(
    prepared: Prepared,
    known: Option<Era>,
    bounds: Bounds,
    stop: &CancellationToken,
    turn: impl Send,
) -> Result<(Connection, Live), Unconnected> {
    let mut opened = None;
    let result = tokio::select! {
        biased;
        () = stop.cancelled() => Err(Unconnected::Stopped),
        () = prepared.revoked.cancelled() => Err(Unconnected::Revoked),
        attempt = Box::pin(attempt(&prepared, known, bounds.deadline, &mut opened)) => {
            attempt.map_err(Unconnected::Failed)
        }
    };
    drop(turn);
    match (result, opened) {
        (Ok((parts, agreement)), Some(control)) => {
            Ok(assemble(prepared, parts, control, agreement))
        }
        (Err(unconnected), Some(control)) => {
            close_link(control, Instant::now() + bounds.grace).await;
            Err(unconnected)
        }
        (Err(unconnected), None) => Err(unconnected),
        // Nothing comes of nothing.
        (Ok(_), None) => Err(Unconnected::Stopped),
    }
}

/// The owner of the link that is open now; it stays behind when an attempt is given up.
type OpenedLink = Option<transport::LinkControl>;

async fn attempt(
    prepared: &Prepared,
    known: Option<Era>,
    deadline: Instant,
    opened: &mut OpenedLink,
) -> Result<(Parts, Agreement), Failed> {
    let with_era = |era| move |failure| Failed { failure, era };
    let link = open(prepared, deadline, opened)
        .await
        .map_err(with_era(known))?;
    if known == Some(Era::Legacy) {
        // A legacy handshake that fails may mean that the server was upgraded: the next attempt asks.
        return match legacy(link, deadline).await {
            Ok(connected) => Ok(connected),
            Err(Refused::IsModern) => Err(with_era(Some(Era::Modern))(unsupported())),
            Err(Refused::Failed(failure)) => Err(with_era(None)(failure)),
        };
    }
    let (link, slow) = match discover(&link, known, deadline).await {
        Verdict::Modern(discovered) => {
            let parts = modern(link, &discovered, deadline)
                .await
                .map_err(with_era(Some(Era::Modern)))?;
            return Ok((parts, discovered.agreement));
        }
        Verdict::Legacy => (link, Why::Trouble),
        Verdict::LegacyOnFreshLink(why) => {
            drop(link);
            if let Some(control) = opened.take() {
                // Never two at once, and the attempt must not spend its time on a farewell.
                close_link(control, Instant::now() + FRESH).await;
            }
            let link = open(prepared, deadline, opened).await;
            (link.map_err(with_era(None))?, why)
        }
        Verdict::AskAgain => return Err(with_era(Some(Era::Modern))(unsupported())),
        Verdict::Failed(failure) => return Err(with_era(known)(failure)),
    };
    match legacy(link, deadline).await {
        Ok(connected) => Ok(connected),
        Err(Refused::IsModern) => Err(with_era(Some(Era::Modern))(unsupported())),
        // It was silent first: next time the legacy handshake gets all the time there is.
        Err(Refused::Failed(failure)) => Err(with_era(
            (slow == Why::Silence).then_some(Era::Legacy),
        )(failure)),
    }
}

/// A link without its owner.
struct Unowned {
    messages: transport::LinkTransport,
    calls: transport::CallWire,
    ended: tokio::sync::watch::Receiver<Option<transport::LinkEnd>>,
    stderr: Option<transport::StderrTail>,
}

/// The parts of a link that rmcp does not consume, with rmcp on it.
struct Parts {
    service: handshake::Service,
    notices: notices::Notices,
    calls: transport::CallWire,
    ended: tokio::sync::watch::Receiver<Option<transport::LinkEnd>>,
    stderr: Option<transport::StderrTail>,
}

async fn open(
    prepared: &Prepared,
    deadline: Instant,
    opened: &mut OpenedLink,
) -> Result<Unowned, Failure> {
    let opening = transport::open(&prepared.target, &prepared.options);
    match tokio::time::timeout_at(deadline, Box::pin(opening)).await {
        Ok(Ok(link)) => {
            *opened = Some(link.control);
            Ok(Unowned {
                messages: link.messages,
                calls: link.calls,
                ended: link.ended,
                stderr: link.stderr,
            })
        }
        Ok(Err(error)) => Err(Failure::new(error.code, error.stage)),
        Err(_) => Err(Failure::new(FailureCode::Timeout, Stage::Connect)),
    }
}

/// Asks for the era. A server that is known to be modern gets all the time there is, another one half of it, so that
/// a legacy handshake can still follow.
async fn discover(link: &Unowned, known: Option<Era>, deadline: Instant) -> Verdict {
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

async fn ask(link: &Unowned, deadline: Instant) -> Verdict {
    let question = request::discover();
    // `guarded` waits a little longer than it is told, because it does not trust the wire.
    let answer = guarded(&link.calls, question, deadline, CancellationToken::new());
    let limit = deadline + Duration::from_millis(100);
    match tokio::time::timeout_at(limit, Box::pin(answer)).await {
        Ok(answer) => negotiate::judge(answer),
        Err(_) => Verdict::LegacyOnFreshLink(Why::Silence),
    }
}

async fn modern(link: Unowned, found: &Discovered, deadline: Instant) -> Result<Parts, Failure> {
    let (notifier, notices) = notices::channel();
    let service = handshake::modern(link.messages, found, notifier, deadline)
        .await
        .map_err(|refused| match refused {
            Refused::Failed(failure) => failure,
            Refused::IsModern => unsupported(),
        })?;
    Ok(Parts {
        service,
        notices,
        calls: link.calls,
        ended: link.ended,
        stderr: link.stderr,
    })
}

async fn legacy(link: Unowned, deadline: Instant) -> Result<(Parts, Agreement), Refused> {
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
    let parts = Parts {
        service,
        notices,
        calls: link.calls,
        ended: link.ended,
        stderr: link.stderr,
    };
    Ok((parts, agreement))
}

fn assemble(
    prepared: Prepared,
    parts: Parts,
    control: transport::LinkControl,
    agreement: Agreement,
) -> (Connection, Live) {
    // Header annotations mean something to modern servers over HTTP only.
    let header_rule = match (&prepared.target, agreement.era) {
        (Target::Http(_), Era::Modern) => HeaderRule::Obeyed,
        (Target::Http(_), Era::Legacy) | (Target::Stdio(_), _) => HeaderRule::Ignored,
    };
    let Parts {
        service,
        notices,
        calls,
        ended,
        stderr,
    } = parts;
    let connection = Connection {
        service,
        notices,
        ended,
        stderr,
        control,
        revoked: prepared.revoked,
        lease: prepared.lease,
    };
    (connection, Live::new(calls, agreement, header_rule))
}
