//! Errors as statuses: the only place that makes them.
//!
//! Invariant: only what was certainly not sent is UNAVAILABLE, because clients send that again; what was sent and
//! has no known outcome is ABORTED, with the id to ask again with.

use std::time::Duration;

use contracts::runtime::v1 as pb;
use names::{ConnectorName, ToolName};
use rpc::error::{ErrorReason, FixableBy, Outcome, RichError};
use tonic::{Code, Status};

use crate::{
    calls::{About, CallFailure},
    domain::{self, CallError, CallReason, Reason, SessionStatus},
    session::RequestError,
    supervisor::LookupError,
};

/// The type of a connector in error details; the same that foreign connectors are refused with.
const CONNECTOR: &str = "patchbay/Connector";
/// The type of a tool in error details.
const TOOL: &str = "patchbay/Tool";
/// JSON-RPC: invalid params.
const INVALID_PARAMS: i64 = -32602;
/// When asking again makes sense if nobody knows better.
const SOON: Duration = Duration::from_secs(1);

/// A reason of the package.
struct Published(pb::ErrorReason);

impl ErrorReason for Published {
    fn as_str(&self) -> &'static str {
        self.0.as_str_name().trim_start_matches("ERROR_REASON_")
    }
}

fn error(code: Code, reason: pb::ErrorReason, message: &'static str) -> RichError {
    RichError::new(code, Published(reason), message)
}

/// No session can be asked.
pub(super) fn lookup(error: LookupError, connector: &ConnectorName) -> Status {
    not_found_or(error, connector).into()
}

fn not_found_or(failure: LookupError, connector: &ConnectorName) -> RichError {
    let rich = match failure {
        LookupError::NotFound => {
            let reason = Published(pb::ErrorReason::ConnectorNotFound);
            // Nothing may be added: a foreign connector is refused with exactly this.
            return RichError::not_found(reason, CONNECTOR, &connector.to_string());
        }
        LookupError::Disabled => disabled(connector),
        LookupError::TooNew => misconfigured(Reason::SpecTooNew, connector),
        LookupError::Stale => error(
            Code::Unavailable,
            pb::ErrorReason::RegistryStale,
            "the runtime has not heard from the registry for too long",
        )
        .fixable_by(FixableBy::Operator)
        .retry_after(SOON),
        LookupError::DeadlineExceeded => expired(),
        LookupError::TooManyWaits => error(
            Code::ResourceExhausted,
            pb::ErrorReason::Overloaded,
            "too many requests wait for a revision or a session; ask again without min_revision, or later",
        )
        .fixable_by(FixableBy::Nobody)
        .retry_after(SOON),
        LookupError::Stopped => draining(),
    };
    rich.outcome(Outcome::NotSent)
        .metadata("connector", connector.to_string())
}

fn disabled(connector: &ConnectorName) -> RichError {
    let message = "the connector is disabled";
    error(
        Code::FailedPrecondition,
        pb::ErrorReason::ConnectorDisabled,
        message,
    )
    .precondition("CONNECTOR_ENABLED", connector.to_string(), message)
    .fixable_by(FixableBy::Admin)
}

fn misconfigured(reason: Reason, connector: &ConnectorName) -> RichError {
    error(
        Code::FailedPrecondition,
        pb::ErrorReason::ConnectorMisconfigured,
        reason.message(),
    )
    .precondition(reason.as_str(), connector.to_string(), reason.message())
    .metadata("connector_reason", reason.as_str())
    .fixable_by(FixableBy::Admin)
}

fn expired() -> RichError {
    error(
        Code::DeadlineExceeded,
        pb::ErrorReason::DeadlineExceeded,
        "the deadline passed before anything was sent",
    )
    .fixable_by(FixableBy::User)
}

fn draining() -> RichError {
    error(
        Code::Unavailable,
        pb::ErrorReason::ShuttingDown,
        "the runtime is shutting down; connect again",
    )
    .fixable_by(FixableBy::Nobody)
    .retry_after(SOON)
}

/// A watch ends because the runtime does.
pub(super) fn shutting_down() -> Status {
    draining().outcome(Outcome::NotSent).into()
}

