//! The actor of one session: prepares, connects, serves, and starts over, until it is told to stop.
//!
//! It owns the link and all state; whatever it decides is seen on the board and at the gate, in that order of truth. A
//! failed connection never ends it. How long it waits is in `pace`, what it does while connected in `serve`.

use std::{
    sync::Arc,
    time::{Duration, Instant as StdInstant},
};

use lifecycle::CancellationToken;
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};
use tracing::Instrument as _;

use super::{
    Answer, Shared,
    board::Board,
    connect::{self, Bounds, Failed, Unconnected},
    gate::Gate,
    live::{Connection, Live},
    options::SessionOptions,
    pace::{AfterEnd, Ending, Pace, Setback},
    prepare::{Prepare, PrepareError, Prepared},
    serve::Lost,
};
use crate::{
    domain::{
        CallReason, ConnectionState, Era, Failure, Health, HealthSample, ProbeKind, Reason,
        SessionSpec,
    },
    sync::{self, ToolList},
    transport::{LinkEnd, StderrTail},
};

/// What a handle asks of the actor.
#[derive(Debug)]
pub(crate) enum Command {
    /// Fetch the list of tools now.
    Sync(Answer),
    /// Probe now.
    CheckHealth(Answer),
}

impl Command {
    fn answer(self, result: Result<(), Reason>) {
        let (Self::Sync(answer) | Self::CheckHealth(answer)) = self;
        // Whoever asked may have gone.
        let _gone = answer.send(result);
    }
}

/// The actor.
pub(super) struct Actor {
    pub(super) spec: SessionSpec,
    pub(super) options: Arc<SessionOptions>,
    pub(super) inbox: mpsc::Receiver<Command>,
    pub(super) board: Board,
    pub(super) gate: watch::Sender<Gate>,
    pub(super) cancel: CancellationToken,
    pub(super) health: Health,
    prepare: Prepare,
    stderr: watch::Sender<Option<StderrTail>>,
    pace: Pace,
    era: Option<Era>,
    /// Requests that arrived while there was no connection; the next attempt answers them.
    waiting: Vec<Command>,
}

/// What came of one attempt.
enum Attempt {
    Connected(Box<(Connection, Arc<Live>)>),
    Failed(Setback),
    Stopped,
}

/// Why an attempt gives no connection.
enum Unready {
    Failed(Setback),
    Stopped,
}

impl<T: Into<Setback>> From<T> for Unready {
    fn from(setback: T) -> Self {
        Self::Failed(setback.into())
    }
}

/// A connection with its first list of tools.
type Ready = (Connection, Arc<Live>, ToolList);

impl Actor {
    pub(super) fn new(
        shared: &Shared,
        prepare: Prepare,
        inbox: mpsc::Receiver<Command>,
        board: Board,
        gate: watch::Sender<Gate>,
        stderr: watch::Sender<Option<StderrTail>>,
    ) -> Self {
        Self {
            spec: shared.spec.clone(),
            options: Arc::clone(&shared.options),
            cancel: shared.cancel.clone(),
            health: Health::new(shared.options.probe.failures),
            pace: Pace::new(&shared.options),
            inbox,
            board,
            gate,
            prepare,
            stderr,
            era: None,
            waiting: Vec::new(),
        }
    }

    /// Runs until the session is stopped.
    pub(super) async fn run(mut self) {
        loop {
            let pause = match self.attempt().await {
                Attempt::Stopped => break,
                Attempt::Failed(setback) => self.failed(setback),
                Attempt::Connected(connected) => {
                    let (mut connection, live) = *connected;
                    // Not from the link's beginning: what counts is how long it was of use.
                    let up = Instant::now();
                    // Boxed, because most of a session's life is spent in here.
                    let lost = Box::pin(self.serve(&mut connection, &live)).await;
                    let pause = self.lost(&lost, up.elapsed());
                    // Calls see a closed gate before the link is taken down.
                    connection.close(self.options.stop_grace).await;
                    match pause {
                        Some(pause) => pause,
                        None => break,
                    }
                }
            };
            if !self.pause(pause).await {
                break;
            }
        }
        self.retire();
    }

