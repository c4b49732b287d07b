//! The registry as the runtime sees it: the feed of what is wanted, effective specs just before connecting, and the
//! reports that go back.
//!
//! Invariant: whatever breaks is tried again until this runtime stops; nothing here starts or stops a session.

mod convert;
mod definitions;
mod exchange;
mod feed;
mod lease;
mod ledger;
mod report;
mod resolve;
mod status;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use contracts::registry::v1::connector_service_client::ConnectorServiceClient;
use futures_util::stream::SelectAll;
use lifecycle::{Clock, Tasks};
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};

use self::{feed::Feed, ledger::Ledger, report::Reporter};
pub use self::{
    lease::{Instance, LeaseBoard},
    report::Observe,
    resolve::{Effective, Resolved, Resolver},
};
use crate::desired::Desired;

/// A client for single requests.
type RegistryClient = ConnectorServiceClient<rpc::client::Channel>;
/// The same on the channel for streams, so that a full stream never holds up a request.
type RegistryStreams = RegistryClient;

/// Observations that may wait for the reporter.
const OBSERVATIONS: usize = 1024;

/// How the feed is followed.
#[derive(Clone, Copy, Debug)]
pub struct FeedOptions {
    /// How long the feed may be silent before it counts as broken.
    pub idle: Duration,
    /// How often everything is read anew, so that a lost event never loses a change.
    pub refresh: Duration,
    /// The first pause before the feed is followed again.
    pub backoff: Duration,
    /// The longest such pause.
    pub backoff_max: Duration,
}

/// How reports are made.
#[derive(Clone, Copy, Debug)]
pub struct ReportOptions {
    /// The pause between reports without news.
    pub presence: Duration,
    /// How long news is collected after a report.
    pub collect: Duration,
    /// The first pause after a report that failed, or a lease that another instance holds.
    pub retry: Duration,
    /// How long one report may take.
    pub timeout: Duration,
}

/// How the registry is spoken to.
#[derive(Clone, Copy, Debug)]
pub struct RegistryOptions {
    /// The feed.
    pub feed: FeedOptions,
    /// The reports.
    pub report: ReportOptions,
}

/// The registry, followed and reported to by tasks of their own.
#[derive(Debug)]
pub struct Registry {
    /// What is wanted.
    pub desired: watch::Receiver<Arc<Desired>>,
    /// When the registry was last heard.
    pub freshness: Freshness,
    /// This instance's claim to the sessions.
    pub lease: LeaseBoard,
    /// Resolves connectors just before they are connected.
    pub resolver: Resolver,
    /// Where observations go.
    pub reports: mpsc::Sender<Observe>,
}

impl Registry {
    /// Starts to follow the registry, and to report to it. It need not be there yet.
    #[must_use]
    pub fn start(
        channels: &rpc::client::Channels,
        instance: Instance,
        options: RegistryOptions,
        clock: &Clock,
        tasks: &Tasks,
    ) -> Self {
        let client = client(&channels.unary);
        let streams = client_of_streams(&channels.streams);
        let lease = LeaseBoard::new(instance);
        let freshness = Freshness::new(clock.clone());
        let (sender, desired) = watch::channel(Arc::default());
        let (reports, inbox) = mpsc::channel(OBSERVATIONS);
        let feed = Feed {
            client: streams.clone(),
            desired: sender,
            freshness: freshness.clone(),
            options: options.feed,
            token: None,
            refresh_at: Instant::now(),
        };
        tasks.spawn("feed", feed.run(tasks.token()));
        let reporter = Reporter {
            client: client.clone(),
            streams,
            lease: lease.clone(),
            inbox,
            options: options.report,
            ledger: Ledger::default(),
            statuses: SelectAll::new(),
        };
        tasks.spawn("reporter", reporter.run(tasks.token()));
        let resolver = Resolver::start(client, lease.clone(), tasks);
        Self {
            desired,
            freshness,
            lease,
            resolver,
            reports,
        }
    }
}

fn client(channel: &rpc::client::Channel) -> RegistryClient {
    rpc::within_limits!(ConnectorServiceClient::new(channel.clone()))
}

fn client_of_streams(channel: &rpc::client::Channel) -> RegistryStreams {
    client(channel)
}

/// When the registry was last heard. Cheap to clone; clones share it.
#[derive(Clone, Debug)]
pub struct Freshness {
    clock: Clock,
    origin: Instant,
    /// Milliseconds from `origin`, plus one; 0 means never.
    heard: Arc<AtomicU64>,
}

impl Freshness {
    pub(crate) fn new(clock: Clock) -> Self {
        Self {
            origin: clock.instant(),
            clock,
            heard: Arc::default(),
        }
    }

    /// The registry said something.
    fn touch(&self) {
        let passed = self.clock.instant().saturating_duration_since(self.origin);
        let millis = u64::try_from(passed.as_millis()).unwrap_or(u64::MAX - 1);
        self.heard.store(millis + 1, Ordering::Relaxed);
    }

    /// How long the registry has been silent; `None` when it was never heard.
    #[must_use]
    pub fn silence(&self) -> Option<Duration> {
        let heard = self.heard.load(Ordering::Relaxed).checked_sub(1)?;
        let now = self.clock.instant().saturating_duration_since(self.origin);
        Some(now.saturating_sub(Duration::from_millis(heard)))
    }
}
