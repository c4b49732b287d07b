//! The way of a tool call: from the caller to the wire and back, past the actor.
//!
//! A call is sent again only after a proof that it did not run, and every error says whether the server may have run
//! it. Bytes pass through untouched in both directions. Who may call what, invocation ids and journals are not here.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use lifecycle::CancellationToken;
use tokio::{sync::watch, time::Instant};

use super::{
    Command, Shared,
    gate::{Gate, Open},
    negotiate::{HEADER_MISMATCH, UNSUPPORTED_VERSION},
    reply::{self, Verdict},
    request,
};
use crate::{
    domain::{CallError, CallReason, Era, HeaderRule, Outcome, ToolDefinition, UpstreamError},
    transport::{RawReply, Sent, WireError, WireErrorKind},
};

/// The longest error message that is kept of a server, in bytes.
const MAX_MESSAGE: usize = 4 * 1024;
/// The largest error data that is kept of a server, in bytes.
const MAX_DATA: usize = 64 * 1024;

/// A call to make.
#[derive(Clone, Debug)]
pub struct ToolCall {
    /// The server's own name of the tool.
    pub tool: String,
    /// The arguments, an exact JSON object.
    pub arguments: String,
    /// The hash of the definition the caller saw; another one fails the call.
    pub expected_definition_hash: Option<String>,
    /// `traceparent`, `tracestate` and `baggage` for `_meta`.
    pub trace: Vec<(String, String)>,
    /// When the caller stops waiting; the connector's own limit if the caller set none.
    pub deadline: Option<Instant>,
    /// Fired when the caller gives up.
    pub cancel: CancellationToken,
}

/// A result, exactly as the server sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolResult {
    /// The JSON text.
    pub json: Bytes,
    /// Whether the tool reports an error.
    pub is_error: bool,
    /// The hash of the definition that was called.
    pub definition_hash: String,
}

/// What to do after a try.
enum Next {
    Done(Result<ToolResult, CallError>),
    /// It did not run: once more, on another connection than this.
    OnAnotherConnection(CallError),
    /// It did not run: once more, after the definitions were fetched again.
    AfterSync(CallError),
}

/// Makes a call.
pub(super) async fn call_tool(shared: &Shared, call: ToolCall) -> Result<ToolResult, CallError> {
    let Ok(_running) = shared.calls.try_acquire() else {
        return Err(CallError::not_sent(CallReason::TooManyCalls));
    };
    if !is_object(&call.arguments) {
        return Err(CallError::not_sent(CallReason::ArgumentsInvalid));
    }
    let deadline = call
        .deadline
        .unwrap_or_else(|| Instant::now() + shared.call_timeout);
    let mut may_have_run = MayHaveRun::No;
    let result = tries(shared, &call, deadline, &mut may_have_run).await;
    result.map_err(|error| may_have_run.said(error))
}

/// Whether a try that was given up for another one may have run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MayHaveRun {
    No,
    Yes,
}

impl MayHaveRun {
    fn remember(&mut self, error: &CallError) {
        if error.outcome != Outcome::NotSent {
            *self = Self::Yes;
        }
    }

    /// What the last try proves of itself it does not prove of those before it.
    fn said(self, error: CallError) -> CallError {
        if self == Self::No || error.outcome != Outcome::NotSent {
            return error;
        }
        let reason = match error.reason {
            CallReason::CallCancelled | CallReason::DeadlineExceeded => error.reason,
            CallReason::ToolNotFound
            | CallReason::DefinitionChanged
            | CallReason::ArgumentsInvalid
            | CallReason::ConnectorDisabled
            | CallReason::ConnectorUnreachable
            | CallReason::AuthRequired
            | CallReason::ScopeStepUp
            | CallReason::UpstreamRateLimited
            | CallReason::UpstreamError
            | CallReason::InteractionUnsupported
            | CallReason::ResultTooLarge
            | CallReason::TooManyCalls
            | CallReason::OutcomeUnknown => CallReason::OutcomeUnknown,
        };
        CallError::new(reason, Outcome::SentUnknown)
    }
}

/// Tries until there is an answer, or until a try may have run, or too often.
async fn tries(
    shared: &Shared,
    call: &ToolCall,
    deadline: Instant,
    may_have_run: &mut MayHaveRun,
) -> Result<ToolResult, CallError> {
    let mut gates = shared.gates.clone();
    let mut resends = shared.options.call.resends;
    let mut used: Option<Arc<Open>> = None;
    loop {
        let open = pass(&mut gates, used.as_ref(), deadline, &call.cancel).await?;
        match once(shared, &open, call, deadline).await {
            Next::Done(result) => return result,
            Next::OnAnotherConnection(error) | Next::AfterSync(error) if resends == 0 => {
                return Err(error);
            }
            Next::OnAnotherConnection(error) => {
                may_have_run.remember(&error);
                used = Some(open);
            }
            Next::AfterSync(error) => resync(shared, deadline, &call.cancel)
                .await
                .map_err(|()| error)?,
        }
        resends -= 1;
    }
}

