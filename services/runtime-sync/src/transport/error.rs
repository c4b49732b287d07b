//! What can go wrong on a link, typed and without a word of the peer's text.
//!
//! Invariant: every `Display` here is static text, so that no header, body or environment value of a server or a
//! user reaches a log through an error. What decides whether a call may be sent again is [`Sent`], and it is decided
//! here, next to the wire, never guessed later. Mapping to gRPC statuses is *not* here.

use std::{fmt, time::Duration};

use rmcp::service::{ClientInitializeError, ServiceError};
use tokio::sync::watch;

use crate::domain::{FailureCode, Stage};

/// A link could not be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct OpenError {
    /// The reason code.
    pub code: FailureCode,
    /// Where it failed.
    pub stage: Stage,
    /// A static sentence for people.
    pub message: &'static str,
}

impl OpenError {
    pub(super) const fn new(code: FailureCode, stage: Stage, message: &'static str) -> Self {
        Self {
            code,
            stage,
            message,
        }
    }

    pub(super) const fn refused(refusal: policy::Refusal) -> Self {
        let code = if refusal.is_invalid() {
            FailureCode::InvalidUrl
        } else {
            FailureCode::PolicyDenied
        };
        Self::new(code, Stage::Policy, refusal.message())
    }
}

/// Why a link ended. A link ends once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkEnd {
    /// The server process ended with this exit code or by this signal.
    ProcessExited {
        /// Exit code, when it exited.
        code: Option<i32>,
        /// Signal number, when it was killed.
        signal: Option<i32>,
    },
    /// The server closed its standard output while the process may still live.
    OutputClosed,
    /// One line, or one message, was longer than the limit.
    LineTooLong,
    /// The server stopped reading its standard input.
    InputBlocked,
    /// The HTTP session is gone on the server's side.
    SessionLost,
    /// The guard process itself was lost; nothing is known of the server's end.
    GuardLost,
    /// We closed it.
    Closed,
}

impl LinkEnd {
    /// The failure code and stage this end is reported as.
    #[must_use]
    pub const fn failure(&self) -> (FailureCode, Stage) {
        match self {
            Self::ProcessExited { .. } | Self::OutputClosed | Self::GuardLost => {
                (FailureCode::ProcessExited, Stage::Connect)
            }
            Self::LineTooLong => (FailureCode::InvalidMcpServer, Stage::Handshake),
            Self::InputBlocked => (FailureCode::Timeout, Stage::Handshake),
            Self::SessionLost | Self::Closed => (FailureCode::ConnectionFailed, Stage::Http),
        }
    }
}

impl fmt::Display for LinkEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ProcessExited { .. } => "the server process ended",
            Self::OutputClosed => "the server closed its output",
            Self::LineTooLong => "the server sent a message over the size limit",
            Self::InputBlocked => "the server stopped reading its input",
            Self::SessionLost => "the server no longer knows the session",
            Self::GuardLost => "the guard process of the server was lost",
            Self::Closed => "the link was closed",
        })
    }
}

/// Waits for the end of a link.
pub(super) async fn end_of(ended: &mut watch::Receiver<Option<LinkEnd>>) -> LinkEnd {
    match ended.wait_for(Option::is_some).await {
        Ok(end) => end.clone().unwrap_or(LinkEnd::Closed),
        Err(_) => LinkEnd::Closed,
    }
}

/// Whether a call reached the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sent {
    /// It is proved that the server did not run it: it may be sent again.
    NotSent,
    /// It may have run. Sending it again could run it twice.
    SentUnknown,
    /// The server answered it, and the answer is unusable or a refusal.
    Answered,
}

/// What happened to a call or to a message on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WireErrorKind {
    /// The link has ended.
    LinkEnded(LinkEnd),
    /// Too many messages are waiting to be written.
    Busy,
    /// The caller gave up.
    Cancelled,
    /// The deadline passed.
    DeadlineExceeded,
    /// The policy forbids the destination, an address behind it, or a redirect's target.
    PolicyDenied,
    /// The host name did not resolve.
    DnsFailed,
    /// No connection could be made.
    ConnectFailed,
    /// TLS failed.
    TlsFailed,
    /// No connection, or no first byte, within its own limit.
    TimedOut,
    /// The connection broke before the answer was complete.
    Broken,
    /// 401; the challenge if the server sent one.
    AuthRequired {
        /// `WWW-Authenticate`, at most 4 KiB. Not for logs.
        challenge: Option<Box<str>>,
    },
    /// 403; `insufficient_scope` tells a step-up from a plain refusal.
    Forbidden {
        /// `WWW-Authenticate`, at most 4 KiB. Not for logs.
        challenge: Option<Box<str>>,
        /// The challenge names `insufficient_scope`.
        insufficient_scope: bool,
    },
    /// The server does not know our session any more (404, or 400 as some servers say it).
    SessionLost,
    /// 429.
    RateLimited {
        /// `Retry-After`, when given in seconds.
        retry_after: Option<Duration>,
    },
    /// Another HTTP status that is no success.
    HttpStatus(u16),
    /// A redirect that may not be followed.
    RedirectRefused,
    /// The answer is over the size limit.
    ResponseTooLarge,
    /// The answer is not MCP.
    InvalidResponse,
    /// The request itself cannot be put on this wire.
    InvalidRequest,
}

