//! Makes tool calls: finds the session, sends once per invocation id, says what came of it, and logs that.
//!
//! Invariants: a call that was sent is seen to its end even if its caller goes away, so that its outcome is known and
//! logged; it is cancelled once nobody waits for it; nothing here touches a database or another service. Arguments and
//! results are in no log and no span.

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
    supervisor::{LookupError, Patience, Sessions},
};

/// The largest result that fits an answer, in bytes.
pub const MAX_RESULT: usize = 3 << 20;
/// How long is waited for a revision or a session when the caller set no deadline.
const PATIENCE: Duration = Duration::from_secs(60);

/// Which call it is, for logs and errors.
#[derive(Debug)]
pub struct About {
    /// Its id, the caller's or one of ours.
    pub id: Uuid,
    /// The connector.
    pub connector: ConnectorName,
    /// The tool's own name.
    pub tool: String,
    /// Who calls.
    pub subject: String,
}

/// Whose id a call has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naming {
    /// The caller's, who may ask again with it.
    ByCaller,
    /// Ours: nobody asks again with it, so nothing is remembered under it.
    ByUs,
}

/// A call to make.
#[derive(Debug)]
pub struct Call {
    /// Which.
    pub about: Arc<About>,
    /// Whose id it has.
    pub naming: Naming,
    /// The arguments, an exact JSON object.
    pub arguments: String,
    /// The hash of the definition the caller saw.
    pub expected_definition_hash: Option<String>,
    /// Wait until this revision is known.
    pub min_revision: i64,
    /// The caller's deadline, if it set one.
    pub deadline: Option<Instant>,
    /// Fired when this runtime takes no more calls.
    pub draining: CancellationToken,
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
    /// Makes a call under its id, or finds what came of it. Dropping the future cancels the call, up to the server,
    /// unless somebody else waits for it.
    ///
    /// # Errors
    /// [`CallFailure`].
    pub async fn call(&self, call: Call) -> Result<Arc<Completed>, CallFailure> {
        let (about, started) = (Arc::clone(&call.about), Instant::now());
        let answer = self.answer(call).await;
        if let Err(failure @ (CallFailure::Lookup(_) | CallFailure::IdReused)) = &answer {
            // Everything else is logged where it is known, even when nobody waits for it any more.
            let reason = match failure {
                CallFailure::Lookup(error) => error.as_str(),
                _ => "INVOCATION_ID_REUSED",
            };
            about.log("tool not called", Outcome::NotSent, reason, started);
        }
        answer
    }

    async fn answer(&self, call: Call) -> Result<Arc<Completed>, CallFailure> {
        let about = Arc::clone(&call.about);
        let patience = Patience {
            until: call.deadline.unwrap_or_else(|| Instant::now() + PATIENCE),
            draining: call.draining.clone(),
        };
        let scope = about.connector.scope();
        let fingerprint = (call.naming == Naming::ByCaller).then(|| call.fingerprint());
        if let Some(fingerprint) = fingerprint
            && let Some(known) = self.invocations.known(scope, about.id, fingerprint)
        {
            return about.repeated(known, patience.until).await;
        }
        self.sessions.wait_for(call.min_revision, &patience).await?;
        let session = self.sessions.find(&about.connector, &patience).await?;
        let status = session.status();
        let answer = match fingerprint {
            None => self.send_unnamed(session, call).await,
            Some(fingerprint) => match self.invocations.begin(scope, about.id, fingerprint) {
                Ok((ticket, waiting)) => {
                    self.send_named(session, call, ticket);
                    waiting.answer().await
                }
                Err(known) => return about.repeated(known, patience.until).await,
            },
        };
        answer.map_err(|error| self.explain(error, &about.connector, &status.borrow()))
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

    /// Sends a call from a task of its own, which remembers its answer.
    fn send_named(&self, session: SessionHandle, call: Call, ticket: Ticket) {
        let (span, cancel) = (call.about.span(), ticket.abandoned());
        let work = async move { ticket.finish(make(session, call, cancel).await) };
        self.tasks.spawn_job("call", work.instrument(span));
    }

    /// The same for a call that nobody can ask for again.
    async fn send_unnamed(&self, session: SessionHandle, call: Call) -> Answer {
        let cancel = CancellationToken::new();
        let _cancel_when_dropped = cancel.clone().drop_guard();
        let (answered, answer) = oneshot::channel();
        let span = call.about.span();
        let work = async move {
            // The caller may have gone.
            drop(answered.send(make(session, call, cancel).await));
        };
        self.tasks.spawn_job("call", work.instrument(span));
        answer.await.unwrap_or_else(|_| {
            let reason = CallReason::OutcomeUnknown;
            Err(CallError::new(reason, Outcome::SentUnknown))
        })
    }
}

impl Call {
    /// What makes a repeat the same call.
    fn fingerprint(&self) -> Fingerprint {
        let About {
            connector, tool, ..
        } = &*self.about;
        let expected = self.expected_definition_hash.as_deref();
        Fingerprint::of(
            connector,
            tool,
            &self.arguments,
            expected.unwrap_or_default(),
        )
    }
}

impl About {
    fn span(&self) -> tracing::Span {
        tracing::info_span!(
            "tools/call",
            otel.kind = "client",
            mcp.method.name = "tools/call",
            gen_ai.operation.name = "execute_tool",
            gen_ai.tool.name = self.tool,
            connector = %self.connector,
        )
    }

