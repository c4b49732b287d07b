//! Promises about sessions that break by themselves.

use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};

use uuid::Uuid;

use super::*;
use crate::{
    domain::{Timeouts, TransportSpec},
    session::PrepareError,
};

/// A deadline that only a hanging test reaches.
const LONG: Duration = Duration::from_secs(60);

fn desired(generation: i64) -> Arc<Desired> {
    let uid = ConnectorUid::new(Uuid::from_u128(1));
    let name: names::ConnectorName = "users/ada/connectors/a".parse().unwrap();
    let spec = SessionSpec {
        uid,
        name: name.clone(),
        generation,
        transport: TransportSpec::Http {
            url: "http://127.0.0.1:9/".into(),
            headers: Vec::new(),
        },
        timeouts: Timeouts::default(),
    };
    let mut desired = Desired::default();
    desired.upsert(DesiredConnector {
        uid,
        name,
        generation,
        plan: Plan::Session(Arc::new(spec)),
    });
    desired.advance(generation);
    Arc::new(desired)
}

struct Fixture {
    desired: watch::Sender<Arc<Desired>>,
    epoch: watch::Sender<Option<i64>>,
    directory: watch::Receiver<Arc<Directory>>,
    /// The generations for which connections were prepared.
    prepared: Arc<Mutex<Vec<i64>>>,
    tasks: Tasks,
    reports: mpsc::Receiver<Observe>,
}

/// A supervisor whose first `panics` preparations panic inside the session.
fn fixture(panics: usize) -> Fixture {
    let (desired, wanted) = watch::channel(desired(1));
    let (epoch, lease) = watch::channel(Some(1));
    let (reports, observed) = mpsc::channel(64);
    let prepared: Arc<Mutex<Vec<i64>>> = Arc::default();
    let (count, noted) = (Arc::new(AtomicUsize::new(0)), Arc::clone(&prepared));
    let prepare: Prepare = Arc::new(move |spec: SessionSpec| {
        noted.lock().unwrap().push(spec.generation);
        let number = count.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move {
            assert!(number >= panics, "broken on purpose");
            Err(PrepareError(Reason::VaultUnavailable))
        })
    });
    let tasks = Tasks::new("test");
    let with = Supervision {
        desired: wanted,
        epoch: lease,
        reports,
        prepare,
        options: Arc::new(SessionOptions::default()),
        interval: Duration::from_secs(3600),
        stop_grace: Duration::from_secs(5),
    };
    Fixture {
        directory: Supervisor::start(with, &tasks),
        desired,
        epoch,
        prepared,
        tasks,
        reports: observed,
    }
}

impl Fixture {
    async fn wait(&mut self, what: &str, wanted: impl Fn(&Directory) -> bool) {
        let seen = self.directory.wait_for(|directory| wanted(directory));
        let seen = tokio::time::timeout(LONG, seen).await;
        assert!(seen.is_ok_and(|seen| seen.is_ok()), "never: {what}");
    }

    async fn prepared(&self, what: &str, wanted: impl Fn(&[i64]) -> bool) {
        let mut ticks = tokio::time::interval(Duration::from_millis(5));
        let until = Instant::now() + LONG;
        while !wanted(&self.prepared.lock().unwrap()) {
            assert!(Instant::now() < until, "never: {what}");
            ticks.tick().await;
        }
    }
}

#[tokio::test]
async fn a_session_that_breaks_is_started_again() {
    let mut fixture = fixture(1);
    fixture
        .prepared("a second life", |prepared| prepared.len() >= 2)
        .await;
    fixture
        .wait("a session", |directory| directory.sessions.len() == 1)
        .await;
    assert!(matches!(
        fixture.reports.try_recv(),
        Ok(Observe::Session { .. })
    ));
    assert!(fixture.tasks.stop(LONG).await.is_clean());
}

#[tokio::test]
async fn a_new_generation_does_not_wait_for_the_rest_of_a_broken_one() {
    let fixture = fixture(usize::MAX);
    fixture
        .prepared("the first life", |prepared| !prepared.is_empty())
        .await;
    fixture.desired.send_replace(desired(2));
    fixture
        .prepared("the second generation", |prepared| prepared.contains(&2))
        .await;
    fixture.tasks.stop(LONG).await;
}

#[tokio::test]
async fn without_the_lease_there_is_no_session_and_with_the_next_one_a_new_one() {
    let mut fixture = fixture(0);
    fixture
        .wait("a session", |directory| directory.sessions.len() == 1)
        .await;
    fixture.epoch.send_replace(None);
    fixture
        .wait("no session", |directory| directory.sessions.is_empty())
        .await;
    fixture.epoch.send_replace(Some(2));
    fixture
        .wait("a session of the next epoch", |directory| {
            directory.epoch == Some(2) && directory.sessions.len() == 1
        })
        .await;
    assert!(fixture.tasks.stop(LONG).await.is_clean());
}

#[test]
fn the_end_of_a_session_is_told_even_by_a_task_that_panicked() {
    let (ends, mut heard) = mpsc::channel(1);
    let uid = ConnectorUid::new(Uuid::from_u128(1));
    drop(Told {
        ends,
        end: Some(End::Stopped(uid)),
    });
    assert!(matches!(heard.try_recv(), Ok(End::Stopped(told)) if told == uid));
}
