//! Whatever breaks, the caller learns whether the server may have run the call, and nothing runs twice.

use std::time::Duration;

use runtime_sync::{
    domain::{CallError, CallReason, Outcome},
    session::{SessionOptions, ToolCall},
};

use crate::{
    harness::{NEVER, Running, call, http, quiet},
    peer::{Asked, Peer, Say, legacy, modern, tools},
};

fn facts(error: &CallError) -> (CallReason, Outcome) {
    (error.reason, error.outcome)
}

async fn answering(answer: impl Fn(&Asked) -> Say + Send + Sync + 'static) -> (Peer, Running) {
    let peer = Peer::start(move |asked| match asked.method.as_str() {
        "tools/call" => answer(asked),
        _ => legacy(asked, &["one"]),
    })
    .await;
    let session = http(peer.url(), quiet());
    session.ready().await;
    (peer, session)
}

#[tokio::test]
async fn what_is_refused_here_was_never_sent() {
    let (peer, session) = answering(|_| Say::Silence).await;
    for (tool, arguments, reason) in [
        ("unknown", "{}", CallReason::ToolNotFound),
        ("one", "[]", CallReason::ArgumentsInvalid),
        ("one", "", CallReason::ArgumentsInvalid),
        ("one", "{", CallReason::ArgumentsInvalid),
        ("one", "{} {}", CallReason::ArgumentsInvalid),
        ("one", r#"{},"_meta":{}"#, CallReason::ArgumentsInvalid),
    ] {
        let error = session.call(tool, arguments).await.unwrap_err();
        assert_eq!(
            facts(&error),
            (reason, Outcome::NotSent),
            "{tool} {arguments}"
        );
    }
    let other = ToolCall {
        expected_definition_hash: Some("0".repeat(64)),
        ..call("one", "{}")
    };
    let error = session.handle.call_tool(other).await.unwrap_err();
    assert_eq!(
        facts(&error),
        (CallReason::DefinitionChanged, Outcome::NotSent)
    );
    assert_eq!(peer.count("tools/call"), 0);
}

#[tokio::test]
async fn an_answer_that_breaks_off_leaves_the_outcome_unknown_and_is_not_asked_for_again() {
    let (peer, session) = answering(|_| Say::Break).await;
    let error = session.call("one", "{}").await.unwrap_err();
    assert_eq!(
        facts(&error),
        (CallReason::OutcomeUnknown, Outcome::SentUnknown)
    );
    assert_eq!(peer.count("tools/call"), 1);
}

#[tokio::test]
async fn an_error_of_the_server_is_a_completed_call_and_comes_whole() {
    let (_peer, session) = answering(|_| Say::Error(-32602, r#"{"field":"a"}"#)).await;
    let error = session.call("one", "{}").await.unwrap_err();
    assert_eq!(
        facts(&error),
        (CallReason::UpstreamError, Outcome::Completed)
    );
    let upstream = error.upstream.unwrap();
    assert_eq!((upstream.code, upstream.message.as_str()), (-32602, "no"));
    assert_eq!(
        upstream.data.as_deref(),
        Some(br#"{"field":"a"}"#.as_slice())
    );
    assert!(
        !format!("{upstream:?}").contains("field"),
        "texts of a server are not for logs"
    );
}

#[tokio::test]
async fn answers_that_are_no_result_are_errors_of_the_server() {
    for (answer, reason) in [
        (
            r#"{"resultType":"input_required","inputRequests":{},"requestState":"s"}"#,
            CallReason::InteractionUnsupported,
        ),
        (r#"{"resultType":"task"}"#, CallReason::UpstreamError),
        ("[]", CallReason::UpstreamError),
        ("null", CallReason::UpstreamError),
        (r#"{"isError":"maybe"}"#, CallReason::UpstreamError),
    ] {
        let (_peer, session) = answering(move |_| Say::Result(answer.into())).await;
        let error = session.call("one", "{}").await.unwrap_err();
        assert_eq!(facts(&error), (reason, Outcome::Completed), "{answer}");
    }
}

#[tokio::test]
async fn a_refusal_by_status_says_that_nothing_ran() {
    let (peer, session) = answering(|_| Say::Status(401)).await;
    let error = session.call("one", "{}").await.unwrap_err();
    assert_eq!(facts(&error), (CallReason::AuthRequired, Outcome::NotSent));
    assert_eq!(peer.count("tools/call"), 1);

    let (_peer, session) = answering(|_| {
        Say::Head(
            403,
            "www-authenticate",
            r#"Bearer error="insufficient_scope", scope="x""#,
        )
    })
    .await;
    let error = session.call("one", "{}").await.unwrap_err();
    assert_eq!(facts(&error), (CallReason::ScopeStepUp, Outcome::NotSent));

    let (_peer, session) = answering(|_| Say::Head(429, "retry-after", "7")).await;
    let error = session.call("one", "{}").await.unwrap_err();
    assert_eq!(error.reason, CallReason::UpstreamRateLimited);
    assert_eq!(error.retry_after, Some(Duration::from_secs(7)));
}

#[tokio::test]
async fn a_session_lost_with_404_is_healed_and_the_call_runs_once() {
    let (peer, session) = answering(|asked| match asked.before {
        0 => Say::Status(404),
        _ => Say::Result(r#"{"content":[],"n":1}"#.into()),
    })
    .await;
    let result = session.call("one", "{}").await.unwrap();
    assert_eq!(result.json, br#"{"content":[],"n":1}"#.as_slice());
    assert_eq!(peer.count("tools/call"), 2);
    assert_eq!(peer.count("initialize"), 2);
    assert_eq!(session.status().disconnects, 1);
}

#[tokio::test]
async fn a_session_denied_with_400_heals_the_session_and_resends_only_what_is_idempotent() {
    const DENIAL: &str = r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"Bad Request: No valid session ID provided"}}"#;
    for (hint, sent) in [(r#","annotations":{"idempotentHint":true}"#, 2), ("", 1)] {
        let peer = Peer::start(move |asked| match (asked.method.as_str(), asked.before) {
            ("tools/list", _) => Say::Result(format!(
                r#"{{"tools":[{{"name":"one","inputSchema":{{}}{hint}}}]}}"#
            )),
            ("tools/call", 0) => Say::Body400(DENIAL),
            _ => legacy(asked, &[]),
        })
        .await;
        let session = http(peer.url(), quiet());
        session.ready().await;
        let result = session.call("one", "{}").await;
        assert_eq!(result.is_ok(), sent == 2, "{result:?}");
        if let Err(error) = result {
            assert_eq!(
                facts(&error),
                (CallReason::OutcomeUnknown, Outcome::SentUnknown)
            );
        }
        session
            .wait("a new session", |status| status.disconnects == 1)
            .await;
        session.ready().await;
        assert_eq!(peer.count("tools/call"), sent);
        session.call("one", "{}").await.unwrap();
    }
}

#[tokio::test]
async fn what_may_have_run_once_stays_unknown_whatever_the_next_try_proves() {
    const DENIAL: &str = r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"Bad Request: No valid session ID provided"}}"#;
    const ONE: &str = r#"{"name":"one","inputSchema":{},"annotations":{"idempotentHint":true}}"#;
    for stays in [true, false] {
        let peer = Peer::start(move |asked| match (asked.method.as_str(), asked.before) {
            ("tools/list", 1..) if !stays => Say::Result(tools(&["other"])),
            ("tools/list", _) => Say::Result(format!(r#"{{"tools":[{ONE}]}}"#)),
            ("tools/call", 0) => Say::Body400(DENIAL),
            ("tools/call", _) => Say::Status(401),
            _ => legacy(asked, &[]),
        })
        .await;
        let session = http(peer.url(), quiet());
        session.ready().await;
        let error = session.call("one", "{}").await.unwrap_err();
        assert_eq!(
            facts(&error),
            (CallReason::OutcomeUnknown, Outcome::SentUnknown),
            "the tool stays: {stays}"
        );
        assert_eq!(peer.count("tools/call"), if stays { 2 } else { 1 });
    }
}

#[tokio::test]
async fn what_may_have_run_once_stays_unknown_when_the_caller_gives_up_waiting() {
    const DENIAL: &str = r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"Bad Request: No valid session ID provided"}}"#;
    let peer = Peer::start(|asked| match (asked.method.as_str(), asked.before) {
        ("tools/list", _) => Say::Result(
            r#"{"tools":[{"name":"one","inputSchema":{},"annotations":{"readOnlyHint":true}}]}"#
                .into(),
        ),
        ("tools/call", _) => Say::Body400(DENIAL),
        ("initialize", 1..) => Say::Silence,
        _ => legacy(asked, &[]),
    })
    .await;
    let session = http(peer.url(), quiet());
    session.ready().await;
    let cancel = lifecycle::CancellationToken::new();
    let given_up = ToolCall {
        cancel: cancel.clone(),
        ..call("one", "{}")
    };
    let calling = session.handle.call_tool(given_up);
    let giving_up = async {
        crate::harness::eventually("it reconnects", || peer.count("initialize") == 2).await;
        cancel.cancel();
    };
    let (result, ()) = tokio::join!(calling, giving_up);
    assert_eq!(
        facts(&result.unwrap_err()),
        (CallReason::CallCancelled, Outcome::SentUnknown)
    );
}

#[tokio::test]
async fn codes_that_only_the_modern_era_reserves_prove_nothing_elsewhere() {
    for code in [-32020, -32022] {
        let (peer, session) = answering(move |_| Say::Error(code, "")).await;
        let error = session.call("one", "{}").await.unwrap_err();
        assert_eq!(
            facts(&error),
            (CallReason::UpstreamError, Outcome::Completed),
            "{code}"
        );
        assert_eq!(peer.count("tools/call"), 1, "{code}");
        assert_eq!(peer.count("tools/list"), 1, "{code}");
    }
    let peer = Peer::start(|asked| match asked.method.as_str() {
        "tools/call" => Say::Error(-32022, ""),
        _ => modern(asked, &["one"]),
    })
    .await;
    let session = http(peer.url(), quiet());
    session.ready().await;
    let error = session.call("one", "{}").await.unwrap_err();
    assert_eq!(facts(&error), (CallReason::UpstreamError, Outcome::NotSent));
}

#[tokio::test]
async fn a_redirect_that_is_not_followed_is_an_answer_of_a_server_that_was_reached() {
    for target in ["https://elsewhere.example/", "https://169.254.169.254/"] {
        for status in [302, 307] {
            let (peer, session) = answering(move |_| Say::Head(status, "location", target)).await;
            let error = session.call("one", "{}").await.unwrap_err();
            assert_eq!(
                facts(&error),
                (CallReason::UpstreamError, Outcome::Completed),
                "{status} {target}"
            );
            assert_eq!(peer.count("tools/call"), 1);
        }
    }
}

#[tokio::test]
async fn a_call_that_was_only_taken_has_an_unknown_outcome() {
    let (peer, session) = answering(|_| Say::Status(202)).await;
    let error = session.call("one", "{}").await.unwrap_err();
    assert_eq!(
        facts(&error),
        (CallReason::OutcomeUnknown, Outcome::SentUnknown)
    );
    crate::harness::eventually("the server is told", || {
        peer.count("notifications/cancelled") == 1
    })
    .await;
}

#[tokio::test]
async fn a_server_that_loses_every_session_does_not_have_a_call_sent_for_ever() {
    let (peer, session) = answering(|_| Say::Status(404)).await;
    let error = session.call("one", "{}").await.unwrap_err();
    assert_eq!(
        facts(&error),
        (CallReason::ConnectorUnreachable, Outcome::NotSent)
    );
    assert_eq!(peer.count("tools/call"), 3);
}

#[tokio::test]
async fn a_result_over_the_limit_is_completed_and_not_passed_on() {
    let peer = Peer::start(|asked| match asked.method.as_str() {
        "tools/call" => Say::Result(format!(r#"{{"content":[],"x":"{}"}}"#, "x".repeat(2_000))),
        _ => modern(asked, &["one"]),
    })
    .await;
    let mut options = quiet();
    options.call.max_result = 1_000;
    let session = http(peer.url(), options);
    session.ready().await;
    let error = session.call("one", "{}").await.unwrap_err();
    assert_eq!(
        facts(&error),
        (CallReason::ResultTooLarge, Outcome::Completed)
    );
}

#[tokio::test]
async fn a_result_over_the_limit_of_the_wire_is_the_same_to_the_caller() {
    let (_peer, session) = answering(|_| {
        Say::Result(format!(
            r#"{{"content":[],"x":"{}"}}"#,
            "x".repeat(100 << 20)
        ))
    })
    .await;
    let error = session.call("one", "{}").await.unwrap_err();
    assert_eq!(
        facts(&error),
        (CallReason::ResultTooLarge, Outcome::Completed)
    );
}

#[tokio::test]
async fn calls_to_a_stopped_session_fail_at_once() {
    let (_peer, session) = answering(|_| Say::Silence).await;
    session.handle.stop().await;
    let error = session.call("one", "{}").await.unwrap_err();
    assert_eq!(
        facts(&error),
        (CallReason::ConnectorDisabled, Outcome::NotSent)
    );
}

#[tokio::test]
async fn a_stop_ends_running_calls_with_an_unknown_outcome() {
    let (peer, session) = answering(|_| Say::Silence).await;
    let calling = session.call("one", "{}");
    let stopping = async {
        crate::harness::eventually("the call arrived", || peer.count("tools/call") == 1).await;
        session.handle.stop().await;
    };
    let (result, ()) = tokio::join!(calling, stopping);
    assert_eq!(
        facts(&result.unwrap_err()),
        (CallReason::OutcomeUnknown, Outcome::SentUnknown)
    );
}

#[tokio::test]
async fn calls_to_what_cannot_be_connected_fail_at_once_and_say_when_to_come_back() {
    let options = SessionOptions {
        quick_retry: NEVER,
        ..quiet()
    };
    let peer = Peer::start(|_| Say::Status(503)).await;
    let session = http(peer.url(), options);
    session
        .state(runtime_sync::domain::ConnectionState::Unreachable)
        .await;
    let error = session.call("one", "{}").await.unwrap_err();
    assert_eq!(
        facts(&error),
        (CallReason::ConnectorUnreachable, Outcome::NotSent)
    );
    assert!(
        error
            .retry_after
            .is_some_and(|pause| pause > Duration::from_secs(1_000))
    );
}