/// A watch ends because its reader does not keep up.
pub(super) fn watcher_too_slow() -> Status {
    error(
        Code::ResourceExhausted,
        pb::ErrorReason::WatcherTooSlow,
        "the watcher reads too slowly; start the watch again",
    )
    .fixable_by(FixableBy::User)
    .retry_after(SOON)
    .into()
}

/// A call without a result.
pub(super) fn call(failure: &CallFailure, about: &About) -> Status {
    let connector = &about.connector;
    let rich = match failure {
        CallFailure::Lookup(error) => return lookup(*error, connector),
        CallFailure::IdReused => error(
            Code::AlreadyExists,
            pb::ErrorReason::InvocationIdReused,
            "the invocation id was used for another call",
        )
        .outcome(Outcome::NotSent)
        .fixable_by(FixableBy::User),
        CallFailure::Misconfigured(reason) => {
            misconfigured(*reason, connector).outcome(Outcome::NotSent)
        }
        CallFailure::Call(error) if error.reason == CallReason::ToolNotFound => {
            let name = ToolName::new(connector.clone(), about.tool.clone());
            let name = name.map_or_else(|_| connector.to_string(), |name| name.to_string());
            refused(error, connector).resource(TOOL, name)
        }
        CallFailure::Call(error) => refused(error, connector),
    };
    with_call(rich, about)
}

fn with_call(rich: RichError, about: &About) -> Status {
    rich.metadata("connector", about.connector.to_string())
        .metadata("invocation_id", about.id.to_string())
        .into()
}

/// What the session says of a call, the outcome first: without an answer, nothing else counts.
fn refused(failure: &CallError, connector: &ConnectorName) -> RichError {
    let CallError {
        reason,
        outcome: what_became,
        retry_after,
        upstream,
    } = failure;
    if *what_became == domain::Outcome::SentUnknown {
        return error(
            Code::Aborted,
            pb::ErrorReason::OutcomeUnknown,
            "the call was sent and its outcome is not known",
        )
        .metadata("cause", reason.as_str())
        .outcome(Outcome::SentUnknown)
        .fixable_by(FixableBy::Nobody);
    }
    let invalid = upstream
        .as_ref()
        .is_some_and(|error| error.code == INVALID_PARAMS);
    let was_sent = *what_became != domain::Outcome::NotSent;
    let reason = match *reason {
        CallReason::UpstreamError if invalid => CallReason::ArgumentsInvalid,
        // UNAVAILABLE invites clients to send again, and what the server answered was sent.
        CallReason::ConnectorUnreachable if was_sent => CallReason::UpstreamError,
        reason => reason,
    };
    let mut rich = by_reason(reason, connector).outcome(outcome(*what_became));
    if let Some(upstream) = upstream {
        rich = rich
            .metadata("upstream_code", upstream.code.to_string())
            .metadata("upstream_message", &upstream.message);
    }
    match retry_after {
        Some(delay) => rich.retry_after(*delay),
        None => rich,
    }
}

