//! A session comes up, stays up, says truthfully how it is, and leaves nothing behind.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use lifecycle::CancellationToken;
use runtime_sync::{
    domain::{CallReason, ConnectionState, Reason, Stage, TransportSpec, restarts::RestartBudget},
    session::{Prepare, PrepareError, Prepared, RequestError, SessionOptions},
    transport::{HttpTarget, Target},
};
use tokio::time::Instant;

use crate::{
    harness::{LONG, NEVER, eventually, http, open_options, quiet, script, spec, start_with},
    peer::{Peer, Say, initialized, legacy, modern},
};

/// A legacy server in shell; `DIES` stands for what it does over a call.
const SERVER: &str = r#"
    while IFS= read -r line; do
        id=${line#*\"id\":}; id=${id%%[,\}]*}
        case $line in
            *'"initialize"'*) echo '{"jsonrpc":"2.0","id":'"$id"',"result":{"protocolVersion":"2025-11-25","capabilities":{},"serverInfo":{"name":"sh","version":"1"}}}' ;;
            *'"tools/list"'*) echo '{"jsonrpc":"2.0","id":'"$id"',"result":{"tools":[{"name":"one","inputSchema":{"type":"object"}}]}}' ;;
            *'"tools/call"'*) DIES ;;
            *'"id"'*) echo '{"jsonrpc":"2.0","id":'"$id"',"error":{"code":-32601,"message":"no"}}' ;;
        esac
    done
"#;

fn server(over_a_call: &str) -> String {
    SERVER.replace("DIES", over_a_call)
}

#[tokio::test]
async fn a_process_that_ends_is_seen_at_once_and_started_again() {
    let session = script(&server("exit 3"), quiet());
    session.ready().await;
    let error = session.call("one", "{}").await.unwrap_err();
    assert_eq!(error.reason, CallReason::OutcomeUnknown);
    session
        .wait("lost once", |status| status.disconnects == 1)
        .await;
    let status = session.ready().await;
    assert_eq!(status.tools.len(), 1);
    session.handle.stop().await;
}

#[tokio::test]
async fn a_server_that_dies_again_and_again_is_held_back_as_a_crash_loop() {
    let budget = RestartBudget {
        allowed: 3,
        hold: NEVER,
        ..RestartBudget::default()
    };
    let options = SessionOptions {
        restarts: budget,
        ..quiet()
    };
    let text = format!("(sleep 0.2; kill $$) & {}", server(":"));
    let session = script(&text, options);
    let status = session
        .wait("a crash loop", |status| status.reason == Reason::CrashLoop)
        .await;
    assert_eq!(status.state, ConnectionState::Unreachable);
    assert_eq!(status.disconnects, 4);
    assert!(status.next_attempt.is_some());
    session.handle.stop().await;
}

#[tokio::test]
async fn a_process_that_never_comes_up_is_held_back_too() {
    let budget = RestartBudget {
        allowed: 3,
        hold: NEVER,
        ..RestartBudget::default()
    };
    let options = SessionOptions {
        restarts: budget,
        ..quiet()
    };
    let session = script("echo broken >&2; exit 1", options);
    let status = session.state(ConnectionState::Unreachable).await;
    assert!(matches!(
        status.reason,
        Reason::ProcessExited | Reason::CrashLoop
    ));
    session
        .wait("a crash loop", |status| status.reason == Reason::CrashLoop)
        .await;
    session.handle.stop().await;
}

#[tokio::test]
async fn a_program_that_does_not_exist_is_a_matter_of_settings() {
    let session = script_of("/nonexistent/program");
    let status = session.state(ConnectionState::Misconfigured).await;
    assert_eq!(status.reason, Reason::CommandNotFound);
    session.handle.stop().await;
}

fn script_of(command: &str) -> crate::harness::Running {
    let command = command.to_owned();
    let transport = TransportSpec::Stdio {
        command: command.clone(),
        args: vec![],
        env: vec![],
        working_directory: None,
    };
    let prepare: Prepare = Arc::new(move |_| {
        let target = Target::Stdio(runtime_sync::transport::StdioTarget {
            command: command.clone(),
            args: vec![],
            env: vec![],
            cwd: None,
        });
        Box::pin(std::future::ready(Ok(prepared(
            target,
            CancellationToken::new(),
        ))))
    });
    start_with(quiet(), spec(transport), prepare, CancellationToken::new())
}

fn prepared(target: Target, revoked: CancellationToken) -> Prepared {
    Prepared {
        target,
        options: open_options(),
        revoked,
        lease: None,
    }
}