    /// One attempt to connect, from the grant to the first list of tools.
    async fn attempt(&mut self) -> Attempt {
        match self.board.current().state {
            ConnectionState::Pending => self.board.enter(Reason::Connecting, |_| {}),
            // A state that says what is wrong says more than that it is being tried again.
            ConnectionState::Connecting
            | ConnectionState::Ready
            | ConnectionState::Idle
            | ConnectionState::Degraded
            | ConnectionState::Unreachable
            | ConnectionState::AuthRequired
            | ConnectionState::Misconfigured
            | ConnectionState::Disabled => self.board.update(|status| status.next_attempt = None),
        }
        match Box::pin(self.connect()).await {
            Ok((connection, live, list)) => {
                self.connected(&live, list);
                Attempt::Connected(Box::new((connection, live)))
            }
            Err(Unready::Failed(setback)) => Attempt::Failed(setback),
            Err(Unready::Stopped) => Attempt::Stopped,
        }
    }

    /// Whatever was opened on the way is closed when this returns without a connection.
    async fn connect(&mut self) -> Result<Ready, Unready> {
        // A root of its own: no request is the reason, and everything it asks of other services belongs together.
        let span = tracing::info_span!(
            parent: None,
            "session connect",
            connector = %self.spec.name,
            generation = self.spec.generation,
        );
        let stop = self.cancel.clone();
        let options = Arc::clone(&self.options);
        // Given back when the link is up or given up: lists have turns of their own, and farewells need none.
        let turn = async {
            let of_scope = options.scope_connecting.take(self.spec.name.scope()).await;
            // A closed semaphore means that the runtime stops, and then this attempt is stopped anyway.
            (of_scope, options.connecting.acquire().await.ok())
        };
        let (turn, prepared) = tokio::select! {
            biased;
            () = stop.cancelled() => return Err(Unready::Stopped),
            ready = async {
                let turn = turn.await;
                (turn, self.prepared().instrument(span.clone()).await)
            } => ready,
        };
        let limit = self
            .spec
            .timeouts
            .connect
            .unwrap_or(options.connect_timeout);
        let bounds = Bounds {
            deadline: Instant::now() + limit,
            grace: options.stop_grace,
        };
        // Not inside the span: rmcp would keep it open for as long as the connection lives.
        let connected = connect::connect(prepared?, self.era, bounds, &stop, turn).await;
        let (connection, live) = connected.map_err(|unconnected| match unconnected {
            Unconnected::Failed(Failed { failure, era }) => {
                self.era = era;
                failure.into()
            }
            Unconnected::Revoked => Reason::LeaseRevoked.into(),
            Unconnected::Stopped => Unready::Stopped,
        })?;
        self.era = Some(live.agreement.era);
        if connection.stderr.is_some() {
            self.stderr.send_replace(connection.stderr.clone());
        }
        self.listed(connection, Arc::new(live))
            .instrument(span)
            .await
    }

    /// Fetches the first list; a connection without one is closed.
    async fn listed(&self, mut connection: Connection, live: Arc<Live>) -> Result<Ready, Unready> {
        let (scope, options) = (self.spec.name.scope(), &self.options.sync);
        let listing = sync::list_tools(&live, scope, options, self.cancel.clone());
        let listed = tokio::select! {
            biased;
            () = self.cancel.cancelled() => Err(Unready::Stopped),
            () = connection.revoked.cancelled() => Err(Reason::LeaseRevoked.into()),
            listed = Box::pin(listing) => listed.map_err(Unready::from),
        };
        let error = match listed {
            Ok(list) => return Ok((connection, live, list)),
            Err(error) => error,
        };
        let end = connection.ended.borrow_and_update().clone();
        connection.close(self.options.stop_grace).await;
        match (error, end) {
            // A link that ended over the list explains more than the list.
            (Unready::Failed(_), Some(end)) => {
                let (code, stage) = end.failure();
                Err(Failure::new(code, stage).into())
            }
            (error, _) => Err(error),
        }
    }

    async fn prepared(&self) -> Result<Prepared, Reason> {
        let preparing = (self.prepare)(self.spec.clone());
        match tokio::time::timeout(self.options.prepare_timeout, preparing).await {
            Ok(Ok(prepared)) => Ok(prepared),
            Ok(Err(PrepareError(reason))) => Err(reason),
            // Whoever was asked does not answer; the registry is asked first.
            Err(_) => Err(Reason::RegistryUnavailable),
        }
    }

    /// Everything is up: says so, and lets calls pass.
    fn connected(&mut self, live: &Arc<Live>, list: ToolList) {
        self.health.reconnected();
        let now = self.board.now();
        let agreement = live.agreement.clone();
        self.offer(live, list);
        self.board.enter(Reason::Connected, |status| {
            status.consecutive_failures = 0;
            status.last_success = Some(now);
            status.next_attempt = None;
            status.era = Some(agreement.era);
            status.protocol_version = Some(agreement.version);
            status.server_info = agreement.server_info;
        });
        for command in self.waiting.drain(..) {
            command.answer(Ok(()));
        }
    }

