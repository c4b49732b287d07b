//! The client's manners: the right channel, the right headers, no trust in peers.

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    task::JoinSet,
};
use tonic::Code;

use crate::{
    service::{GET, WATCH, ask},
    suite::{Suite, client_options, open, soon, unary},
};

#[tokio::test]
async fn a_stream_on_the_channel_for_calls_is_refused_and_the_other_way_round() {
    let suite = Suite::start();
    let channels = suite.channels();
    let status = open(&channels.unary, WATCH, ask("end"))
        .await
        .expect_err("refused");
    assert_eq!(status.code(), Code::Internal);
    let status = unary(&channels.streams, GET, ask("echo"))
        .await
        .expect_err("refused");
    assert_eq!(status.code(), Code::Internal);
    assert_eq!(*suite.state.begun.borrow(), 0);
}

#[tokio::test]
async fn every_call_has_a_timeout_and_streams_have_none_that_nobody_asked_for() {
    let suite = Suite::start();
    let channels = suite.channels();
    unary(&channels.unary, GET, ask("echo"))
        .await
        .expect("answer");
    let timeout = suite.state.headers.borrow()["grpc-timeout"].clone();
    assert!(
        timeout.to_str().expect("text").starts_with("59"),
        "{timeout:?}"
    );
    drop(
        open(&channels.streams, WATCH, ask("end"))
            .await
            .expect("open"),
    );
    assert!(!suite.state.headers.borrow().contains_key("grpc-timeout"));
}

#[tokio::test]
async fn neither_channel_prints_its_token() {
    let suite = Suite::start();
    let printed = format!("{:?}", suite.channels());
    assert!(
        printed.contains("127.0.0.1") && !printed.contains("ada"),
        "{printed}"
    );
}

#[tokio::test]
async fn a_peer_that_speaks_something_else_is_unavailable() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("bound");
    let address = listener.local_addr().expect("address");
    let mut peer = JoinSet::new();
    peer.spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.expect("accepted");
            drop(stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await);
            drop(stream.read(&mut [0; 1024]).await);
        }
    });
    let channels = rpc::client::connect(client_options(address, "ada")).expect("channels");
    let status = soon("an error", unary(&channels.unary, GET, ask("echo"))).await;
    assert_eq!(status.expect_err("not gRPC").code(), Code::Unavailable);
}

#[tokio::test]
async fn error_details_that_are_not_base64_do_no_harm() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("bound");
    let address = listener.local_addr().expect("address");
    let mut peer = JoinSet::new();
    peer.spawn(async move {
        let (stream, _) = listener.accept().await.expect("accepted");
        let mut connection = h2::server::handshake(stream).await.expect("handshake");
        while let Some(Ok((_, mut answer))) = connection.accept().await {
            let head = http::Response::builder()
                .header("content-type", "application/grpc")
                .header("grpc-status", "5")
                .header("grpc-message", "gone")
                .header("grpc-status-details-bin", "!!! not base64 !!!");
            answer
                .send_response(head.body(()).expect("head"), true)
                .expect("sent");
        }
    });
    let channels = rpc::client::connect(client_options(address, "ada")).expect("channels");
    let status = unary(&channels.unary, GET, ask("echo"))
        .await
        .expect_err("gone");
    assert_eq!((status.code(), status.message()), (Code::NotFound, "gone"));
}
