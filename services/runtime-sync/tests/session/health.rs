//! Health says what is true: in the era's own way, with hysteresis, and without asking more than needed.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use runtime_sync::{
    domain::{ConnectionState, Era, ProbeKind, Reason, health::HISTORY},
    session::{ProbeOptions, RequestError, SessionOptions},
};
use tokio::{sync::Semaphore, time::Instant};

use crate::{
    harness::{LONG, NEVER, Running, eventually, http, quiet},
    peer::{Asked, Peer, Say, legacy, modern},
};

fn probing(every: Duration) -> SessionOptions {
    SessionOptions {
        probe: ProbeOptions {
            interval: every,
            timeout: Duration::from_secs(5),
            ..ProbeOptions::default()
        },
        ..quiet()
    }
}

async fn check(session: &Running) -> Result<(), RequestError> {
    session
        .handle
        .check_health(Instant::now() + LONG)
        .await
        .map(drop)
}

fn last_kind(session: &Running) -> ProbeKind {
    session.status().history.last().unwrap().kind
}

#[tokio::test]
async fn each_era_is_asked_in_its_own_way() {
    let modern_peer = Peer::start(|asked| modern(asked, &[])).await;
    let session = http(modern_peer.url(), quiet());
    session.ready().await;
    check(&session).await.unwrap();
    assert_eq!(last_kind(&session), ProbeKind::Discover);
    assert_eq!(
        (
            modern_peer.count("server/discover"),
            modern_peer.count("ping")
        ),
        (2, 0)
    );

    let legacy_peer = Peer::start(|asked| legacy(asked, &[])).await;
    let session = http(legacy_peer.url(), quiet());
    session.ready().await;
    check(&session).await.unwrap();
    assert_eq!(last_kind(&session), ProbeKind::Ping);
    assert_eq!(legacy_peer.count("ping"), 1);
    let status = session.status();
    assert!(status.latency.is_some() && status.last_success.is_some());
}

#[tokio::test]
async fn a_server_that_does_not_know_its_question_is_asked_for_its_tools_from_then_on() {
    let peer = Peer::start(|asked| match asked.method.as_str() {
        "ping" => Say::Error(-32601, ""),
        _ => legacy(asked, &["one"]),
    })
    .await;
    let session = http(peer.url(), quiet());
    session.ready().await;
    for _ in 0..3 {
        check(&session).await.unwrap();
        assert_eq!(last_kind(&session), ProbeKind::ListTools);
    }
    assert_eq!(peer.count("ping"), 1);
    assert_eq!(session.status().state, ConnectionState::Ready);
}

#[tokio::test]
async fn one_failure_degrades_and_one_success_heals() {
    let peer = Peer::start(|asked| legacy(asked, &["one"])).await;
    let options = SessionOptions {
        quick_retry: NEVER,
        ..quiet()
    };
    let session = http(peer.url(), options);
    session.ready().await;
    peer.becomes(|asked| match asked.method.as_str() {
        "ping" => Say::Status(503),
        _ => legacy(asked, &["one"]),
    });
    assert!(check(&session).await.is_err());
    let status = session.status();
    assert_eq!(
        (status.state, status.reason),
        (ConnectionState::Degraded, Reason::ProbeFailed)
    );
    assert_eq!(status.consecutive_failures, 1);
    session.call("one", "{}").await.unwrap();
    peer.becomes(|asked| legacy(asked, &["one"]));
    check(&session).await.unwrap();
    let status = session.status();
    assert_eq!(
        (status.state, status.consecutive_failures),
        (ConnectionState::Ready, 0)
    );
}

#[tokio::test]
async fn three_failures_in_a_row_are_unreachable_and_the_session_comes_back() {
    let peer = Peer::start(|asked| legacy(asked, &["one"])).await;
    let session = http(peer.url(), probing(Duration::from_millis(40)));
    session.ready().await;
    peer.becomes(|_| Say::Status(503));
    let status = session.state(ConnectionState::Unreachable).await;
    assert_eq!(status.reason, Reason::ProbesFailed);
    let failed = status
        .history
        .iter()
        .rev()
        .take_while(|sample| !sample.healthy)
        .count();
    assert_eq!(failed, 3);
    assert!(status.next_attempt.is_some());
    assert_eq!(
        status.tools.len(),
        1,
        "the list of a server that is away is kept"
    );
    let refused = session.call("one", "{}").await.unwrap_err();
    assert_eq!(
        (refused.reason.as_str(), refused.outcome.as_str()),
        ("CONNECTOR_UNREACHABLE", "NOT_SENT")
    );
    assert!(refused.retry_after.is_some());
    peer.becomes(|asked| legacy(asked, &["one"]));
    let status = session.ready().await;
    assert_eq!(status.consecutive_failures, 0);
    assert_eq!(status.next_attempt, None);
    session.call("one", "{}").await.unwrap();
}

