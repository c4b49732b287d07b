//! Makes tool calls: finds the session, sends once per invocation id, says what came of it, and logs that.
//!
//! Invariants: a call that was sent is seen to its end even if its caller goes away, so that its outcome is known and
//! logged; nothing here touches a database or another service. Arguments and results are in no log and no span.

use std::{sync::Arc, time::Duration};

use lifecycle::{CancellationToken, Tasks};
use names::ConnectorName;
use tokio::{
    sync::oneshot,
    time::{Instant, timeout_at},
};
use tracing::Instrument as _;
use uuid::Uuid;

use crate::{
    domain::{CallError, CallReason, ConnectionState, Outcome, Reason, SessionStatus},
    invocations::{Answer, Completed, Fingerprint, Invocations, Known, Ticket},
    session::{SessionHandle, ToolCall, ToolResult},
    supervisor::{LookupError, Sessions},
};

/// The largest result that fits an answer, in bytes.
pub const MAX_RESULT: usize = 3 << 20;
/// How long is waited for a revision or a session when the caller set no deadline.
const PATIENCE: Duration = Duration::from_secs(60);

/// A call to make.
#[derive(Debug)]
pub struct Call {
    /// The connector.
    pub connector: ConnectorName,
    /// The tool's own name.
    pub tool: String,
    /// The arguments, an exact JSON object.
    pub arguments: String,
    /// The caller's id for it.
    pub invocation_id: Option<Uuid>,
    /// The hash of the definition the caller saw.
    pub expected_definition_hash: Option<String>,
    /// Wait until this revision is known.
    pub min_revision: i64,
    /// The caller's deadline, if it set one.
    pub deadline: Option<Instant>,
    /// Who calls, for the log.
    pub subject: String,
}

/// Why a call has no result to return.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallFailure {
    /// There is no session to call; nothing was sent.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// The invocation id was used for another call.
    #[error("the invocation id was used for another call")]
    IdReused,
    /// The connector's settings cannot work as they are; nothing was sent.
    #[error("the connector cannot work as it is: {}", .0.as_str())]
    Misconfigured(Reason),
    /// The session says why.
    #[error(transparent)]
    Call(#[from] CallError),
}

/// Makes calls. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Calls {
    /// Where sessions are found.
    pub sessions: Sessions,
    /// Which ids were used.
    pub invocations: Invocations,
    /// The set of the calls under way.
    pub tasks: Arc<Tasks>,
}

impl Calls {
    /// Makes a call under an id, or finds what came of it. Dropping the future cancels the call, up to the server.
    ///
    /// # Errors
    /// [`CallFailure`].
    pub async fn call(&self, id: Uuid, call: Call) -> Result<Arc<Completed>, CallFailure> {
        let (connector, subject) = (call.connector.clone(), call.subject.clone());
        let answer = self.answer(id, call).await;
        if let Err(failure @ (CallFailure::Lookup(_) | CallFailure::IdReused)) = &answer {
            // Everything else is logged where it is known, even when nobody waits for it any more.
            let outcome = Outcome::NotSent.as_str();
            tracing::info!(%subject, %connector, invocation = %id, outcome, reason = %failure, "tool not called");
        }
        answer
    }

    async fn answer(&self, id: Uuid, call: Call) -> Result<Arc<Completed>, CallFailure> {
        let scope = call.connector.scope().clone();
        let expected = call.expected_definition_hash.as_deref().unwrap_or_default();
        let fingerprint = Fingerprint::of(&call.connector, &call.tool, &call.arguments, expected);
        let patience = call.deadline.unwrap_or_else(|| Instant::now() + PATIENCE);
        if call.invocation_id.is_some()
            && let Some(known) = self.invocations.known(&scope, id, fingerprint)
        {
            return repeated(known, patience).await;
        }
        self.sessions.wait_for(call.min_revision, patience).await?;
        let session = self.sessions.find(&call.connector, patience).await?;
        match self.invocations.begin(&scope, id, fingerprint) {
            Ok(ticket) => {
                let (name, status) = (call.connector.clone(), session.status());
                let answer = self.send(session, id, call, ticket).await;
                answer.map_err(|error| self.explain(error, &name, &status.borrow()))
            }
            Err(known) => repeated(known, patience).await,
        }
    }

