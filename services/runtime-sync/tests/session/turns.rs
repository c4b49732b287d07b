//! Sessions take turns, and a slow server holds up nobody but itself.

use std::{sync::Arc, time::Duration};

use lifecycle::CancellationToken;
use runtime_sync::{
    domain::{ConnectionState, TransportSpec},
    session::{Prepare, Prepared, RequestError, ScopeTurns, SessionOptions},
    transport::{HttpTarget, Target},
};
use tokio::{
    sync::{Notify, Semaphore},
    time::Instant,
};

use crate::{
    harness::{LONG, Running, eventually, http, open_options, quiet, spec, start_with},
    peer::{Peer, Say, legacy, modern, tools},
};

const DISCOVERED: &str =
    r#"{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{"tools":{}}}"#;

#[tokio::test]
async fn no_more_sessions_connect_at_once_than_allowed() {
    let gate = Arc::new(Notify::new());
    let held = Arc::clone(&gate);
    let peer = Peer::start(move |asked| match asked.method.as_str() {
        "server/discover" => Say::Later(Arc::clone(&held), DISCOVERED.into()),
        _ => modern(asked, &[]),
    })
    .await;
    let connecting = Arc::new(Semaphore::new(2));
    let sessions: Vec<_> = (0..4)
        .map(|_| {
            let options = SessionOptions {
                connecting: Arc::clone(&connecting),
                ..quiet()
            };
            http(peer.url(), options)
        })
        .collect();
    for arrived in [2, 3, 4, 4] {
        eventually("the next ones connect", || {
            peer.count("server/discover") == arrived
        })
        .await;
        gate.notify_one();
    }
    for session in &sessions {
        session.ready().await;
    }
    assert_eq!(connecting.available_permits(), 2);
}

#[tokio::test]
async fn a_server_that_drips_its_list_does_not_hold_up_those_who_connect() {
    let slow = Peer::start(|asked| match asked.method.as_str() {
        "tools/list" => Say::Silence,
        _ => modern(asked, &[]),
    })
    .await;
    let fine = Peer::start(|asked| modern(asked, &["one"])).await;
    let options = SessionOptions {
        connecting: Arc::new(Semaphore::new(1)),
        ..quiet()
    };
    let _slow = http(slow.url(), options.clone());
    eventually("it lists", || slow.count("tools/list") == 1).await;
    http(fine.url(), options).ready().await;
}

#[tokio::test]
async fn no_more_lists_are_fetched_at_once_than_allowed() {
    let gate = Arc::new(Notify::new());
    let held = Arc::clone(&gate);
    let peer = Peer::start(move |asked| match asked.method.as_str() {
        "tools/list" => Say::Later(Arc::clone(&held), tools(&["one"])),
        _ => modern(asked, &[]),
    })
    .await;
    let mut options = quiet();
    options.sync.parallel = Arc::new(Semaphore::new(2));
    let sessions: Vec<_> = (0..4).map(|_| http(peer.url(), options.clone())).collect();
    for arrived in [2, 3, 4, 4] {
        eventually("the next ones list", || peer.count("tools/list") == arrived).await;
        gate.notify_one();
    }
    for session in &sessions {
        session.ready().await;
    }
}

/// A session of a scope of its own.
fn of_scope(scope: &str, url: &str, options: SessionOptions) -> Running {
    let url: url::Url = url.parse().unwrap();
    let mut spec = spec(TransportSpec::Http {
        url: url.to_string(),
        headers: vec![],
    });
    spec.name = format!("{scope}/connectors/tried").parse().unwrap();
    let prepare: Prepare = Arc::new(move |_| {
        let prepared = Prepared {
            target: Target::Http(HttpTarget {
                url: url.clone(),
                headers: vec![],
            }),
            options: open_options(),
            revoked: CancellationToken::new(),
            lease: None,
        };
        Box::pin(std::future::ready(Ok(prepared)))
    });
    start_with(options, spec, prepare, CancellationToken::new())
}

#[tokio::test]
async fn one_scopes_slow_servers_take_its_own_turns_and_nobody_elses() {
    let slow = Peer::start(|_| Say::Silence).await;
    let fine = Peer::start(|asked| modern(asked, &["one"])).await;
    let options = SessionOptions {
        connecting: Arc::new(Semaphore::new(3)),
        scope_connecting: Arc::new(ScopeTurns::new(2)),
        ..quiet()
    };
    let _slow: Vec<_> = (0..6)
        .map(|_| of_scope("users/ada", slow.url(), options.clone()))
        .collect();
    eventually("its turns are taken", || slow.count("server/discover") == 2).await;
    of_scope("users/bob", fine.url(), options).ready().await;
    assert_eq!(slow.count("server/discover"), 2);
}

#[tokio::test]
async fn a_check_that_gets_no_turn_is_not_held_against_the_server() {
    let peer = Peer::start(|asked| legacy(asked, &["one"])).await;
    let turns = Arc::new(Semaphore::new(0));
    let mut options = quiet();
    options.probe.parallel = Arc::clone(&turns);
    options.probe.timeout = Duration::from_millis(20);
    options.probe.failures = 1;
    let session = http(peer.url(), options);
    session.ready().await;
    let soon = Instant::now() + Duration::from_millis(300);
    let late = session.handle.check_health(soon).await;
    assert!(
        matches!(late, Err(RequestError::DeadlineExceeded)),
        "{late:?}"
    );
    let status = session.status();
    assert_eq!(
        (status.state, status.consecutive_failures),
        (ConnectionState::Ready, 0)
    );
    turns.add_permits(1);
    session
        .handle
        .check_health(Instant::now() + LONG)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_slow_list_does_not_make_a_short_life_a_long_one() {
    let gate = Arc::new(Notify::new());
    let held = Arc::clone(&gate);
    let peer = Peer::start(
        move |asked| match (asked.method.as_str(), asked.before % 2) {
            // Two pages, each at the next tick: never faster than from one tick to the next.
            ("tools/list", 0) => {
                Say::Later(Arc::clone(&held), r#"{"tools":[],"nextCursor":"2"}"#.into())
            }
            ("tools/list", _) => Say::Later(Arc::clone(&held), tools(&["one"])),
            ("ping", _) => Say::Status(404),
            _ => legacy(asked, &[]),
        },
    )
    .await;
    let mut options = quiet();
    options.quick_retry = Duration::from_millis(200);
    options.probe.interval = Duration::from_millis(10);
    let session = http(peer.url(), options);
    let ticking = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(250));
        loop {
            ticks.tick().await;
            gate.notify_waiters();
        }
    };
    tokio::select! {
        () = ticking => {}
        _ = session.wait("counted", |status| status.consecutive_failures >= 4) => {}
    }
}
