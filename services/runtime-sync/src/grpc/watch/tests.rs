//! Promises about watchers that do not read.

use std::sync::Arc;

use futures_util::StreamExt as _;
use lifecycle::Clock;
use names::ConnectorUid;
use rpc::error::ErrorView;
use tokio::sync::watch;
use uuid::Uuid;

use super::*;
use crate::{
    desired::{Desired, Plan},
    supervisor::Directory,
    upstream::registry::{Freshness, Instance, LeaseBoard},
};

struct Fixture {
    sessions: Sessions,
    _desired: watch::Sender<Arc<Desired>>,
    _directory: watch::Sender<Arc<Directory>>,
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
        },
        _desired: desired,
        _directory: directory,
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