    /// Why nothing was sent, as far as the session's own answer does not say it.
    fn explain(
        &self,
        error: CallError,
        name: &ConnectorName,
        status: &SessionStatus,
    ) -> CallFailure {
        let not_sent = error.outcome == Outcome::NotSent;
        match error.reason {
            CallReason::ConnectorUnreachable
                if not_sent && status.state == ConnectionState::Misconfigured =>
            {
                CallFailure::Misconfigured(status.reason)
            }
            // The session was stopped to be replaced: its successor takes calls.
            CallReason::ConnectorDisabled if not_sent && self.sessions.is_wanted(name) => {
                CallError::not_sent(CallReason::ConnectorUnreachable).into()
            }
            _ => error.into(),
        }
    }

    /// Sends a call from a task of its own.
    async fn send(&self, session: SessionHandle, id: Uuid, call: Call, ticket: Ticket) -> Answer {
        let cancel = CancellationToken::new();
        let _cancel_when_dropped = cancel.clone().drop_guard();
        let (answered, answer) = oneshot::channel();
        let span = tracing::info_span!(
            "tools/call",
            otel.kind = "client",
            mcp.method.name = "tools/call",
            gen_ai.operation.name = "execute_tool",
            gen_ai.tool.name = call.tool,
            connector = %call.connector,
        );
        let work = async move {
            let done = make(session, id, call, ticket, cancel).await;
            // The caller may have gone.
            drop(answered.send(done));
        };
        self.tasks.spawn_job("call", work.instrument(span));
        answer.await.unwrap_or_else(|_| {
            let reason = CallReason::OutcomeUnknown;
            Err(CallError::new(reason, Outcome::SentUnknown))
        })
    }
}

/// Makes a call on its session, remembers its answer, and logs what came of it.
async fn make(
    session: SessionHandle,
    id: Uuid,
    call: Call,
    ticket: Ticket,
    cancel: CancellationToken,
) -> Answer {
    let Call {
        connector,
        tool,
        arguments,
        invocation_id,
        expected_definition_hash,
        min_revision: _,
        deadline,
        subject,
    } = call;
    let mut trace = Vec::new();
    telemetry::inject(|key, value| trace.push((key.to_owned(), value)));
    let started = Instant::now();
    let tool_call = ToolCall {
        tool: tool.clone(),
        arguments,
        expected_definition_hash,
        trace,
        deadline,
        cancel,
    };
    let answer: Answer = session
        .call_tool(tool_call)
        .await
        .map(|result| Arc::new(kept(result)));
    let elapsed_ms = started.elapsed().as_secs_f64() * 1e3;
    let (outcome, reason) = match &answer {
        Ok(completed) if completed.is_error => (Outcome::Completed, "TOOL_ERROR"),
        Ok(_) => (Outcome::Completed, ""),
        Err(error) => (error.outcome, error.reason.as_str()),
    };
    let outcome = outcome.as_str();
    tracing::info!(%subject, %connector, tool, invocation = %id, outcome, reason, elapsed_ms, "tool called");
    match invocation_id {
        Some(_) => ticket.finish(answer.clone()),
        None => ticket.finish_unnamed(answer.clone()),
    }
    answer
}

/// A result as it is kept and returned: one that is too large is not.
fn kept(result: ToolResult) -> Completed {
    let ToolResult {
        json,
        is_error,
        definition_hash,
    } = result;
    Completed {
        result: (json.len() <= MAX_RESULT).then_some(json),
        is_error,
        definition_hash,
    }
}

/// The answer to a call that was made before, or is being made.
async fn repeated(known: Known, patience: Instant) -> Result<Arc<Completed>, CallFailure> {
    match known {
        Known::Reused => Err(CallFailure::IdReused),
        Known::Done(answer) => Ok(answer?),
        Known::Running(waiting) => match timeout_at(patience, waiting.answer()).await {
            Ok(answer) => Ok(answer?),
            // It runs on; who asks again learns more.
            Err(_) => Err(CallError::new(CallReason::OutcomeUnknown, Outcome::SentUnknown).into()),
        },
    }
}
