//! A session while it is connected: probes, syncs, announcements and requests, until the connection is lost.
//!
//! Nothing in this loop waits for the server: every question runs beside it, so that the end of the link or a stop is
//! seen at once. What happens after a loss is in `actor`.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    Answer,
    actor::{Actor, Command},
    allowance::Allowance,
    gate::{Gate, Open, ToolIndex},
    listen::listen,
    live::{Connection, Live, end_of_link},
    pace::{Setback, spread},
    slot::Slot,
};
use crate::{
    domain::{
        ConnectionState, Era, Failure, FailureCode, HealthSample, ProbeKind, Reason,
        health::Verdict,
    },
    probe::{self, Probed},
    sync::{self, ToolList},
    transport::LinkEnd,
};

/// Requests that may wait for one answer; more wait in the inbox.
const WAITING: usize = 64;
/// The longest pause between fetches that a server causes by announcing changes that are none.
const MAX_GAP: Duration = Duration::from_secs(60);

/// Why a connection is not there any more.
#[derive(Clone, Debug)]
pub(super) enum Lost {
    /// The link ended by itself.
    Ended(Option<LinkEnd>),
    /// The server does not answer, or refuses us.
    Given(Setback),
    /// The session is to stop.
    Stopped,
}

/// Whether a list differs from the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Offered {
    /// It does.
    Changed,
    /// It does not.
    Same,
}

/// What runs and what is planned while connected.
struct Agenda {
    probing: Slot<Option<Probed>>,
    syncing: Slot<Result<ToolList, Failure>>,
    listening: Slot<()>,
    probe_at: Instant,
    sync_at: Instant,
    last_sync: Instant,
    /// The pause the server has to keep between fetches it causes.
    gap: Duration,
    allowance: Allowance,
    /// A fetch that the server caused is planned.
    announced: bool,
    rung: Option<ProbeKind>,
    checks: Vec<Answer>,
    syncs: Vec<Answer>,
    /// Asked for while a fetch was running, which may have missed what they ask for.
    next_syncs: Vec<Answer>,
}

impl Agenda {
    /// Answers everybody who still waits.
    fn refuse(self, reason: Reason) {
        for waiting in [self.checks, self.syncs, self.next_syncs]
            .into_iter()
            .flatten()
        {
            // Whoever asked may have gone.
            let _gone = waiting.send(Err(reason));
        }
    }
}

impl Actor {
    /// Serves a connection until it is lost.
    pub(super) async fn serve(&mut self, connection: &mut Connection, live: &Arc<Live>) -> Lost {
        let mut agenda = self.agenda(connection, live);
        let lost = self.follow(&mut agenda, connection, live).await;
        let reason = match &lost {
            Lost::Ended(_) => Reason::ConnectionLost,
            Lost::Given(setback) => setback.reason,
            // Whoever asked hears that from the end of his question.
            Lost::Stopped => return lost,
        };
        agenda.refuse(reason);
        lost
    }

    async fn follow(
        &mut self,
        agenda: &mut Agenda,
        connection: &mut Connection,
        live: &Arc<Live>,
    ) -> Lost {
        loop {
            let open_inbox =
                agenda.checks.len() + agenda.syncs.len() + agenda.next_syncs.len() < WAITING;
            tokio::select! {
                biased;
                () = self.cancel.cancelled() => return Lost::Stopped,
                () = connection.revoked.cancelled() => return Lost::Given(Reason::LeaseRevoked.into()),
                end = end_of_link(&mut connection.ended) => return Lost::Ended(end),
                probed = agenda.probing.done() => {
                    if let Some(lost) = self.probed(agenda, probed) {
                        return lost;
                    }
                }
                synced = agenda.syncing.done() => self.synced(agenda, live, synced),
                () = agenda.listening.done() => {}
                _ = connection.notices.next() => self.plan_sync(agenda),
                command = self.inbox.recv(), if open_inbox => match command {
                    Some(command) => self.command(agenda, live, command),
                    None => return Lost::Stopped,
                },
                // A server in doubt is asked again soon anyway; calls must not use its chances up.
                () = live.suspect.notified(), if agenda.probing.is_idle() && self.health.failures() == 0 => self.start_probe(agenda, live),
                () = tokio::time::sleep_until(agenda.probe_at), if agenda.probing.is_idle() => {
                    // rmcp may notice before the link does that nothing will ever be heard again.
                    if connection.service.peer().is_transport_closed() {
                        return Lost::Ended(None);
                    }
                    self.probe_is_due(agenda, live);
                }
                () = tokio::time::sleep_until(agenda.sync_at), if agenda.syncing.is_idle() => {
                    self.start_sync(agenda, live);
                }
            }
        }
    }