impl WireErrorKind {
    /// The failure code and stage this is reported as when it ends a connection attempt.
    #[must_use]
    pub const fn failure(&self) -> (FailureCode, Stage) {
        match self {
            Self::LinkEnded(end) => end.failure(),
            Self::Busy | Self::Cancelled | Self::DeadlineExceeded => {
                (FailureCode::Timeout, Stage::Handshake)
            }
            Self::PolicyDenied | Self::RedirectRefused => {
                (FailureCode::PolicyDenied, Stage::Policy)
            }
            Self::DnsFailed => (FailureCode::DnsFailed, Stage::Dns),
            Self::ConnectFailed => (FailureCode::ConnectionFailed, Stage::Connect),
            Self::TlsFailed => (FailureCode::TlsFailed, Stage::Tls),
            Self::TimedOut => (FailureCode::Timeout, Stage::Http),
            Self::Broken | Self::SessionLost | Self::RateLimited { .. } => {
                (FailureCode::ConnectionFailed, Stage::Http)
            }
            Self::AuthRequired { .. } => (FailureCode::AuthRequired, Stage::Auth),
            Self::Forbidden { .. } => (FailureCode::AuthFailed, Stage::Auth),
            Self::HttpStatus(status) if *status >= 500 => {
                (FailureCode::ConnectionFailed, Stage::Http)
            }
            Self::HttpStatus(_) | Self::ResponseTooLarge | Self::InvalidResponse => {
                (FailureCode::InvalidMcpServer, Stage::Http)
            }
            Self::InvalidRequest => (FailureCode::InvalidUrl, Stage::Policy),
        }
    }
}

impl fmt::Display for WireErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LinkEnded(end) => return end.fmt(f),
            Self::Busy => "too many messages wait for this server",
            Self::Cancelled => "the call was cancelled",
            Self::DeadlineExceeded => "the deadline passed",
            Self::PolicyDenied => "the policy forbids this destination",
            Self::DnsFailed => "the host name could not be resolved",
            Self::ConnectFailed => "no connection could be made",
            Self::TlsFailed => "TLS could not be established",
            Self::TimedOut => "the server did not answer in time",
            Self::Broken => "the connection broke before the answer was complete",
            Self::AuthRequired { .. } => "the server requires authorization",
            Self::Forbidden { .. } => "the server refused the credentials",
            Self::SessionLost => "the server no longer knows the session",
            Self::RateLimited { .. } => "the server limits the rate of requests",
            Self::HttpStatus(status) => {
                return write!(f, "the server answered with HTTP status {status}");
            }
            Self::RedirectRefused => "the server redirects to where requests may not go",
            Self::ResponseTooLarge => "the answer is over the size limit",
            Self::InvalidResponse => "the answer is not an MCP message",
            Self::InvalidRequest => "the request cannot be sent to this server",
        })
    }
}

/// A raw call failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind}")]
pub struct WireError {
    /// What happened.
    pub kind: WireErrorKind,
    /// Whether the call reached the server.
    pub sent: Sent,
}

impl WireError {
    pub(super) const fn not_sent(kind: WireErrorKind) -> Self {
        Self {
            kind,
            sent: Sent::NotSent,
        }
    }

    pub(super) const fn unknown(kind: WireErrorKind) -> Self {
        Self {
            kind,
            sent: Sent::SentUnknown,
        }
    }

    pub(super) const fn answered(kind: WireErrorKind) -> Self {
        Self {
            kind,
            sent: Sent::Answered,
        }
    }
}

/// The error of [`LinkTransport`](super::LinkTransport): what rmcp carries in its own errors for us.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct LinkError(pub WireErrorKind);

/// Finds what the wire said inside an error of rmcp, whichever way it was wrapped.
#[must_use]
pub fn wire_cause<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a WireErrorKind> {
    let mut next = Some(error);
    while let Some(current) = next {
        if let Some(LinkError(kind)) = current.downcast_ref() {
            return Some(kind);
        }
        if let Some(WireError { kind, .. }) = current.downcast_ref() {
            return Some(kind);
        }
        next = carried(current).or_else(|| current.source());
    }
    None
}

/// The transport's error in those of rmcp's errors that do not call it their source.
fn carried<'a>(
    error: &'a (dyn std::error::Error + 'static),
) -> Option<&'a (dyn std::error::Error + 'static)> {
    if let Some(ServiceError::TransportSend(dynamic)) = error.downcast_ref() {
        return Some(dynamic.error.as_ref());
    }
    match error.downcast_ref() {
        Some(ClientInitializeError::TransportError { error, .. }) => Some(error.error.as_ref()),
        Some(ClientInitializeError::LegacyFallbackFailed { fallback, .. }) => {
            Some(fallback.as_ref())
        }
        _ => None,
    }
}