/// Waits until calls may pass, on another connection than the one that was `used` already.
async fn pass(
    gates: &mut watch::Receiver<Gate>,
    used: Option<&Arc<Open>>,
    deadline: Instant,
    cancel: &CancellationToken,
) -> Result<Arc<Open>, CallError> {
    loop {
        // The borrow must end before anything is awaited.
        let gate = gates.borrow_and_update().clone();
        match gate {
            Gate::Open(open) if used.is_none_or(|used| !Arc::ptr_eq(&used.live, &open.live)) => {
                return Ok(open);
            }
            Gate::Closed { reason, retry_at } => {
                let now = Instant::now();
                return Err(CallError {
                    retry_after: retry_at.map(|at| at.saturating_duration_since(now)),
                    ..CallError::not_sent(reason)
                });
            }
            Gate::Open(_) | Gate::Connecting => {}
        }
        tokio::select! {
            biased;
            () = cancel.cancelled() => return Err(CallError::not_sent(CallReason::CallCancelled)),
            changed = gates.changed() => if changed.is_err() {
                return Err(CallError::not_sent(CallReason::ConnectorDisabled));
            },
            () = tokio::time::sleep_until(deadline) => {
                return Err(CallError::not_sent(CallReason::ConnectorUnreachable));
            }
        }
    }
}

/// One try on one connection.
async fn once(shared: &Shared, open: &Open, call: &ToolCall, deadline: Instant) -> Next {
    let Some(tool) = open.tools.get(&call.tool) else {
        return Next::Done(Err(CallError::not_sent(CallReason::ToolNotFound)));
    };
    if call
        .expected_definition_hash
        .as_ref()
        .is_some_and(|expected| *expected != tool.hash)
    {
        return Next::Done(Err(CallError::not_sent(CallReason::DefinitionChanged)));
    }
    let max_result = shared.options.call.max_result;
    let request = request::tool_call(&open.live, tool, &call.arguments, &call.trace, max_result);
    match open
        .live
        .request(request, deadline, call.cancel.clone())
        .await
    {
        Ok(RawReply::Result(json)) => Next::Done(read(json, tool, max_result)),
        Ok(RawReply::Error {
            code,
            message,
            data,
        }) => refused(open, code, message, data),
        Err(error) => broken(open, tool, &error),
    }
}

/// A result, if it is one.
fn read(json: Bytes, tool: &ToolDefinition, max: usize) -> Result<ToolResult, CallError> {
    let completed = |reason| Err(CallError::new(reason, Outcome::Completed));
    if json.len() > max {
        return completed(CallReason::ResultTooLarge);
    }
    let is_error = match reply::read(&json) {
        Verdict::Success => false,
        Verdict::ToolError => true,
        Verdict::InputRequired => return completed(CallReason::InteractionUnsupported),
        Verdict::Invalid => return completed(CallReason::UpstreamError),
    };
    Ok(ToolResult {
        json,
        is_error,
        definition_hash: tool.hash.clone(),
    })
}

/// The server answered with an error of the protocol.
fn refused(open: &Open, code: i64, mut message: String, data: Option<Bytes>) -> Next {
    message.truncate(message.floor_char_boundary(MAX_MESSAGE));
    let error = |outcome| CallError {
        upstream: Some(UpstreamError {
            code,
            message,
            data: data.filter(|data| data.len() <= MAX_DATA),
        }),
        ..CallError::new(CallReason::UpstreamError, outcome)
    };
    // Only where the specification reserves the codes do they prove anything; elsewhere they are the server's own.
    match code {
        HEADER_MISMATCH if open.live.header_rule == HeaderRule::Obeyed => {
            Next::AfterSync(error(Outcome::NotSent))
        }
        UNSUPPORTED_VERSION if open.live.agreement.era == Era::Modern => {
            open.live.suspect.notify_one();
            Next::Done(Err(error(Outcome::NotSent)))
        }
        _ => Next::Done(Err(error(Outcome::Completed))),
    }
}

