//! Decides which sessions there are: exactly one for each connector that is to have one, and none without the lease.
//!
//! Level-triggered: every round compares what is wanted with what runs, on every change and on a timer, and ignores
//! *what* changed. Invariants: nobody else starts or stops a session; a session is replaced only after its predecessor
//! has ended; a session that broke is started again, ever more slowly. What a session does is its own affair.

mod directory;
mod merge;
mod prepare;
mod slot;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use lifecycle::{CancellationToken, Clock, Tasks};
use names::ConnectorUid;
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};

pub(crate) use self::directory::MAX_WAITS;
use self::slot::Slots;
pub use self::{
    directory::{Directory, Found, LookupError, Patience, Sessions},
    prepare::{ConnectOptions, prepare},
};
use crate::{
    desired::{Desired, DesiredConnector, Plan},
    domain::{Reason, SessionSpec, SessionStatus},
    session::{Prepare, Session, SessionOptions},
    upstream::registry::Observe,
};

/// Ends of sessions that may wait to be heard of.
const ENDS: usize = 256;

/// What the supervisor works with.
#[derive(Clone)]
pub struct Supervision {
    /// What is wanted.
    pub desired: watch::Receiver<Arc<Desired>>,
    /// The lease on the sessions.
    pub epoch: watch::Receiver<Option<i64>>,
    /// Where observations go.
    pub reports: mpsc::Sender<Observe>,
    /// Prepares connections.
    pub prepare: Prepare,
    /// How sessions behave.
    pub options: Arc<SessionOptions>,
    /// How often everything is compared without any news.
    pub interval: Duration,
    /// How long a session may take to end.
    pub stop_grace: Duration,
}

/// The supervisor's state: owned by its one task.
pub struct Supervisor {
    with: Supervision,
    clock: Clock,
    slots: Slots,
    /// The generation for which a connector without a session was reported.
    reported: HashMap<ConnectorUid, i64>,
    epoch: Option<i64>,
    directory: watch::Sender<Arc<Directory>>,
    ends: (mpsc::Sender<End>, mpsc::Receiver<End>),
}

/// The end of a session.
#[derive(Clone, Copy, Debug)]
enum End {
    /// It was stopped, as it was told to.
    Stopped(ConnectorUid),
    /// It ended by itself, which it must not.
    Broke(ConnectorUid, u64),
}

impl Supervisor {
    /// Starts to supervise, as a task of `tasks`; gives what there is to see of it.
    pub fn start(with: Supervision, tasks: &Tasks) -> watch::Receiver<Arc<Directory>> {
        let (directory, seen) = watch::channel(Arc::default());
        let supervisor = Self {
            clock: with.options.clock.clone(),
            with,
            slots: Slots::default(),
            reported: HashMap::new(),
            epoch: None,
            directory,
            ends: mpsc::channel(ENDS),
        };
        let sessions = tasks.child("sessions");
        tasks.spawn("supervisor", supervisor.run(sessions, tasks.token()));
        seen
    }

    async fn run(mut self, sessions: Tasks, cancel: CancellationToken) {
        loop {
            self.round(&sessions).await;
            let wake = Instant::now() + self.with.interval;
            let wake = self.slots.earliest().map_or(wake, |rest| rest.min(wake));
            tokio::select! {
                biased;
                () = cancel.cancelled() => break,
                Some(end) = self.ends.1.recv() => {
                    self.ended(end, &sessions);
                    while let Ok(end) = self.ends.1.try_recv() {
                        self.ended(end, &sessions);
                    }
                }
                changed = self.with.desired.changed() => if changed.is_err() { break },
                changed = self.with.epoch.changed() => if changed.is_err() { break },
                () = tokio::time::sleep_until(wake) => {}
            }
        }
        // Nothing is to be found any more; the sessions end with their set.
        self.directory.send_replace(Arc::default());
        sessions.stop(self.with.stop_grace).await;
    }

    /// Compares what is wanted with what runs, and moves the one towards the other.
    async fn round(&mut self, sessions: &Tasks) {
        let desired = Arc::clone(&self.with.desired.borrow_and_update());
        let epoch = *self.with.epoch.borrow_and_update();
        let wanted: HashMap<ConnectorUid, &Arc<DesiredConnector>> = desired
            .iter()
            .map(|connector| (connector.uid, connector))
            .collect();
        let lease_changed = std::mem::replace(&mut self.epoch, epoch) != epoch;
        let unwanted = self.slots.running().filter(|(uid, generation)| {
            let spec = wanted.get(uid).and_then(|connector| session_of(connector));
            lease_changed || spec.is_none_or(|spec| spec.generation != *generation)
        });
        let unwanted: Vec<ConnectorUid> = unwanted.map(|(uid, _)| uid).collect();
        for uid in unwanted {
            self.stop(uid, sessions);
        }
        // Before anything that waits: a call must not find what is no longer wanted.
        self.publish(&desired);
        let gone: HashSet<ConnectorUid> = self.slots.forget_unless(|uid| wanted.contains_key(&uid));
        let gone = gone.into_iter().chain(
            self.reported
                .extract_if(|uid, _| !wanted.contains_key(uid))
                .map(|(uid, _)| uid),
        );
        for uid in gone.collect::<HashSet<_>>() {
            self.report(Observe::Gone { uid }).await;
        }
        for connector in wanted.into_values() {
            self.settle(connector, sessions).await;
        }
        self.publish(&desired);
    }