    /// An attempt failed: says so, and how long to wait.
    fn failed(&mut self, setback: Setback) -> Duration {
        let crash = (setback.reason == Reason::ProcessExited)
            .then(|| self.pace.exited_early(StdInstant::now()))
            .flatten();
        let (setback, pause) = match crash {
            Some(hold) => (Reason::CrashLoop.into(), hold),
            None => (setback, self.pace.failed(setback)),
        };
        self.note_failed_connection();
        self.down(setback, pause);
        self.refuse_waiting(setback.reason);
        pause
    }

    /// A connection was lost: says so, and how long to wait; `None` to stop.
    fn lost(&mut self, lost: &Lost, lived: Duration) -> Option<Duration> {
        let (setback, pause) = match lost {
            Lost::Stopped => {
                self.retire();
                return None;
            }
            Lost::Given(setback) => {
                self.pace.connected_for(lived);
                (*setback, self.pace.failed(*setback))
            }
            Lost::Ended(end) => {
                let how = ending(end.as_ref());
                let end = end.as_ref().map(ToString::to_string);
                tracing::info!(connector = %self.spec.name, end, ?lived, "link ended");
                self.note_failed_connection();
                match self.pace.ended(StdInstant::now(), lived, how) {
                    AfterEnd::Reconnect(pause) => (Reason::ConnectionLost.into(), pause),
                    AfterEnd::CrashLoop(hold) => (Reason::CrashLoop.into(), hold),
                }
            }
        };
        self.board
            .update(|status| status.disconnects = status.disconnects.saturating_add(1));
        self.down(setback, pause);
        Some(pause)
    }

    /// A connection that was not made, or ended, belongs to the history of a server as much as a failed probe.
    fn note_failed_connection(&mut self) {
        self.health.note(HealthSample {
            at: self.board.now(),
            kind: ProbeKind::Connection,
            healthy: false,
            latency: Duration::ZERO,
        });
    }

    /// Puts up that there is no connection, and when the next attempt is.
    fn down(&self, setback: Setback, pause: Duration) {
        let history = self.health.history();
        let failures = self.pace.failures();
        let next_attempt = self.board.now() + pause;
        self.gate.send_replace(match setback.reason.state() {
            ConnectionState::Pending | ConnectionState::Connecting => Gate::Connecting,
            ConnectionState::AuthRequired => Gate::Closed {
                reason: CallReason::AuthRequired,
                retry_at: Some(Instant::now() + pause),
            },
            ConnectionState::Ready
            | ConnectionState::Idle
            | ConnectionState::Degraded
            | ConnectionState::Unreachable
            | ConnectionState::Misconfigured
            | ConnectionState::Disabled => Gate::Closed {
                reason: CallReason::ConnectorUnreachable,
                retry_at: Some(Instant::now() + pause),
            },
        });
        self.board.enter(setback.reason, |status| {
            status.stage = setback.stage;
            status.consecutive_failures = failures;
            status.next_attempt = Some(next_attempt);
            status.history = history;
        });
    }

    /// Answers everybody who asked while there was no connection.
    fn refuse_waiting(&mut self, reason: Reason) {
        for command in self.waiting.drain(..) {
            command.answer(Err(reason));
        }
        while let Ok(command) = self.inbox.try_recv() {
            command.answer(Err(reason));
        }
    }

    /// Waits for the next attempt; a request cuts it short. Whether to go on at all.
    async fn pause(&mut self, pause: Duration) -> bool {
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => false,
            command = self.inbox.recv() => match command {
                Some(command) => {
                    self.waiting.push(command);
                    true
                }
                None => false,
            },
            () = tokio::time::sleep(pause) => true,
        }
    }

    /// Nothing will happen here any more.
    fn retire(&self) {
        self.gate.send_replace(Gate::Closed {
            reason: CallReason::ConnectorDisabled,
            retry_at: None,
        });
        if self.board.current().reason != Reason::Stopped {
            self.board
                .enter(Reason::Stopped, |status| status.next_attempt = None);
        }
    }
}

/// Whether the end of a link is held against the server.
fn ending(end: Option<&LinkEnd>) -> Ending {
    match end {
        Some(LinkEnd::SessionLost | LinkEnd::Closed) | None => Ending::Forgotten,
        Some(
            LinkEnd::ProcessExited { .. }
            | LinkEnd::OutputClosed
            | LinkEnd::LineTooLong
            | LinkEnd::InputBlocked
            | LinkEnd::GuardLost,
        ) => Ending::Crash,
    }
}
