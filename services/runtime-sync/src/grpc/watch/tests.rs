//! Promises about watchers that do not read.

use std::sync::Arc;

use futures_util::StreamExt as _;
use lifecycle::Clock;
use names::ConnectorUid;
use rpc::error::ErrorView;
use tokio::sync::{Semaphore, watch};
use uuid::Uuid;

use super::*;
use crate::{
    desired::{Desired, Plan},
    domain::{Reason, SessionSpec, Timeouts, TransportSpec},
    session::{Prepare, PrepareError, Session, SessionOptions},
    supervisor::Directory,
    upstream::registry::{Freshness, Instance, LeaseBoard},
};

struct Fixture {
    sessions: Sessions,
    desired: watch::Sender<Arc<Desired>>,
    directory: watch::Sender<Arc<Directory>>,
    draining: CancellationToken,
    tasks: Tasks,
}

fn fixture(connectors: u128) -> Fixture {
    let mut desired = Desired::default();
    for number in 0..connectors {
        desired.upsert(DesiredConnector {
            uid: ConnectorUid::new(Uuid::from_u128(number)),
            name: format!("users/ada/connectors/c{number}").parse().unwrap(),
            generation: 1,
            plan: Plan::Disabled,
        });
    }
    let (desired, wanted) = watch::channel(Arc::new(desired));
    let (directory, seen) = watch::channel(Arc::default());
    let clock = Clock::system();
    let instance = Instance {
        id: Uuid::from_u128(7),
        name: "test".into(),
    };
    Fixture {
        sessions: Sessions {
            desired: wanted,
            directory: seen,
            freshness: Freshness::new(clock.clone()),
            stale_after: Duration::from_secs(300),
            lease: LeaseBoard::new(instance),
            clock,
            waits: Arc::new(Semaphore::new(1)),
        },
        desired,
        directory,
        draining: CancellationToken::new(),
        tasks: Tasks::new("test"),
    }
}

impl Fixture {
    fn watch(&self, patience: Duration) -> Watch {
        let options = WatchOptions { queue: 2, patience };
        let ada = "users/ada".parse().unwrap();
        let (sessions, draining) = (self.sessions.clone(), self.draining.clone());
        start(sessions, ada, options, draining, &self.tasks)
    }
}

fn reason(end: &Status) -> String {
    ErrorView::reason_of(end).unwrap()
}

#[tokio::test]
async fn a_watcher_that_reads_nothing_is_cut_and_told_why() {
    let fixture = fixture(10);
    let watch = fixture.watch(Duration::from_millis(20));
    // Nothing is read until the watch has given up.
    while !fixture.tasks.is_empty() {
        tokio::task::yield_now().await;
    }
    let messages: Vec<_> = watch.collect().await;
    assert_eq!(messages.len(), 3, "two that fitted the queue, and the end");
    assert_eq!(
        reason(messages[2].as_ref().unwrap_err()),
        "WATCHER_TOO_SLOW"
    );
}

#[tokio::test]
async fn a_watch_ends_when_the_server_drains() {
    let fixture = fixture(1);
    let mut watch = fixture.watch(Duration::from_secs(10));
    assert!(watch.next().await.unwrap().is_ok());
    fixture.draining.cancel();
    assert_eq!(
        reason(&watch.next().await.unwrap().unwrap_err()),
        "SHUTTING_DOWN"
    );
    assert!(watch.next().await.is_none());
}

#[tokio::test]
async fn a_watcher_that_goes_away_leaves_no_task_behind() {
    let fixture = fixture(1);
    drop(fixture.watch(Duration::from_secs(10)));
    while !fixture.tasks.is_empty() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_watch_whose_task_ended_without_a_word_asks_to_connect_again() {
    let mut fixture = fixture(1);
    let mut watch = fixture.watch(Duration::from_secs(10));
    assert!(watch.next().await.unwrap().is_ok());
    // Nothing is wanted any more, because nobody is there to want it.
    fixture.desired = watch::channel(Arc::default()).0;
    assert_eq!(
        reason(&watch.next().await.unwrap().unwrap_err()),
        "SHUTTING_DOWN"
    );
    assert!(watch.next().await.is_none());
}

fn spec() -> SessionSpec {
    SessionSpec {
        uid: ConnectorUid::new(Uuid::from_u128(1)),
        name: "users/ada/connectors/a".parse().unwrap(),
        generation: 1,
        transport: TransportSpec::Http {
            url: "http://127.0.0.1:9/".into(),
            headers: Vec::new(),
        },
        timeouts: Timeouts::default(),
    }
}

impl Fixture {
    /// The connector has a session that fails for a reason, and only that one.
    fn start_session(&self, reason: Reason) {
        let prepare: Prepare =
            Arc::new(move |_| Box::pin(async move { Err(PrepareError(reason)) }));
        let options = Arc::new(SessionOptions::default());
        let session = Session::start(spec(), prepare, options, &self.tasks);
        self.directory.send_replace(Arc::new(Directory {
            revision: Some(1),
            epoch: Some(1),
            sessions: Arc::new(HashMap::from([(spec().uid, session)])),
        }));
    }
}

#[tokio::test]
async fn a_session_that_was_started_again_is_followed_though_the_spec_is_the_same() {
    let fixture = fixture(0);
    let mut desired = Desired::default();
    desired.upsert(DesiredConnector {
        uid: spec().uid,
        name: spec().name,
        generation: 1,
        plan: Plan::Session(Arc::new(spec())),
    });
    fixture.desired.send_replace(Arc::new(desired));
    let mut watch = fixture.watch(Duration::from_secs(60));
    for reason in [Reason::VaultUnavailable, Reason::SecretMissing] {
        fixture.start_session(reason);
        loop {
            let next = timeout(Duration::from_secs(60), watch.next()).await;
            let message = next.expect("news").unwrap().unwrap();
            if let Some(Event::Session(session)) = message.event
                && session.reason == reason.as_str()
            {
                break;
            }
        }
    }
    assert!(fixture.tasks.stop(Duration::from_secs(60)).await.is_clean());
}