    /// One line for one operation: who, on what, what came of it, how long it took.
    fn log(&self, what: &str, outcome: Outcome, reason: &str, started: Instant) {
        let Self {
            id,
            connector,
            tool,
            subject,
        } = self;
        let micros = started.elapsed().as_micros();
        let elapsed_ms = format_args!("{}.{:03}", micros / 1000, micros % 1000);
        let outcome = outcome.as_str();
        tracing::info!(%subject, %connector, tool, invocation = %id, outcome, reason, %elapsed_ms, "{what}");
    }

    fn log_answer(&self, what: &str, answer: &Answer, started: Instant) {
        let (outcome, reason) = match answer {
            Ok(completed) if completed.is_error => (Outcome::Completed, "TOOL_ERROR"),
            Ok(_) => (Outcome::Completed, ""),
            Err(error) => (error.outcome, error.reason.as_str()),
        };
        self.log(what, outcome, reason, started);
    }

    /// The answer to a call that was made before, or is being made.
    async fn repeated(
        &self,
        known: Known,
        patience: Instant,
    ) -> Result<Arc<Completed>, CallFailure> {
        let started = Instant::now();
        let answer =
            match known {
                Known::Reused => return Err(CallFailure::IdReused),
                Known::Done(answer) => answer,
                // It runs on as long as its first caller waits; who asks again learns more.
                Known::Running(waiting) => timeout_at(patience, waiting.answer())
                    .await
                    .unwrap_or_else(|_| {
                        let reason = CallReason::DeadlineExceeded;
                        Err(CallError::new(reason, Outcome::SentUnknown))
                    }),
            };
        self.log_answer("tool call repeated", &answer, started);
        Ok(answer?)
    }
}

/// Makes a call on its session, and logs what came of it.
async fn make(session: SessionHandle, call: Call, cancel: CancellationToken) -> Answer {
    let Call {
        about,
        naming: _,
        arguments,
        expected_definition_hash,
        min_revision: _,
        deadline,
        draining: _,
    } = call;
    let mut trace = Vec::new();
    telemetry::inject(|key, value| trace.push((key.to_owned(), value)));
    let started = Instant::now();
    let tool_call = ToolCall {
        tool: about.tool.clone(),
        arguments,
        expected_definition_hash,
        trace,
        deadline,
        cancel,
    };
    let result = session.call_tool(tool_call).await;
    let answer = result.map(|result| Arc::new(returned(result)));
    let what = match &answer {
        Err(error) if error.outcome == Outcome::NotSent => "tool not called",
        Ok(_) | Err(_) => "tool called",
    };
    about.log_answer(what, &answer, started);
    answer
}

/// A result as it is returned: one that is too large is not.
fn returned(result: ToolResult) -> Completed {
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