/// The wire has no answer.
fn broken(open: &Open, tool: &ToolDefinition, wire: &WireError) -> Next {
    let error = explain(wire);
    match &wire.kind {
        // The link is gone for good, and another one is being made.
        WireErrorKind::SessionLost | WireErrorKind::LinkEnded(_) => {
            let heals_only =
                matches!(wire.kind, WireErrorKind::SessionLost) && tool.is_idempotent();
            if wire.sent == Sent::NotSent || heals_only {
                Next::OnAnotherConnection(error)
            } else {
                Next::Done(Err(error))
            }
        }
        WireErrorKind::PolicyDenied
        | WireErrorKind::DnsFailed
        | WireErrorKind::ConnectFailed
        | WireErrorKind::TlsFailed
        | WireErrorKind::TimedOut
        | WireErrorKind::Broken
        | WireErrorKind::AuthRequired { .. }
        | WireErrorKind::HttpStatus(_)
        | WireErrorKind::DeadlineExceeded => {
            // Only a probe tells a server that is gone from one bad answer.
            open.live.suspect.notify_one();
            Next::Done(Err(error))
        }
        WireErrorKind::Busy
        | WireErrorKind::Cancelled
        | WireErrorKind::Forbidden { .. }
        | WireErrorKind::RateLimited { .. }
        | WireErrorKind::RedirectRefused
        | WireErrorKind::ResponseTooLarge
        | WireErrorKind::InvalidResponse
        | WireErrorKind::InvalidRequest => Next::Done(Err(error)),
    }
}

/// What a caller is told about an error of the wire.
fn explain(wire: &WireError) -> CallError {
    let outcome = match wire.sent {
        Sent::NotSent => Outcome::NotSent,
        Sent::SentUnknown => Outcome::SentUnknown,
        Sent::Answered => Outcome::Completed,
    };
    let reason = match &wire.kind {
        WireErrorKind::Cancelled => CallReason::CallCancelled,
        WireErrorKind::DeadlineExceeded => CallReason::DeadlineExceeded,
        _ if outcome == Outcome::SentUnknown => CallReason::OutcomeUnknown,
        // What was too large was the answer itself: the tool ran.
        WireErrorKind::ResponseTooLarge => CallReason::ResultTooLarge,
        WireErrorKind::Busy => CallReason::TooManyCalls,
        WireErrorKind::AuthRequired { .. } => CallReason::AuthRequired,
        WireErrorKind::Forbidden {
            insufficient_scope: true,
            ..
        } => CallReason::ScopeStepUp,
        WireErrorKind::Forbidden { .. } => CallReason::AuthRequired,
        WireErrorKind::RateLimited { .. } => CallReason::UpstreamRateLimited,
        WireErrorKind::InvalidRequest => CallReason::ArgumentsInvalid,
        WireErrorKind::HttpStatus(_) | WireErrorKind::InvalidResponse => CallReason::UpstreamError,
        // It was reached, and answered with a redirect that is not followed.
        WireErrorKind::PolicyDenied | WireErrorKind::RedirectRefused
            if outcome == Outcome::Completed =>
        {
            CallReason::UpstreamError
        }
        WireErrorKind::LinkEnded(_)
        | WireErrorKind::PolicyDenied
        | WireErrorKind::DnsFailed
        | WireErrorKind::ConnectFailed
        | WireErrorKind::TlsFailed
        | WireErrorKind::TimedOut
        | WireErrorKind::Broken
        | WireErrorKind::SessionLost
        | WireErrorKind::RedirectRefused => CallReason::ConnectorUnreachable,
    };
    let retry_after: Option<Duration> = match &wire.kind {
        WireErrorKind::RateLimited { retry_after } => *retry_after,
        _ => None,
    };
    CallError {
        retry_after,
        ..CallError::new(reason, outcome)
    }
}

/// Has the definitions fetched again, inside the call's own limits.
async fn resync(shared: &Shared, deadline: Instant, cancel: &CancellationToken) -> Result<(), ()> {
    let (answer, answered) = tokio::sync::oneshot::channel();
    shared
        .commands
        .try_send(Command::Sync(answer))
        .map_err(drop)?;
    tokio::select! {
        biased;
        () = cancel.cancelled() => Err(()),
        answered = tokio::time::timeout_at(deadline, answered) => match answered {
            Ok(Ok(Ok(()))) => Ok(()),
            Ok(Ok(Err(_)) | Err(_)) | Err(_) => Err(()),
        },
    }
}

/// Whether a text is exactly one JSON object.
fn is_object(json: &str) -> bool {
    json.trim_start().starts_with('{')
        && serde_json::from_str::<&serde_json::value::RawValue>(json).is_ok()
}
