//! Retries: of UNAVAILABLE, for idempotent methods, inside the deadline and a budget.

use std::{sync::atomic::Ordering, time::Duration};

use rpc::ServerOptions;
use tokio::time::Instant;
use tonic::Code;

use crate::{
    service::{Ask, GET, PUT, ask},
    suite::{Suite, client_options, soon, unary, with_timeout},
};

fn failing(what: &str, times: u64) -> Ask {
    Ask {
        number: times,
        ..ask(what)
    }
}

fn tries(suite: &Suite) -> usize {
    suite.state.tries.load(Ordering::SeqCst)
}

#[tokio::test]
async fn an_idempotent_call_is_tried_three_times_and_says_so() {
    let suite = Suite::start();
    let said = unary(&suite.channels().unary, GET, failing("unavailable", 2)).await;
    assert_eq!(said.expect("the third try").number, 3);
    let headers = suite.state.headers.borrow().clone();
    assert_eq!(headers["grpc-previous-rpc-attempts"], "2");
}

#[tokio::test]
async fn three_tries_are_all_there_are() {
    let suite = Suite::start();
    let status = unary(&suite.channels().unary, GET, failing("unavailable", 100)).await;
    assert_eq!(status.expect_err("given up").code(), Code::Unavailable);
    assert_eq!(tries(&suite), 3);
}

#[tokio::test]
async fn what_is_not_idempotent_is_sent_once() {
    let suite = Suite::start();
    let status = unary(&suite.channels().unary, PUT, failing("unavailable", 1)).await;
    assert_eq!(status.expect_err("no second try").code(), Code::Unavailable);
    assert_eq!(tries(&suite), 1);
}

#[tokio::test]
async fn no_other_code_is_retried() {
    let suite = Suite::start();
    let channels = suite.channels();
    for (what, code) in [
        ("exhausted", Code::ResourceExhausted),
        ("leak", Code::Internal),
    ] {
        let before = tries(&suite);
        let status = unary(&channels.unary, GET, ask(what))
            .await
            .expect_err("failed");
        assert_eq!((status.code(), tries(&suite) - before), (code, 1));
    }
}

#[tokio::test]
async fn the_servers_wish_to_wait_is_granted() {
    let suite = Suite::start();
    let began = Instant::now();
    let said = unary(
        &suite.channels().unary,
        GET,
        failing("unavailable, later", 1),
    )
    .await;
    assert_eq!(said.expect("the second try").number, 2);
    assert!(
        began.elapsed() >= Duration::from_millis(300),
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test]
async fn a_negative_pushback_means_never() {
    let suite = Suite::start();
    let status = unary(&suite.channels().unary, GET, ask("pushback"))
        .await
        .expect_err("failed");
    assert_eq!((status.code(), tries(&suite)), (Code::Unavailable, 1));
}

#[tokio::test]
async fn nothing_is_tried_past_the_deadline() {
    let suite = Suite::start();
    let call = with_timeout(ask("unavailable, much later"), Duration::from_secs(30));
    let answer = soon(
        "the answer, at once",
        unary(&suite.channels().unary, GET, call),
    )
    .await;
    assert_eq!(answer.expect_err("no time").code(), Code::Unavailable);
    assert_eq!(tries(&suite), 1);
}

#[tokio::test]
async fn a_peer_that_fails_most_of_the_time_is_not_asked_more_often_for_it() {
    let suite = Suite::start();
    let channels = suite.channels();
    for _ in 0..20 {
        let failed = unary(&channels.unary, GET, failing("unavailable", u64::MAX)).await;
        assert!(failed.is_err());
    }
    // 20 calls and at most 4 retries: the budget is ten tokens, of which five have to be left.
    assert!(
        (21..=24).contains(&tries(&suite)),
        "{} tries",
        tries(&suite)
    );
}

#[tokio::test]
async fn a_dead_peer_is_unavailable_soon_and_found_again_when_it_is_back() {
    let suite = Suite::start();
    let (address, channels) = (suite.address(), suite.channels());
    unary(&channels.unary, GET, ask("echo"))
        .await
        .expect("alive");
    suite.server.stop().await;
    let status = soon("three refusals", unary(&channels.unary, GET, ask("echo"))).await;
    let status = status.expect_err("dead");
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    let view = rpc::error::ErrorView::of(&status).expect("ours");
    assert_eq!(view.reason, "PEER_UNAVAILABLE");
    assert_eq!(view.metadata["outcome"], "NOT_SENT", "{status:?}");
    let again = Suite::at(address, ServerOptions::default(), None);
    unary(&channels.unary, GET, ask("echo"))
        .await
        .expect("alive again");
    drop(again);
}

#[tokio::test]
async fn a_peer_may_come_up_after_its_client() {
    let listener = rpc::Listener::bind("127.0.0.1:0".parse().expect("address")).expect("bound");
    let address = listener.address();
    let channels = rpc::client::connect(client_options(address, "ada")).expect("channels");
    drop(listener);
    assert!(unary(&channels.unary, PUT, ask("echo")).await.is_err());
    let suite = Suite::at(address, ServerOptions::default(), None);
    unary(&channels.unary, PUT, ask("echo")).await.expect("up");
    drop(suite);
}
