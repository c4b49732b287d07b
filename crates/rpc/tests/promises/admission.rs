//! Overload: refused at once, in separate budgets, and permits last as long as bodies.

use std::time::Duration;

use futures_util::StreamExt as _;
use rpc::{Limits, ServerOptions, error::ErrorView};
use tokio::task::JoinSet;
use tonic::{Code, Status};

use crate::{
    service::{GET, PUT, WATCH, ask},
    suite::{PATIENCE, Suite, open, reaches, soon, unary},
};

pub(crate) fn limited(limits: Limits) -> Suite {
    Suite::with(ServerOptions {
        limits,
        ..ServerOptions::default()
    })
}

pub(crate) fn assert_shed(status: &Status) {
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    let view = ErrorView::of(status).expect("ours");
    assert_eq!(
        (view.reason.as_str(), view.metadata["outcome"].as_str()),
        ("OVERLOADED", "NOT_SENT")
    );
    let wait = view.retry_after.expect("RetryInfo");
    assert!((100..=200).contains(&wait.as_millis()), "{wait:?}");
    assert_eq!(view.quotas.len(), 1);
}

#[tokio::test]
async fn calls_over_the_limit_are_refused_at_once_and_the_admitted_ones_finish() {
    let suite = limited(Limits {
        calls: 2,
        ..Limits::default()
    });
    let channels = suite.channels();
    let mut admitted = JoinSet::new();
    for _ in 0..2 {
        let channel = channels.unary.clone();
        admitted.spawn(async move { unary(&channel, PUT, ask("wait")).await });
    }
    reaches(&suite.state.begun, 2).await;
    for _ in 0..20 {
        let refused = soon("a refusal", unary(&channels.unary, GET, ask("echo"))).await;
        assert_shed(&refused.expect_err("refused"));
    }
    suite.state.release.add_permits(2);
    while let Some(answer) = admitted.join_next().await {
        assert_eq!(answer.expect("no panic").expect("answer").text, "released");
    }
    unary(&channels.unary, GET, ask("echo"))
        .await
        .expect("there is room again");
}

#[tokio::test]
async fn a_stream_keeps_its_permit_until_its_body_is_gone() {
    let suite = limited(Limits {
        streams: 1,
        ..Limits::default()
    });
    let channels = suite.channels();
    let mut first = open(&channels.streams, WATCH, ask("hang"))
        .await
        .expect("open");
    assert!(first.next().await.expect("some").is_ok());
    assert_shed(
        &open(&channels.streams, WATCH, ask("end"))
            .await
            .expect_err("refused"),
    );
    drop(first);
    reaches(&suite.state.gone, 1).await;
    // The permit goes with the body, a moment after the handler's stream.
    let again = async {
        loop {
            match open(&channels.streams, WATCH, ask("end")).await {
                Ok(stream) => return stream,
                Err(status) => assert_shed(&status),
            }
        }
    };
    assert_eq!(soon("a free permit", again).await.count().await, 1);
}

#[tokio::test]
async fn streams_calls_and_health_have_budgets_of_their_own() {
    let suite = limited(Limits {
        calls: 1,
        streams: 1,
        public: 1,
        ..Limits::default()
    });
    let channels = suite.channels();
    let mut stream = open(&channels.streams, WATCH, ask("hang"))
        .await
        .expect("open");
    assert!(stream.next().await.expect("some").is_ok());
    let mut waiting = JoinSet::new();
    let channel = channels.unary.clone();
    waiting.spawn(async move { unary(&channel, PUT, ask("wait")).await });
    reaches(&suite.state.begun, 2).await;
    let health = crate::health::check(&suite, "").await;
    assert!(health.is_ok(), "health is answered under load: {health:?}");
    assert_shed(
        &unary(&channels.unary, GET, ask("echo"))
            .await
            .expect_err("refused"),
    );
    assert_shed(
        &open(&channels.streams, WATCH, ask("end"))
            .await
            .expect_err("refused"),
    );
    suite.state.release.add_permits(1);
    assert!(
        waiting
            .join_next()
            .await
            .expect("one")
            .expect("no panic")
            .is_ok()
    );
}

#[tokio::test]
async fn strangers_who_watch_health_use_up_neither_streams_nor_probes() {
    let suite = limited(Limits {
        streams: 1,
        public_streams: 2,
        ..Limits::default()
    });
    let mut watchers = Vec::new();
    for _ in 0..2 {
        watchers.push(crate::health::watch(&suite, "").await.expect("watching"));
    }
    let third = crate::health::watch(&suite, "").await.expect_err("refused");
    assert_shed(&third);
    assert!(
        open(&suite.channels().streams, WATCH, ask("end"))
            .await
            .is_ok()
    );
    let health = crate::health::check(&suite, "").await;
    assert!(health.is_ok(), "probes are answered meanwhile: {health:?}");
}

#[tokio::test]
async fn a_call_that_is_given_up_gives_its_permit_back() {
    let suite = limited(Limits {
        calls: 1,
        ..Limits::default()
    });
    let channels = suite.channels();
    let timeout = Duration::from_millis(700);
    let call = crate::suite::with_timeout(ask("hang"), timeout);
    assert!(unary(&channels.unary, PUT, call).await.is_err());
    reaches(&suite.state.gone, 1).await;
    let answered = tokio::time::timeout(PATIENCE, async {
        while unary(&channels.unary, GET, ask("echo")).await.is_err() {}
    });
    assert!(answered.await.is_ok());
}

#[tokio::test]
async fn a_full_server_says_so_before_it_looks_at_tokens() {
    let suite = limited(Limits {
        calls: 0,
        ..Limits::default()
    });
    let stranger = suite.channels_of("");
    let refused = unary(&stranger.unary, GET, ask("echo")).await;
    assert_shed(&refused.expect_err("refused"));
}
