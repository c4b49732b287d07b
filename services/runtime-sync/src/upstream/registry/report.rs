//! Reports what was observed to the registry, and with it that this instance is alive; holds the lease on the sessions.
//!
//! Invariants: one report is under way at a time; nothing observed is lost when a report fails; without an epoch
//! nothing but the claim is sent. Which sessions there are is the supervisor's.

use std::{sync::Arc, time::Duration};

use contracts::registry::v1 as pb;
use futures_util::{
    StreamExt as _,
    future::{BoxFuture, OptionFuture},
    stream::{BoxStream, SelectAll},
};
use lifecycle::{Backoff, CancellationToken, Jitter};
use names::ConnectorUid;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep_until},
};
use tokio_stream::wrappers::WatchStream;

use super::{
    RegistryClient, RegistryStreams, ReportOptions,
    exchange::{Done, Exchange},
    lease::LeaseBoard,
    ledger::Ledger,
    resolve::pb_reason,
};
use crate::{
    domain::{ConnectionState, SessionStatus},
    upstream::PeerError,
};

/// Something to observe.
#[derive(Debug)]
pub enum Observe {
    /// A session: report its status, and every change to it, until it ends.
    Session {
        /// The connector.
        uid: ConnectorUid,
        /// Its session's status.
        status: watch::Receiver<Arc<SessionStatus>>,
    },
    /// A connector that has no session, and why.
    Fixed {
        /// The connector.
        uid: ConnectorUid,
        /// What is to be said of it.
        status: Arc<SessionStatus>,
    },
    /// A connector that is gone.
    Gone {
        /// The connector.
        uid: ConnectorUid,
    },
}

/// The task that reports.
pub(super) struct Reporter {
    pub(super) client: RegistryClient,
    pub(super) streams: RegistryStreams,
    pub(super) lease: LeaseBoard,
    pub(super) inbox: mpsc::Receiver<Observe>,
    pub(super) options: ReportOptions,
    pub(super) ledger: Ledger,
    pub(super) statuses: SelectAll<BoxStream<'static, (ConnectorUid, Arc<SessionStatus>)>>,
}

impl Reporter {
    /// Reports until cancelled.
    pub(super) async fn run(mut self, cancel: CancellationToken) {
        let mut pause =
            Backoff::new(self.options.retry, self.options.presence).jitter(Jitter::Equal);
        let mut exchange: OptionFuture<BoxFuture<'static, Done>> = None.into();
        let mut under_way = false;
        // When the next exchange is due at the latest, and at the earliest.
        let (mut due, mut not_before) = (Instant::now(), Instant::now());
        loop {
            let next = if self.ledger.has_news() && self.lease.current().is_some() {
                not_before
            } else {
                due.max(not_before)
            };
            tokio::select! {
                biased;
                () = cancel.cancelled() => return,
                Some(done) = &mut exchange, if under_way => {
                    under_way = false;
                    due = Instant::now() + self.options.presence;
                    not_before = Instant::now() + self.settle(done, &mut pause);
                }
                Some(observe) = self.inbox.recv() => self.observe(observe),
                Some((uid, status)) = self.statuses.next(), if !self.statuses.is_empty() => {
                    self.take(uid, status);
                }
                () = self.lease.suspected(), if !under_way => due = Instant::now(),
                () = sleep_until(next), if !under_way => {
                    exchange = Some(self.exchange()).into();
                    under_way = true;
                }
            }
        }
    }

    fn observe(&mut self, observe: Observe) {
        match observe {
            Observe::Session { uid, status } => {
                let statuses = WatchStream::new(status).map(move |status| (uid, status));
                self.statuses.push(statuses.boxed());
            }
            Observe::Fixed { uid, status } => self.ledger.observe(uid, status),
            Observe::Gone { uid } => self.ledger.forget(uid),
        }
    }

    /// Takes a session's status in. That a session was stopped is no news: whoever stopped it says why.
    fn take(&mut self, uid: ConnectorUid, status: Arc<SessionStatus>) {
        if status.state != ConnectionState::Disabled {
            self.ledger.observe(uid, status);
        }
    }

    /// The next exchange: a claim without an epoch, else a report, which may be empty.
    fn exchange(&mut self) -> BoxFuture<'static, Done> {
        let exchange = Exchange {
            client: self.client.clone(),
            streams: self.streams.clone(),
            limit: self.options.timeout,
        };
        match self.lease.instance() {
            Some(instance) => Box::pin(exchange.send(instance, self.ledger.batch())),
            None => Box::pin(exchange.claim(self.lease.claim(0))),
        }
    }

    /// Takes the outcome of an exchange in; gives the pause before the next one.
    fn settle(&mut self, done: Done, pause: &mut Backoff) -> Duration {
        let Done {
            claimed,
            taken,
            shown,
            rest,
            waited,
            error,
        } = done;
        if let Some(epoch) = claimed {
            tracing::info!(epoch, "this instance holds the sessions");
            self.lease.set(Some(epoch));
            self.ledger.report_all();
        }
        self.ledger.taken(taken);
        self.ledger.shown(&shown);
        self.ledger.returned(rest, waited);
        self.ledger.returned(shown, waited);
        match error {
            Some(error) => {
                self.fail(&error);
                pause.next_delay()
            }
            None => {
                pause.reset();
                self.options.collect
            }
        }
    }

    fn fail(&mut self, error: &PeerError) {
        let lost = error.reason() == pb_reason(pb::ErrorReason::LeaseLost);
        let held = error.reason() == pb_reason(pb::ErrorReason::LeaseHeld);
        if lost || held {
            tracing::warn!(%error, "another instance holds the sessions");
            self.lease.set(None);
        } else {
            tracing::warn!(%error, "a report to the registry failed; it will be sent again");
        }
    }
}
