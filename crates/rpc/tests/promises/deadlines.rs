//! Deadlines: hit with the right code, over the body too, and passed on.

use std::time::Duration;

use futures_util::StreamExt as _;
use rpc::{ServerOptions, error::ErrorView};
use tonic::Code;

use crate::{
    service::{GET, PUT, WATCH, ask},
    suite::{Suite, open, reaches, soon, unary, with_timeout},
    wire::{Wire, status},
};

/// Enough for a stream to begin on a busy machine.
const SHORT: Duration = Duration::from_millis(900);

#[tokio::test]
async fn a_server_answers_deadline_exceeded_and_never_cancelled_and_drops_the_handler() {
    let suite = Suite::start();
    let mut wire = Wire::connect(suite.address()).await;
    for timeout in ["50m", "1n", "60000u"] {
        let answer = wire
            .call(GET, &[("grpc-timeout", timeout)], &ask("hang"))
            .await;
        let (code, headers) = status(answer.expect("answer")).await;
        assert_eq!(code, "4", "{timeout}: {headers:?}");
    }
    reaches(&suite.state.gone, *suite.state.begun.borrow()).await;
}

#[tokio::test]
async fn the_deadline_holds_for_the_body_of_a_stream() {
    let suite = Suite::start();
    let mut wire = Wire::connect(suite.address()).await;
    let answer = wire
        .call(WATCH, &[("grpc-timeout", "900m")], &ask("hang"))
        .await;
    let (code, _) = status(answer.expect("the head comes at once")).await;
    assert_eq!(code, "4");
    reaches(&suite.state.gone, 1).await;
    // A stream that always has something to say ends as well.
    let answer = wire
        .call(WATCH, &[("grpc-timeout", "900m")], &ask("flood"))
        .await;
    let (code, _) = status(answer.expect("the head comes at once")).await;
    assert_eq!(code, "4");
}

#[tokio::test]
async fn the_clients_own_timer_says_deadline_exceeded_too() {
    let suite = Suite::start();
    let channels = suite.channels();
    for path in [GET, PUT] {
        let status = unary(&channels.unary, path, with_timeout(ask("hang"), SHORT)).await;
        let status = status.expect_err("expired");
        assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
        assert_eq!(
            ErrorView::reason_of(&status).as_deref(),
            Some("DEADLINE_EXCEEDED")
        );
    }
    let mut stream = open(&channels.streams, WATCH, with_timeout(ask("hang"), SHORT))
        .await
        .expect("open");
    assert_eq!(
        stream.next().await.expect("some").expect("first").text,
        "first"
    );
    let status = soon("the end", stream.next())
        .await
        .expect("some")
        .expect_err("expired");
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
}

#[tokio::test]
async fn a_peer_that_never_answers_costs_no_more_than_the_deadline() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("bound");
    let address = silent.local_addr().expect("address");
    let options = crate::suite::client_options(address, "ada");
    let channels = rpc::client::connect(options).expect("channels");
    let call = unary(&channels.unary, GET, with_timeout(ask("echo"), SHORT));
    let status = soon("the deadline", call).await.expect_err("expired");
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
}

#[tokio::test]
async fn calls_without_a_timeout_have_one_and_too_long_ones_are_cut() {
    let suite = Suite::with(ServerOptions {
        default_deadline: Duration::from_secs(7),
        max_deadline: Duration::from_secs(70),
        ..ServerOptions::default()
    });
    let mut wire = Wire::connect(suite.address()).await;
    for (timeout, most, limit) in [
        (None, 7, "default"),
        (Some("20S"), 20, "caller"),
        (Some("2H"), 70, "maximum"),
    ] {
        let headers: Vec<_> = timeout
            .map(|timeout| ("grpc-timeout", timeout))
            .into_iter()
            .collect();
        let answer = wire
            .call(GET, &headers, &ask("deadline"))
            .await
            .expect("answer");
        let said = said(answer).await;
        assert_eq!(said.text, limit);
        assert!(
            said.number <= most * 1000 && said.number > most * 1000 - 5_000,
            "{said:?}"
        );
    }
}

async fn said(answer: http::Response<h2::RecvStream>) -> crate::service::Said {
    use prost::Message as _;
    let data = answer
        .into_body()
        .data()
        .await
        .expect("some")
        .expect("data");
    crate::service::Said::decode(&data[5..]).expect("message")
}

#[tokio::test]
async fn a_malformed_timeout_is_refused() {
    let suite = Suite::start();
    let mut wire = Wire::connect(suite.address()).await;
    let answer = wire
        .call(GET, &[("grpc-timeout", "soon")], &ask("echo"))
        .await;
    let (code, _) = status(answer.expect("answer")).await;
    assert_eq!(code, "3");
}

#[tokio::test]
async fn the_next_service_gets_what_is_left_less_a_margin() {
    let next = Suite::start();
    let suite = Suite::before(&next);
    let channels = suite.channels();
    let timeout = Duration::from_secs(8);
    let said = unary(&channels.unary, GET, with_timeout(ask("onward"), timeout)).await;
    let said = said.expect("answer");
    assert_eq!(said.text, "caller");
    assert!(said.number <= 7_950 && said.number > 2_000, "{said:?}");
    // In the stream's polls as well, which happen after the handler has returned.
    let stream = open(
        &channels.streams,
        WATCH,
        with_timeout(ask("onward"), timeout),
    )
    .await;
    let said = stream
        .expect("open")
        .skip(1)
        .next()
        .await
        .expect("some")
        .expect("answer");
    assert!(said.number <= 7_950 && said.number > 2_000, "{said:?}");
}

#[tokio::test]
async fn nothing_is_sent_when_less_than_the_margin_is_left() {
    let next = Suite::start();
    let suite = Suite::before(&next);
    let call = with_timeout(ask("onward"), Duration::from_millis(30));
    let status = unary(&suite.channels().unary, GET, call)
        .await
        .expect_err("expired");
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert_eq!(*next.state.begun.borrow(), 0);
}

#[tokio::test]
async fn a_stream_without_a_timeout_ends_at_its_greatest_age_as_unavailable() {
    let max_stream_age = Duration::from_secs(1);
    let suite = Suite::with(ServerOptions {
        max_stream_age,
        ..ServerOptions::default()
    });
    let mut stream = open(&suite.channels().streams, WATCH, ask("hang"))
        .await
        .expect("open");
    assert_eq!(
        stream.next().await.expect("some").expect("first").text,
        "first"
    );
    let status = soon("the end", stream.next())
        .await
        .expect("some")
        .expect_err("ended");
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(
        ErrorView::reason_of(&status).as_deref(),
        Some("STREAM_EXPIRED")
    );
}
