//! What came of a tool call that has no result: why, and whether the server may have run it.
//!
//! The outcome is a fact about the wire, never a guess: only `NotSent` may be tried again by anybody. Nothing here
//! sends (see `session::call`), and gRPC codes are chosen in `grpc`.

use std::time::Duration;

use bytes::Bytes;

/// Whether the server ran the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It certainly did not.
    NotSent,
    /// Nobody knows.
    SentUnknown,
    /// The server answered.
    Completed,
}

impl Outcome {
    /// The name used on the wire, in logs and by people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotSent => "NOT_SENT",
            Self::SentUnknown => "SENT_UNKNOWN",
            Self::Completed => "COMPLETED",
        }
    }
}

/// Why a call has no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CallReason {
    /// The server lists no tool of that name.
    ToolNotFound,
    /// The tool's definition is not the one the caller saw.
    DefinitionChanged,
    /// The arguments are no JSON object.
    ArgumentsInvalid,
    /// The connector was switched off or deleted.
    ConnectorDisabled,
    /// There is no connection to the server.
    ConnectorUnreachable,
    /// The server asks for authorization.
    AuthRequired,
    /// The server asks for more authorization than it was given.
    ScopeStepUp,
    /// The server asks to be left alone for a while.
    UpstreamRateLimited,
    /// The server answered with an error, or with something that is no result.
    UpstreamError,
    /// The tool asks a question in the middle of the call; nobody is there to answer.
    InteractionUnsupported,
    /// The result is larger than is accepted.
    ResultTooLarge,
    /// Too many calls of this connector are running.
    TooManyCalls,
    /// The caller cancelled.
    CallCancelled,
    /// The deadline passed.
    DeadlineExceeded,
    /// The call was sent, and the connection ended before an answer.
    OutcomeUnknown,
}

impl CallReason {
    /// The code used on the wire, in logs and by people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ToolNotFound => "TOOL_NOT_FOUND",
            Self::DefinitionChanged => "DEFINITION_CHANGED",
            Self::ArgumentsInvalid => "ARGUMENTS_INVALID",
            Self::ConnectorDisabled => "CONNECTOR_DISABLED",
            Self::ConnectorUnreachable => "CONNECTOR_UNREACHABLE",
            Self::AuthRequired => "AUTH_REQUIRED",
            Self::ScopeStepUp => "SCOPE_STEP_UP",
            Self::UpstreamRateLimited => "UPSTREAM_RATE_LIMITED",
            Self::UpstreamError => "UPSTREAM_ERROR",
            Self::InteractionUnsupported => "INTERACTION_UNSUPPORTED",
            Self::ResultTooLarge => "RESULT_TOO_LARGE",
            Self::TooManyCalls => "TOO_MANY_CALLS",
            Self::CallCancelled => "CALL_CANCELLED",
            Self::DeadlineExceeded => "DEADLINE_EXCEEDED",
            Self::OutcomeUnknown => "OUTCOME_UNKNOWN",
        }
    }

    /// One static sentence for people.
    pub fn message(self) -> &'static str {
        match self {
            Self::ToolNotFound => "The connector has no tool of that name.",
            Self::DefinitionChanged => "The tool's definition is not the one the caller saw.",
            Self::ArgumentsInvalid => "The arguments are not a JSON object.",
            Self::ConnectorDisabled => "The connector is switched off.",
            Self::ConnectorUnreachable => "The connector's server cannot be reached.",
            Self::AuthRequired => "The connector's server asks for authorization.",
            Self::ScopeStepUp => "The connector's server asks for more authorization.",
            Self::UpstreamRateLimited => "The connector's server asks to be called less often.",
            Self::UpstreamError => "The connector's server answered with an error.",
            Self::InteractionUnsupported => "The tool asks a question that cannot be answered yet.",
            Self::ResultTooLarge => "The result is larger than is accepted.",
            Self::TooManyCalls => "Too many calls of this connector are running.",
            Self::CallCancelled => "The call was cancelled.",
            Self::DeadlineExceeded => "The deadline passed before the server answered.",
            Self::OutcomeUnknown => "The connection ended before the server answered.",
        }
    }
}

/// A call without a result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} ({})", reason.as_str(), outcome.as_str())]
pub struct CallError {
    /// Why.
    pub reason: CallReason,
    /// Whether the server ran it.
    pub outcome: Outcome,
    /// How long the server, or this runtime, wants to be left alone.
    pub retry_after: Option<Duration>,
    /// The server's own error, if that is what it answered.
    pub upstream: Option<UpstreamError>,
}

/// An error a server answered with; its text is the server's and may hold anything.
#[derive(Clone, PartialEq, Eq)]
pub struct UpstreamError {
    /// The JSON-RPC code.
    pub code: i64,
    /// The message, cut to a bound.
    pub message: String,
    /// The exact JSON text of `data`, if it is small.
    pub data: Option<Bytes>,
}

impl std::fmt::Debug for UpstreamError {
    // The text comes from the server and may repeat the arguments: it has no place in a log.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("UpstreamError")
            .field("code", &self.code)
            .finish_non_exhaustive()
    }
}

impl CallError {
    /// The server certainly did not run it.
    pub fn not_sent(reason: CallReason) -> Self {
        Self::new(reason, Outcome::NotSent)
    }

    /// An error with its outcome.
    pub fn new(reason: CallReason, outcome: Outcome) -> Self {
        Self {
            reason,
            outcome,
            retry_after: None,
            upstream: None,
        }
    }
}