/// The status of a call whose outcome is known.
fn by_reason(reason: CallReason, connector: &ConnectorName) -> RichError {
    use pb::ErrorReason as Published;
    let message = reason.message();
    match reason {
        CallReason::ToolNotFound => {
            error(Code::NotFound, Published::ToolNotFound, message).fixable_by(FixableBy::User)
        }
        CallReason::DefinitionChanged => {
            error(Code::Aborted, Published::DefinitionChanged, message).fixable_by(FixableBy::User)
        }
        CallReason::ArgumentsInvalid => error(
            Code::InvalidArgument,
            Published::ArgumentsInvalid,
            ARGUMENTS,
        )
        .field("arguments_json", ARGUMENTS)
        .fixable_by(FixableBy::User),
        CallReason::ConnectorDisabled => disabled(connector),
        CallReason::ConnectorUnreachable => {
            error(Code::Unavailable, Published::ConnectorUnreachable, message)
                .fixable_by(FixableBy::Admin)
                .retry_after(SOON)
        }
        CallReason::AuthRequired | CallReason::ScopeStepUp => {
            error(Code::FailedPrecondition, Published::AuthRequired, message)
                .precondition(reason.as_str(), connector.to_string(), message)
                .fixable_by(FixableBy::User)
        }
        CallReason::UpstreamRateLimited => error(
            Code::ResourceExhausted,
            Published::UpstreamRateLimited,
            message,
        )
        .fixable_by(FixableBy::Nobody)
        .retry_after(SOON),
        CallReason::UpstreamError | CallReason::InteractionUnsupported => {
            error(Code::FailedPrecondition, Published::UpstreamError, message)
                .metadata("cause", reason.as_str())
                .fixable_by(FixableBy::Nobody)
        }
        CallReason::ResultTooLarge => {
            error(Code::ResourceExhausted, Published::ResultTooLarge, message)
                .fixable_by(FixableBy::Nobody)
        }
        CallReason::TooManyCalls => {
            error(Code::ResourceExhausted, Published::TooManyCalls, message)
                .quota(connector.to_string(), message)
                .fixable_by(FixableBy::Nobody)
                .retry_after(SOON)
        }
        CallReason::CallCancelled => {
            error(Code::Cancelled, Published::CallCancelled, message).fixable_by(FixableBy::User)
        }
        CallReason::DeadlineExceeded => expired(),
        CallReason::OutcomeUnknown => {
            error(Code::Aborted, Published::OutcomeUnknown, message).fixable_by(FixableBy::Nobody)
        }
    }
}

const ARGUMENTS: &str = "the arguments are not a JSON object, or the server refused them";

fn outcome(outcome: domain::Outcome) -> Outcome {
    match outcome {
        domain::Outcome::NotSent => Outcome::NotSent,
        domain::Outcome::SentUnknown => Outcome::SentUnknown,
        domain::Outcome::Completed => Outcome::Completed,
    }
}

/// The call was made, and its result fits no message, or is kept no longer.
pub(super) fn result_too_large(about: &About) -> Status {
    unusable_result(CallReason::ResultTooLarge, about)
}

/// The call was made, and its result is no text.
pub(super) fn result_not_text(about: &About) -> Status {
    unusable_result(CallReason::UpstreamError, about)
}

fn unusable_result(reason: CallReason, about: &About) -> Status {
    let rich = by_reason(reason, &about.connector).outcome(Outcome::Completed);
    with_call(rich, about)
}

/// A synchronisation that failed.
pub(super) fn sync(
    failure: RequestError,
    connector: &ConnectorName,
    after: &SessionStatus,
) -> Status {
    let reason = match failure {
        RequestError::Failed(reason) => reason,
        RequestError::DeadlineExceeded | RequestError::Busy | RequestError::Stopped => {
            return check(failure, connector);
        }
    };
    let stage = after.stage.map_or("", |stage| stage.as_str());
    error(
        Code::FailedPrecondition,
        pb::ErrorReason::SyncFailed,
        reason.message(),
    )
    .precondition(reason.as_str(), connector.to_string(), reason.message())
    .metadata("connector", connector.to_string())
    .metadata("code", reason.as_str())
    .metadata("stage", stage)
    .fixable_by(FixableBy::Admin)
    .into()
}

/// A health check that could not be made.
pub(super) fn check(failure: RequestError, connector: &ConnectorName) -> Status {
    let rich = match failure {
        RequestError::Failed(reason) => error(
            Code::FailedPrecondition,
            pb::ErrorReason::SyncFailed,
            reason.message(),
        )
        .metadata("code", reason.as_str()),
        RequestError::DeadlineExceeded => error(
            Code::DeadlineExceeded,
            pb::ErrorReason::DeadlineExceeded,
            "the deadline passed before the server answered",
        ),
        RequestError::Busy => error(
            Code::ResourceExhausted,
            pb::ErrorReason::Overloaded,
            "too many requests wait for this session",
        )
        .retry_after(SOON),
        RequestError::Stopped => error(
            Code::Unavailable,
            pb::ErrorReason::ConnectorUnreachable,
            "the session was stopped meanwhile",
        )
        .retry_after(SOON),
    };
    rich.metadata("connector", connector.to_string()).into()
}

#[cfg(test)]
mod tests;