#[tokio::test]
async fn garbage_silence_and_floods_are_timed_out_and_typed() {
    let options = || SessionOptions {
        connect_timeout: Duration::from_secs(2),
        ..quiet()
    };
    for text in [
        "while :; do sleep 100; done",
        "echo hello; echo '{}'; echo '[1]'; cat > /dev/null",
        "cat",
    ] {
        let session = script(text, options());
        let status = session.state(ConnectionState::Unreachable).await;
        let expected = [Reason::Timeout, Reason::InvalidMcpServer];
        assert!(
            expected.contains(&status.reason),
            "{text}: {}",
            status.reason.as_str()
        );
        session.handle.stop().await;
    }
}

#[tokio::test]
async fn a_server_that_accepts_and_says_nothing_is_given_up_within_the_connect_timeout() {
    let peer = Peer::start(|_| Say::Silence).await;
    let options = SessionOptions {
        connect_timeout: Duration::from_millis(500),
        quick_retry: NEVER,
        ..quiet()
    };
    let started = Instant::now();
    let session = http(peer.url(), options);
    let status = session.state(ConnectionState::Unreachable).await;
    assert_eq!(
        (status.reason, status.stage),
        (Reason::Timeout, Some(Stage::Handshake))
    );
    assert!(
        started.elapsed() < Duration::from_secs(10),
        "took {:?}",
        started.elapsed()
    );
}

#[tokio::test]
async fn nobody_listening_is_a_failed_connection() {
    let peer = Peer::start(|_| Say::Silence).await;
    let url = peer.url().to_owned();
    drop(peer);
    eventually("the port is closed", || {
        let address = url.trim_start_matches("http://").trim_end_matches("/mcp");
        std::net::TcpStream::connect(address).is_err()
    })
    .await;
    let session = http(&url, quiet());
    let status = session.state(ConnectionState::Unreachable).await;
    assert_eq!(status.reason, Reason::ConnectionFailed);
    assert_eq!(status.stage, Some(Stage::Connect));
}

#[tokio::test]
async fn failures_are_counted_and_a_success_clears_them() {
    let peer = Peer::start(|_| Say::Status(503)).await;
    let session = http(peer.url(), quiet());
    session
        .wait("three failures", |status| status.consecutive_failures >= 3)
        .await;
    peer.becomes(|asked| modern(asked, &[]));
    let status = session.ready().await;
    assert_eq!(
        (status.consecutive_failures, status.next_attempt),
        (0, None)
    );
    assert!(status.last_success.is_some());
}

#[tokio::test]
async fn every_change_is_put_up_in_order() {
    let peer = Peer::start(|asked| legacy(asked, &["one"])).await;
    let session = http(peer.url(), quiet());
    let mut statuses = session.handle.status();
    let mut last = statuses.borrow().sequence;
    let watching = async {
        while statuses.changed().await.is_ok() {
            let status = statuses.borrow_and_update().clone();
            assert!(status.sequence > last, "{} after {last}", status.sequence);
            last = status.sequence;
            if status.state == ConnectionState::Disabled {
                return;
            }
        }
    };
    let living = async {
        session.ready().await;
        session.sync().await;
        session.handle.stop().await;
    };
    tokio::join!(watching, living);
    let status = session.status();
    assert_eq!(
        (status.state, status.reason),
        (ConnectionState::Disabled, Reason::Stopped)
    );
    assert_eq!(status.message(), "The session was stopped.");
}

#[tokio::test]
async fn a_stop_is_bounded_ends_the_http_session_and_leaves_no_task() {
    let peer = Peer::start(|asked| legacy(asked, &["one"])).await;
    let session = http(peer.url(), quiet());
    session.ready().await;
    session.handle.stop().await;
    eventually("the task ended", || session.tasks.is_empty()).await;
    assert_eq!(peer.count("DELETE"), 1);
    let refused = session.handle.sync(Instant::now() + LONG).await;
    assert!(matches!(refused, Err(RequestError::Stopped)), "{refused:?}");
    // Stopping what has stopped is nothing.
    session.handle.stop().await;
}

#[tokio::test]
async fn a_session_can_be_stopped_at_any_moment() {
    for text in ["sleep 1000", "trap '' TERM; while :; do sleep 100; done"] {
        let session = script(text, quiet());
        session.state(ConnectionState::Connecting).await;
        tokio::time::timeout(LONG, session.handle.stop())
            .await
            .unwrap();
        assert_eq!(session.status().state, ConnectionState::Disabled);
    }
}

#[tokio::test]
async fn stopping_the_task_set_stops_the_session() {
    let session = script(&server("exit 0"), quiet());
    session.ready().await;
    let stopped = session.tasks.stop(LONG).await;
    assert!(stopped.is_clean(), "{stopped:?}");
    assert_eq!(session.status().state, ConnectionState::Disabled);
}

