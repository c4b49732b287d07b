//! One session: the live link to one connector's server, kept up by one actor.
//!
//! The actor owns all state; everybody else holds a [`SessionHandle`] and reads snapshots. A session is never changed:
//! another spec is another session. Calls do not pass through the actor, only through the wire it last put up.
//! Which sessions there are is decided by the supervisor; invocation ids, permissions and journals are not here either.

mod actor;
mod allowance;
mod board;
mod call;
mod connect;
mod gate;
mod handshake;
mod listen;
mod live;
mod negotiate;
mod notices;
mod options;
mod pace;
mod param_headers;
mod prepare;
mod reply;
mod request;
mod serve;
mod slot;
mod turns;

use std::{sync::Arc, time::Duration};

use lifecycle::{CancellationToken, Tasks};
use tokio::{
    sync::{Semaphore, mpsc, oneshot, watch},
    time::Instant,
};

use self::{
    actor::{Actor, Command},
    board::Board,
    gate::Gate,
};
pub use self::{
    call::{ToolCall, ToolResult},
    options::{CallOptions, ProbeOptions, SessionOptions, SyncOptions},
    prepare::{Prepare, PrepareError, Prepared},
    turns::ScopeTurns,
};
pub(crate) use self::{
    live::Live,
    negotiate::wire_failure,
    request::{json_string, plain},
};
use crate::{
    domain::{CallError, Reason, SessionSpec, SessionStatus},
    transport::StderrTail,
};

/// Commands that may wait for one actor.
const COMMANDS: usize = 32;

/// Starts sessions.
#[derive(Debug)]
pub struct Session;

impl Session {
    /// Starts a session as one task of `tasks`; it ends when the set is stopped or [`SessionHandle::stop`] is called.
    pub fn start(
        spec: SessionSpec,
        prepare: Prepare,
        options: Arc<SessionOptions>,
        tasks: &Tasks,
    ) -> SessionHandle {
        let (commands, inbox) = mpsc::channel(COMMANDS);
        let (gate, gates) = watch::channel(Gate::Connecting);
        let (stderr, stderr_tail) = watch::channel(None);
        let board = Board::new(&spec, options.clock.clone());
        let shared = Arc::new(Shared {
            call_timeout: spec.timeouts.call.unwrap_or(options.call.timeout),
            calls: Semaphore::new(options.call.in_flight),
            options: Arc::clone(&options),
            spec,
            status: board.subscribe(),
            gates,
            stderr: stderr_tail,
            commands,
            cancel: tasks.token().child_token(),
        });
        let actor = Actor::new(&shared, prepare, inbox, board, gate, stderr);
        tasks.spawn_job("session", actor.run());
        SessionHandle { shared }
    }
}

/// What the handles of one session have in common.
#[derive(Debug)]
pub(crate) struct Shared {
    spec: SessionSpec,
    options: Arc<SessionOptions>,
    status: watch::Receiver<Arc<SessionStatus>>,
    gates: watch::Receiver<Gate>,
    stderr: watch::Receiver<Option<StderrTail>>,
    commands: mpsc::Sender<Command>,
    calls: Semaphore,
    call_timeout: Duration,
    cancel: CancellationToken,
}

/// Why a sync or a health check gave no good answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// It was tried and failed.
    #[error("failed: {}", .0.as_str())]
    Failed(Reason),
    /// The deadline passed.
    #[error("the deadline passed")]
    DeadlineExceeded,
    /// Too many requests wait for this session.
    #[error("too many requests wait for this session")]
    Busy,
    /// The session was stopped.
    #[error("the session was stopped")]
    Stopped,
}

/// A handle to one session; cheap to clone. Dropping all handles does not stop the session.
#[derive(Clone, Debug)]
pub struct SessionHandle {
    shared: Arc<Shared>,
}

impl SessionHandle {
    /// What this session is meant to be.
    pub fn spec(&self) -> &SessionSpec {
        &self.shared.spec
    }

    /// The latest status, and every change to it.
    pub fn status(&self) -> watch::Receiver<Arc<SessionStatus>> {
        self.shared.status.clone()
    }

    /// The tail of the server's standard error, of the running process or the last one (stdio only).
    pub fn stderr(&self) -> Option<StderrTail> {
        self.shared.stderr.borrow().clone()
    }

    /// How many calls are running now.
    pub fn calls_in_flight(&self) -> usize {
        self.shared
            .options
            .call
            .in_flight
            .saturating_sub(self.shared.calls.available_permits())
    }

    /// Calls a tool. While the session is being connected the call waits inside its own deadline.
    ///
    /// Cancellation: when `call.cancel` fires or this future is dropped, the server is told as far as its protocol
    /// allows.
    ///
    /// # Errors
    /// [`CallError`] says why there is no result and whether the server may have run the call.
    pub async fn call_tool(&self, call: ToolCall) -> Result<ToolResult, CallError> {
        call::call_tool(&self.shared, call).await
    }

    /// Fetches the list of tools now, connecting at once if the session waits for its next attempt.
    ///
    /// # Errors
    /// [`RequestError`]; after a failure the last good list stays.
    pub async fn sync(&self, deadline: Instant) -> Result<Arc<SessionStatus>, RequestError> {
        self.ask(deadline, Command::Sync).await
    }

    /// Checks the server's health now, connecting at once if the session waits for its next attempt.
    ///
    /// # Errors
    /// [`RequestError::Failed`] with the reason when the server is not well.
    pub async fn check_health(
        &self,
        deadline: Instant,
    ) -> Result<Arc<SessionStatus>, RequestError> {
        self.ask(deadline, Command::CheckHealth).await
    }

    /// Ends the session: calls fail from now on, the link is closed within its bound. Returns when the actor has ended.
    pub async fn stop(&self) {
        self.shared.cancel.cancel();
        // The actor drops its inbox as the very last thing it does.
        self.shared.commands.closed().await;
    }

    async fn ask(
        &self,
        deadline: Instant,
        command: impl FnOnce(Answer) -> Command,
    ) -> Result<Arc<SessionStatus>, RequestError> {
        let (answer, answered) = oneshot::channel();
        self.shared
            .commands
            .try_send(command(answer))
            .map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => RequestError::Busy,
                mpsc::error::TrySendError::Closed(_) => RequestError::Stopped,
            })?;
        match tokio::time::timeout_at(deadline, answered).await {
            Ok(Ok(result)) => result.map_err(RequestError::Failed)?,
            Ok(Err(_)) => return Err(RequestError::Stopped),
            Err(_) => return Err(RequestError::DeadlineExceeded),
        }
        Ok(self.shared.status.borrow().clone())
    }
}

/// How the actor answers a request.
type Answer = oneshot::Sender<Result<(), Reason>>;