    /// Starts what one connector lacks, or reports why it lacks it.
    async fn settle(&mut self, connector: &DesiredConnector, sessions: &Tasks) {
        let (uid, generation) = (connector.uid, connector.generation);
        let reason = match &connector.plan {
            Plan::Session(spec) => {
                let due = self.slots.is_free(uid, generation, Instant::now());
                if due && self.epoch.is_some() {
                    self.begin(spec, sessions).await;
                }
                return;
            }
            Plan::Disabled => Reason::ConnectorDisabled,
            Plan::TooNew => Reason::SpecTooNew,
        };
        if self.slots.is_empty(uid) && self.reported.insert(uid, generation) != Some(generation) {
            let status = Arc::new(without_session(generation, reason, &self.clock));
            self.report(Observe::Fixed { uid, status }).await;
        }
    }

    async fn begin(&mut self, spec: &SessionSpec, sessions: &Tasks) {
        let uid = spec.uid;
        let tasks = sessions.child(spec.name.to_string());
        let handle = Session::start(
            spec.clone(),
            Arc::clone(&self.with.prepare),
            Arc::clone(&self.with.options),
            &tasks,
        );
        let status = handle.status();
        let life = self.slots.occupy(uid, handle, tasks);
        let (mut ended, ends) = (status.clone(), self.ends.0.clone());
        let cancel = sessions.token();
        sessions.spawn_job("session end", async move {
            // The sender lives in the session's actor, and ends with it.
            let over = async { while ended.changed().await.is_ok() {} };
            if cancel.run_until_cancelled(over).await.is_some() {
                tell(&ends, End::Broke(uid, life), &cancel).await;
            }
        });
        self.reported.remove(&uid);
        tracing::info!(connector = %spec.name, %uid, generation = spec.generation, "session started");
        self.report(Observe::Session { uid, status }).await;
    }

    /// Ends a session, in a task of its own.
    fn stop(&mut self, uid: ConnectorUid, sessions: &Tasks) {
        let Some((handle, tasks)) = self.slots.vacate(uid) else {
            return;
        };
        let (ends, grace) = (self.ends.0.clone(), self.with.stop_grace);
        let cancel = sessions.token();
        sessions.spawn_job("stop session", async move {
            // Told even if stopping panics: a slot that is never freed is a connector without a session for ever.
            let told = Told {
                ends,
                end: Some(End::Stopped(uid)),
            };
            let started = Instant::now();
            let stopped = tasks.stop(grace).await;
            let (connector, clean) = (&handle.spec().name, stopped.is_clean());
            tracing::info!(%connector, clean, elapsed = ?started.elapsed(), "session stopped");
            told.tell(&cancel).await;
        });
    }

    /// Takes the end of a session in.
    fn ended(&mut self, end: End, sessions: &Tasks) {
        match end {
            End::Stopped(uid) => self.slots.free(uid),
            End::Broke(uid, life) if self.slots.is_life(uid, life) => {
                tracing::error!(%uid, "a session ended by itself; it will be started again");
                self.slots.count_break(uid);
                self.stop(uid, sessions);
            }
            // It was being stopped, or is long replaced.
            End::Broke(_, _) => {}
        }
    }

    fn publish(&self, desired: &Desired) {
        let sessions = self.slots.handles();
        self.directory.send_replace(Arc::new(Directory {
            revision: desired.revision(),
            epoch: self.epoch,
            sessions,
        }));
    }

    async fn report(&self, observe: Observe) {
        // Without a reporter the runtime is shutting down.
        drop(self.with.reports.send(observe).await);
    }
}

/// Tells the supervisor of an end. When all sessions are being ended nobody listens any more.
async fn tell(ends: &mpsc::Sender<End>, end: End, cancel: &CancellationToken) {
    if !matches!(
        cancel.run_until_cancelled(ends.send(end)).await,
        Some(Ok(()))
    ) {
        tracing::debug!(?end, "nobody supervises any more");
    }
}

/// An end that is told in any case.
struct Told {
    ends: mpsc::Sender<End>,
    /// `None` once it was told.
    end: Option<End>,
}

impl Told {
    async fn tell(mut self, cancel: &CancellationToken) {
        if let Some(end) = self.end.take() {
            tell(&self.ends, end, cancel).await;
        }
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        if let Some(end) = self.end.take()
            && self.ends.try_send(end).is_err()
        {
            tracing::debug!(?end, "nobody supervises any more");
        }
    }
}

/// The spec of the session a connector is to have.
fn session_of(connector: &DesiredConnector) -> Option<&SessionSpec> {
    match &connector.plan {
        Plan::Session(spec) => Some(spec),
        Plan::Disabled | Plan::TooNew => None,
    }
}

/// What there is to say of a connector that has no session.
fn without_session(generation: i64, reason: Reason, clock: &Clock) -> SessionStatus {
    let mut status = SessionStatus::initial(generation, clock.now());
    status.state = reason.state();
    status.reason = reason;
    status
}

/// The status of a connector whose session is yet to be started, or is not to be.
pub(crate) fn status_without_session(connector: &DesiredConnector, clock: &Clock) -> SessionStatus {
    let reason = match &connector.plan {
        Plan::Session(_) => Reason::NotStarted,
        Plan::Disabled => Reason::ConnectorDisabled,
        Plan::TooNew => Reason::SpecTooNew,
    };
    without_session(connector.generation, reason, clock)
}

#[cfg(test)]
mod tests;