#[tokio::test]
async fn what_preparation_says_becomes_the_state() {
    for (reason, state) in [
        (Reason::SecretUnreadable, ConnectionState::Misconfigured),
        (Reason::SecretNeedsRebind, ConnectionState::Misconfigured),
        (Reason::VaultUnavailable, ConnectionState::Unreachable),
        (Reason::SpecTooNew, ConnectionState::Misconfigured),
    ] {
        let prepare: Prepare =
            Arc::new(move |_| Box::pin(std::future::ready(Err(PrepareError(reason)))));
        let transport = TransportSpec::Http {
            url: "http://127.0.0.1:1/".into(),
            headers: vec![],
        };
        let session = start_with(quiet(), spec(transport), prepare, CancellationToken::new());
        let status = session.state(state).await;
        assert_eq!(status.reason, reason);
    }
}

#[tokio::test]
async fn a_preparation_that_never_ends_is_timed_out() {
    let prepare: Prepare = Arc::new(|_| Box::pin(std::future::pending()));
    let transport = TransportSpec::Http {
        url: "http://127.0.0.1:1/".into(),
        headers: vec![],
    };
    let options = SessionOptions {
        prepare_timeout: Duration::from_millis(50),
        ..quiet()
    };
    let session = start_with(options, spec(transport), prepare, CancellationToken::new());
    let status = session.state(ConnectionState::Unreachable).await;
    assert_eq!(status.reason, Reason::RegistryUnavailable);
}

#[tokio::test]
async fn every_connection_is_prepared_anew_and_its_lease_dropped_with_it() {
    struct Lease(Arc<AtomicUsize>);
    impl Drop for Lease {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::SeqCst);
        }
    }
    let held = Arc::new(AtomicUsize::new(0));
    let prepared_times = Arc::new(AtomicUsize::new(0));
    let peer = Peer::start(|asked| legacy(asked, &["one"])).await;
    let url: url::Url = peer.url().parse().unwrap();
    let first_revoked = CancellationToken::new();
    let (leases, times, token) = (
        Arc::clone(&held),
        Arc::clone(&prepared_times),
        first_revoked.clone(),
    );
    let target_url = url.clone();
    let prepare: Prepare = Arc::new(move |_| {
        leases.fetch_add(1, Ordering::SeqCst);
        let is_first = times.fetch_add(1, Ordering::SeqCst) == 0;
        let target = Target::Http(HttpTarget {
            url: target_url.clone(),
            headers: vec![],
        });
        let revoked = if is_first {
            token.clone()
        } else {
            CancellationToken::new()
        };
        let lease: Box<dyn std::any::Any + Send + Sync> = Box::new(Lease(Arc::clone(&leases)));
        let prepared = Prepared {
            lease: Some(lease),
            ..prepared(target, revoked)
        };
        Box::pin(std::future::ready(Ok(prepared)))
    });
    let transport = TransportSpec::Http {
        url: url.to_string(),
        headers: vec![],
    };
    let session = start_with(quiet(), spec(transport), prepare, first_revoked.clone());
    session.ready().await;
    assert_eq!(held.load(Ordering::SeqCst), 1);
    session.revoked.cancel();
    session
        .wait("withdrawn", |status| status.disconnects == 1)
        .await;
    session.ready().await;
    assert_eq!(prepared_times.load(Ordering::SeqCst), 2);
    assert_eq!(held.load(Ordering::SeqCst), 1);
    session.handle.stop().await;
    assert_eq!(held.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_withdrawn_lease_closes_the_link_at_once() {
    let peer = Peer::start(|asked| legacy(asked, &["one"])).await;
    let options = SessionOptions {
        quick_retry: NEVER,
        ..quiet()
    };
    let session = http(peer.url(), options);
    session.ready().await;
    session.revoked.cancel();
    let status = session.state(ConnectionState::Unreachable).await;
    assert_eq!(status.reason, Reason::LeaseRevoked);
    eventually("the session was deleted", || peer.count("DELETE") == 1).await;
    assert_eq!(
        session.call("one", "{}").await.unwrap_err().reason,
        CallReason::ConnectorUnreachable
    );
}

#[tokio::test]
async fn the_standard_error_of_a_dead_process_can_still_be_read() {
    let session = script(
        &format!("echo 'I live' >&2; {}", server("echo 'I die' >&2; exit 1")),
        quiet(),
    );
    session.ready().await;
    let tail = session.handle.stderr().unwrap();
    eventually("a first line", || !tail.lines().is_empty()).await;
    drop(session.call("one", "{}").await);
    eventually("a last line", || tail.lines().len() >= 2).await;
    let lines: Vec<_> = tail.lines().into_iter().map(|line| line.text).collect();
    assert_eq!(lines, ["I live", "I die"]);
    session.handle.stop().await;
}

#[tokio::test]
async fn an_attempt_that_fails_ends_the_http_session_it_began() {
    let peer = Peer::start(|asked| match asked.method.as_str() {
        "initialize" => Say::Session("s-9", initialized("1999-01-01")),
        _ => legacy(asked, &[]),
    })
    .await;
    let options = SessionOptions {
        quick_retry: NEVER,
        backoff_max: NEVER,
        ..quiet()
    };
    let session = http(peer.url(), options);
    session
        .wait("refused", |status| status.next_attempt.is_some())
        .await;
    let deletes = peer.asked("DELETE");
    assert_eq!(deletes.len(), 1);
    assert_eq!(deletes[0].headers["mcp-session-id"], "s-9");
}

#[tokio::test]
async fn a_session_that_is_stopped_while_it_connects_leaves_no_process() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pid");
    let text = format!(
        "trap '' TERM; echo $$ > {0}.new; mv {0}.new {0}; while :; do sleep 0.1; done",
        file.display()
    );
    let session = script(&text, quiet());
    eventually("it runs", || file.exists()).await;
    let pid = std::fs::read_to_string(&file).unwrap();
    session.handle.stop().await;
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
    assert!(
        !stat.as_ref().is_ok_and(|stat| !stat.contains(") Z")),
        "{stat:?}"
    );
}