    fn agenda(&self, connection: &Connection, live: &Arc<Live>) -> Agenda {
        let now = Instant::now();
        let mut agenda = Agenda {
            probing: Slot::idle(),
            syncing: Slot::idle(),
            listening: Slot::idle(),
            probe_at: now + spread(self.options.probe.interval),
            sync_at: now + spread(self.options.sync.interval),
            last_sync: now,
            gap: self.options.sync.min_gap,
            allowance: Allowance::new(now),
            announced: false,
            rung: None,
            checks: Vec::new(),
            syncs: Vec::new(),
            next_syncs: Vec::new(),
        };
        if live.agreement.era == Era::Modern && live.agreement.announces_tools {
            let peer = connection.service.peer().clone();
            let notifier = connection.service.service().clone();
            let (pause, max) = (self.options.quick_retry, self.options.backoff_max);
            agenda.listening.start(listen(peer, notifier, pause, max));
        }
        agenda
    }

    fn command(&self, agenda: &mut Agenda, live: &Arc<Live>, command: Command) {
        match command {
            Command::CheckHealth(answer) => {
                agenda.checks.push(answer);
                if agenda.probing.is_idle() {
                    self.start_probe(agenda, live);
                }
            }
            Command::Sync(answer) if agenda.syncing.is_idle() => {
                agenda.syncs.push(answer);
                self.start_sync(agenda, live);
            }
            Command::Sync(answer) => agenda.next_syncs.push(answer),
        }
    }

    /// The server announced a change: fetch soon, together with whatever it announces until then.
    fn plan_sync(&self, agenda: &mut Agenda) {
        let options = &self.options.sync;
        let soon = (Instant::now() + options.debounce)
            .max(agenda.last_sync + agenda.gap)
            .max(agenda.allowance.next());
        if soon < agenda.sync_at {
            agenda.sync_at = soon;
            agenda.announced = true;
        }
    }

    fn start_sync(&self, agenda: &mut Agenda, live: &Arc<Live>) {
        let now = Instant::now();
        if std::mem::take(&mut agenda.announced) {
            agenda.allowance.spend(now);
        }
        agenda.last_sync = now;
        agenda.sync_at = now + spread(self.options.sync.interval);
        let (live, options, cancel) = (live.clone(), self.options.clone(), self.cancel.clone());
        let scope = self.spec.name.scope().clone();
        agenda
            .syncing
            .start(async move { sync::list_tools(&live, &scope, &options.sync, cancel).await });
    }

    fn synced(&mut self, agenda: &mut Agenda, live: &Arc<Live>, result: Result<ToolList, Failure>) {
        let answer = result
            .as_ref()
            .map(|_| ())
            .map_err(|failure| Reason::from(failure.code));
        match result {
            Ok(list) => {
                // Who announces changes that are none is listened to less and less.
                agenda.gap = match self.offer(live, list) {
                    Offered::Changed => self.options.sync.min_gap,
                    Offered::Same => (agenda.gap * 2).min(MAX_GAP),
                };
            }
            Err(failure) => {
                // The last good list stays; whether the server is well is for the probes to say.
                self.board
                    .update(|status| status.sync_failure = Some(failure.code.into()));
                live.suspect.notify_one();
            }
        }
        for waiting in agenda.syncs.drain(..) {
            // Whoever asked may have gone.
            let _gone = waiting.send(answer);
        }
        if !agenda.next_syncs.is_empty() {
            agenda.syncs = std::mem::take(&mut agenda.next_syncs);
            self.start_sync(agenda, live);
        }
    }

    /// Puts a list up, for readers of the status and for calls.
    pub(super) fn offer(&mut self, live: &Arc<Live>, list: ToolList) -> Offered {
        let now = self.board.now();
        let before = self.board.current();
        let (tools, left_out, truncated) = list.shared();
        let (tools, offered) = if before.tools == tools {
            (before.tools.clone(), Offered::Same)
        } else {
            (tools, Offered::Changed)
        };
        self.gate.send_replace(Gate::Open(Arc::new(Open {
            live: live.clone(),
            tools: ToolIndex::new(tools.clone()),
        })));
        self.board.update(|status| {
            status.tools = tools;
            status.left_out = left_out;
            status.truncated = truncated;
            status.synced = Some(now);
            status.sync_failure = None;
            status.last_success = Some(now);
        });
        offered
    }

