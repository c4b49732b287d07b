//! Errors: panics and careless statuses tell callers nothing but a trace id.

use bytes::Bytes;
use futures_util::StreamExt as _;
use rpc::error::ErrorView;
use tonic::{Code, Status};

use crate::{
    capture::Capture,
    service::{Ask, GET, PUT, WATCH, ask},
    suite::{Suite, open, unary},
    wire::{Wire, framed, status},
};

fn assert_sealed(status: &Status) {
    assert_eq!(status.code(), Code::Internal, "{status:?}");
    let view = ErrorView::of(status).expect("ours");
    assert_eq!(view.reason, "INTERNAL");
    let trace = &view.metadata["trace_id"];
    assert_eq!(status.message(), format!("internal error, trace {trace}"));
    assert_eq!(view.metadata.len(), 1);
    let everything = format!("{status:?}{}", String::from_utf8_lossy(status.details()));
    assert!(!everything.contains("hunter2"), "{everything}");
}

#[tokio::test]
async fn a_panic_is_internal_with_a_trace_id_and_the_server_goes_on() {
    let suite = Suite::start();
    let channels = suite.channels();
    for path in [GET, PUT] {
        let status = unary(&channels.unary, path, ask("panic"))
            .await
            .expect_err("panicked");
        assert_sealed(&status);
    }
    unary(&channels.unary, GET, ask("echo"))
        .await
        .expect("still there");
}

#[tokio::test]
async fn a_panic_in_a_stream_ends_it_the_same_way() {
    let suite = Suite::start();
    let channels = suite.channels();
    for what in ["panic", "leak"] {
        let mut stream = open(&channels.streams, WATCH, ask(what))
            .await
            .expect("open");
        // What was buffered when it happened may be lost; that it ended, and how, is not.
        let status = loop {
            match stream.next().await.expect("an error ends it") {
                Ok(said) => assert_eq!(said.text, "first"),
                Err(status) => break status,
            }
        };
        assert_sealed(&status);
        assert!(stream.next().await.is_none());
    }
}

#[tokio::test]
async fn internal_statuses_made_elsewhere_do_not_leak() {
    let channels = Suite::start();
    let channels = channels.channels();
    for what in ["leak", "leak unknown"] {
        let status = unary(&channels.unary, GET, ask(what))
            .await
            .expect_err("failed");
        assert_sealed(&status);
    }
}

#[tokio::test]
async fn the_trace_id_is_the_callers() {
    let suite = Suite::start();
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let mut wire = Wire::connect(suite.address()).await;
    let parent = (
        "traceparent",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    );
    let answer = wire
        .call(GET, &[parent], &ask("panic"))
        .await
        .expect("answer");
    let (code, headers) = status(answer).await;
    assert_eq!(code, "13");
    assert!(
        headers["grpc-message"]
            .to_str()
            .expect("text")
            .contains(trace),
        "{headers:?}"
    );
}

#[tokio::test]
async fn a_message_over_four_mebibytes_fails_at_the_side_that_makes_it() {
    let suite = Suite::start();
    let channels = suite.channels();
    let large = |number| Ask {
        number,
        ..ask("large")
    };
    let fits = unary(&channels.unary, GET, large(4 * 1024 * 1024 - 100))
        .await
        .expect("fits");
    assert_eq!(fits.text.len(), 4 * 1024 * 1024 - 100);
    let status = unary(&channels.unary, GET, large(4 * 1024 * 1024))
        .await
        .expect_err("too large");
    assert_eq!(status.code(), Code::OutOfRange, "{status:?}");
}

#[tokio::test]
async fn an_answer_over_four_mebibytes_is_not_read_to_its_end() {
    let suite = Suite::start();
    let channels = suite.channels();
    let mut request = tonic::Request::new(Ask {
        number: 64 * 1024 * 1024,
        ..ask("large")
    });
    request
        .metadata_mut()
        .insert("test-unlimited", "1".parse().expect("text"));
    let status = unary(&channels.unary, GET, request)
        .await
        .expect_err("too large");
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(
        ErrorView::reason_of(&status).as_deref(),
        Some("MESSAGE_TOO_LARGE")
    );
}

#[tokio::test]
async fn a_request_that_is_no_message_is_the_callers_fault_and_no_error_in_our_log() {
    let (capture, _guard) = Capture::start();
    let suite = Suite::start();
    let mut wire = Wire::connect(suite.address()).await;
    let unreadable = [
        // A length that the message does not have, in a message of the right length.
        framed(&[0x0a, 0xff]),
        // A prefix that promises more than there is.
        Bytes::from_static(&[0, 0, 0, 1, 0, 1]),
        // No message at all.
        Bytes::new(),
        // Compressed, in no way that was announced; and a flag that there is not.
        Bytes::from_static(&[1, 0, 0, 0, 0]),
        Bytes::from_static(&[7, 0, 0, 0, 0]),
    ];
    for path in [GET, WATCH] {
        for content in &unreadable {
            let answer = wire.send(path, &[], content.clone()).await;
            let (_, headers) = status(answer.expect("answer")).await;
            let status = Status::from_header_map(&headers).expect("a status");
            assert_eq!(status.code(), Code::InvalidArgument, "{content:?}");
            assert_eq!(status.message(), "the request is not a readable message");
            let reason = ErrorView::reason_of(&status);
            assert_eq!(reason.as_deref(), Some("FIELD_INVALID"), "{content:?}");
        }
    }
    assert_eq!(*suite.state.begun.borrow(), 0, "no handler was reached");
    assert!(capture.errors().is_empty(), "{:?}", capture.errors());
}

#[tokio::test]
async fn a_handler_that_cannot_read_something_else_is_our_fault() {
    let suite = Suite::start();
    let status = unary(&suite.channels().unary, PUT, ask("leak decoding")).await;
    assert_sealed(&status.expect_err("leaked"));
}