#[tokio::test]
async fn traffic_counts_as_proof_of_life() {
    let peer = Peer::start(|asked| legacy(asked, &["one"])).await;
    let session = http(peer.url(), probing(Duration::from_secs(2)));
    session.ready().await;
    let handle = session.handle.clone();
    let traffic = async {
        loop {
            handle
                .call_tool(crate::harness::call("one", "{}"))
                .await
                .unwrap();
        }
    };
    tokio::select! {
        () = traffic => {}
        _ = session.wait("a sample", |status| !status.history.is_empty()) => {}
    }
    assert_eq!(last_kind(&session), ProbeKind::Traffic);
    assert_eq!(peer.count("ping"), 0);
}

#[tokio::test]
async fn a_401_on_a_probe_is_auth_required_at_once() {
    let peer = Peer::start(|asked| modern(asked, &["one"])).await;
    let options = SessionOptions {
        backoff_max: LONG,
        ..quiet()
    };
    let session = http(peer.url(), options);
    session.ready().await;
    peer.becomes(|_| Say::Status(401));
    assert!(matches!(
        check(&session).await,
        Err(RequestError::Failed(Reason::AuthRequired))
    ));
    session.state(ConnectionState::AuthRequired).await;
    let refused = session.call("one", "{}").await.unwrap_err();
    assert_eq!(refused.reason.as_str(), "AUTH_REQUIRED");
}

#[tokio::test]
async fn a_call_that_cannot_connect_has_the_server_probed_at_once() {
    let peer = Peer::start(|asked| modern(asked, &["one"])).await;
    let session = http(peer.url(), quiet());
    session.ready().await;
    drop(peer);
    assert!(session.call("one", "{}").await.is_err());
    // Without the call, the next probe would never come.
    session
        .wait("not ready", |status| status.state != ConnectionState::Ready)
        .await;
}

#[tokio::test]
async fn a_check_of_an_unreachable_server_connects_without_waiting_for_the_next_attempt() {
    let peer = Peer::start(|_| Say::Status(503)).await;
    let options = SessionOptions {
        quick_retry: NEVER,
        backoff_max: NEVER,
        ..quiet()
    };
    let session = http(peer.url(), options);
    session.state(ConnectionState::Unreachable).await;
    assert!(check(&session).await.is_err());
    peer.becomes(|asked| modern(asked, &["one"]));
    check(&session).await.unwrap();
    assert_eq!(session.status().state, ConnectionState::Ready);
}

#[tokio::test]
async fn the_history_is_bounded() {
    let peer = Peer::start(|asked| modern(asked, &[])).await;
    let session = http(peer.url(), quiet());
    session.ready().await;
    for _ in 0..HISTORY + 5 {
        check(&session).await.unwrap();
    }
    assert_eq!(session.status().history.len(), HISTORY);
}

#[tokio::test]
async fn no_more_probes_run_at_once_than_allowed() {
    let running = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let gate = Arc::new(tokio::sync::Notify::new());
    let (now, top, held) = (Arc::clone(&running), Arc::clone(&most), Arc::clone(&gate));
    let peer = Peer::start(move |asked: &Asked| match asked.method.as_str() {
        "ping" => {
            top.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            Say::Later(Arc::clone(&held), "{}".into())
        }
        _ => legacy(asked, &[]),
    })
    .await;
    let parallel = Arc::new(Semaphore::new(2));
    let sessions: Vec<_> = (0..5)
        .map(|_| {
            let mut options = quiet();
            options.probe.parallel = Arc::clone(&parallel);
            http(peer.url(), options)
        })
        .collect();
    for session in &sessions {
        assert_eq!(session.ready().await.era, Some(Era::Legacy));
    }
    let checks = futures_util::future::join_all(sessions.iter().map(check));
    let release = async {
        for finished in 0..5 {
            let expected = (finished + 2).min(5);
            eventually("the next probes run", || {
                running.load(Ordering::SeqCst) == expected
            })
            .await;
            gate.notify_one();
        }
    };
    let (checked, ()) = tokio::join!(checks, release);
    assert!(checked.iter().all(Result::is_ok));
    assert_eq!(parallel.available_permits(), 2);
}

#[tokio::test]
async fn failing_calls_do_not_use_up_the_chances_of_a_server() {
    let peer = Peer::start(|asked| modern(asked, &["one"])).await;
    let options = SessionOptions {
        quick_retry: NEVER,
        ..quiet()
    };
    let session = http(peer.url(), options);
    session.ready().await;
    peer.becomes(|_| Say::Status(503));
    for _ in 0..10 {
        assert!(session.call("one", "{}").await.is_err());
        session.state(ConnectionState::Degraded).await;
    }
    let status = session.status();
    assert_eq!(
        (status.state, status.consecutive_failures),
        (ConnectionState::Degraded, 1)
    );
}