    /// Traffic counts as proof of life; otherwise the server is asked.
    fn probe_is_due(&mut self, agenda: &mut Agenda, live: &Arc<Live>) {
        let silent = live.silent_for();
        // Half an interval, so that the last probe does not count as its own successor.
        if self.health.failures() == 0 && silent < self.options.probe.interval / 2 {
            let probed = Probed {
                kind: ProbeKind::Traffic,
                outcome: Ok(()),
                latency: Duration::ZERO,
            };
            self.record(&probed);
            agenda.probe_at = Instant::now() + spread(self.options.probe.interval);
        } else {
            self.start_probe(agenda, live);
        }
    }

    fn start_probe(&self, agenda: &mut Agenda, live: &Arc<Live>) {
        let (live, options, cancel) = (live.clone(), self.options.clone(), self.cancel.clone());
        let rung = agenda.rung;
        agenda
            .probing
            .start(async move { probe::probe(&live, rung, &options.probe, cancel).await });
    }

    fn probed(&mut self, agenda: &mut Agenda, probed: Option<Probed>) -> Option<Lost> {
        let Some(probed) = probed else {
            // There was no turn, which is not the server's fault; whoever asked goes on waiting.
            agenda.probe_at = Instant::now() + spread(self.options.quick_retry);
            return None;
        };
        if probed.outcome.is_ok() {
            agenda.rung = Some(probed.kind);
        }
        let verdict = self.record(&probed);
        let options = &self.options.probe;
        // A server in doubt is asked again soon.
        let pause = match verdict {
            Verdict::Healthy => options.interval,
            Verdict::Degraded | Verdict::Unreachable => {
                options.interval.min(self.options.quick_retry)
            }
        };
        agenda.probe_at = Instant::now() + spread(pause);
        let answer = probed.outcome.map_err(|failure| Reason::from(failure.code));
        for waiting in agenda.checks.drain(..) {
            let _gone = waiting.send(answer);
        }
        let failure = probed.outcome.err()?;
        match failure.code {
            // No outage: nothing gets better by asking again.
            FailureCode::AuthRequired | FailureCode::AuthFailed => {
                Some(Lost::Given(failure.into()))
            }
            FailureCode::InvalidUrl
            | FailureCode::PolicyDenied
            | FailureCode::DnsFailed
            | FailureCode::ConnectionFailed
            | FailureCode::TlsFailed
            | FailureCode::Timeout
            | FailureCode::InvalidMcpServer
            | FailureCode::UnsupportedVersion
            | FailureCode::CommandNotFound
            | FailureCode::ProcessExited
            | FailureCode::ListFailed => match verdict {
                Verdict::Unreachable => Some(Lost::Given(Setback {
                    reason: Reason::ProbesFailed,
                    ..failure.into()
                })),
                Verdict::Healthy | Verdict::Degraded => None,
            },
        }
    }

    /// Takes a probe into the history and the status.
    fn record(&mut self, probed: &Probed) -> Verdict {
        let now = self.board.now();
        let healthy = probed.outcome.is_ok();
        let verdict = self.health.record(HealthSample {
            at: now,
            kind: probed.kind,
            healthy,
            latency: probed.latency,
        });
        let (failures, history) = (self.health.failures(), self.health.history());
        let asked = probed.kind != ProbeKind::Traffic;
        let change = |status: &mut crate::domain::SessionStatus| {
            status.history = history;
            status.consecutive_failures = failures;
            if healthy {
                status.last_success = Some(now);
            }
            if healthy && asked {
                status.latency = Some(probed.latency);
            }
        };
        let state = self.board.current().state;
        match verdict {
            Verdict::Healthy if state != ConnectionState::Ready => {
                self.board.enter(Reason::Connected, change);
            }
            Verdict::Degraded if state != ConnectionState::Degraded => {
                self.board.enter(Reason::ProbeFailed, change);
            }
            Verdict::Healthy | Verdict::Degraded | Verdict::Unreachable => {
                self.board.update(change)
            }
        }
        verdict
    }
}