#[tokio::test]
async fn a_lease_that_is_withdrawn_while_connecting_ends_the_attempt_at_once() {
    let peer = Peer::start(|_| Say::Silence).await;
    let options = SessionOptions {
        connect_timeout: NEVER,
        quick_retry: NEVER,
        ..quiet()
    };
    let session = http(peer.url(), options);
    eventually("it is asked", || peer.count("server/discover") == 1).await;
    session.revoked.cancel();
    let status = session.state(ConnectionState::Unreachable).await;
    assert_eq!(status.reason, Reason::LeaseRevoked);
}

#[tokio::test]
async fn whoever_waits_for_an_answer_when_the_connection_is_lost_hears_why() {
    let listing = r#"*'"tools/list"'*) "#;
    let text = server(":").replace(
        listing,
        &format!("{listing} n=$((n+1)); [ $n = 2 ] && exit 3; "),
    );
    let options = SessionOptions {
        restarts: RestartBudget {
            allowed: 100,
            ..RestartBudget::default()
        },
        ..quiet()
    };
    let session = script(&text, options);
    session.ready().await;
    let refused = session.handle.sync(Instant::now() + LONG).await;
    assert!(
        matches!(
            refused,
            Err(RequestError::Failed(
                Reason::ConnectionLost | Reason::ProcessExited
            ))
        ),
        "{refused:?}"
    );
    session.handle.stop().await;
}

#[tokio::test]
async fn a_server_that_never_connects_has_a_history_too() {
    let peer = Peer::start(|_| Say::Status(503)).await;
    let session = http(peer.url(), quiet());
    let status = session
        .wait("tried", |status| status.history.len() >= 3)
        .await;
    assert!(status.history.iter().all(|sample| !sample.healthy));
}

#[tokio::test]
async fn two_processes_of_one_connector_never_run_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let (lock, overlap) = (folder.path().join("lock"), folder.path().join("overlap"));
    let starts = folder.path().join("starts");
    // Silent, so that a fresh process is tried for the handshake; takes its time to end, but ends.
    let text = format!(
        "echo x >> {2}; mkdir {0} || echo x > {1}; while read -r line; do :; done; sleep 0.1; rmdir {0}",
        lock.display(),
        overlap.display(),
        starts.display()
    );
    let transport = TransportSpec::Stdio {
        command: "/bin/sh".into(),
        args: vec![],
        env: vec![],
        working_directory: None,
    };
    let prepare: Prepare = Arc::new(move |_| {
        let target = Target::Stdio(runtime_sync::transport::StdioTarget {
            command: "/bin/sh".into(),
            args: vec!["-c".into(), text.clone()],
            env: vec![],
            cwd: None,
        });
        let mut prepared = prepared(target, CancellationToken::new());
        prepared.options.limits.eof_grace = Duration::from_secs(5);
        Box::pin(std::future::ready(Ok(prepared)))
    });
    let options = SessionOptions {
        connect_timeout: Duration::from_secs(1),
        ..quiet()
    };
    let session = start_with(options, spec(transport), prepare, CancellationToken::new());
    eventually("it was started again and again", || {
        std::fs::read_to_string(&starts).is_ok_and(|starts| starts.lines().count() >= 4)
    })
    .await;
    session.handle.stop().await;
    assert!(!overlap.exists());
    assert!(!lock.exists(), "and the last one ended in good order");
}
