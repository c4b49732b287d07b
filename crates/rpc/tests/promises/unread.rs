//! Answers that nobody reads: they cost their deadline, and no more than a window of memory after it.

use std::time::Duration;

use rpc::{Limits, ServerOptions};

use crate::{
    admission::{assert_shed, limited},
    service::{Ask, GET, WATCH, ask},
    suite::{Suite, open, reaches, soon, unary},
    wire::Wire,
};

fn large(bytes: u64) -> Ask {
    Ask {
        number: bytes,
        ..ask("large")
    }
}

#[tokio::test]
async fn a_stream_that_nobody_reads_is_reset_after_its_deadline_and_gives_its_permit_back() {
    let suite = limited(Limits {
        streams: 1,
        ..Limits::default()
    });
    let mut wire = Wire::connect(suite.address()).await;
    let timeout = [("grpc-timeout", "900m")];
    let unread = wire.call(WATCH, &timeout, &ask("flood")).await;
    let mut body = unread.expect("the head comes at once").into_body();
    reaches(&suite.state.gone, 1).await;
    let channels = suite.channels();
    let again = async {
        loop {
            match open(&channels.streams, WATCH, ask("end")).await {
                Ok(stream) => return stream,
                Err(status) => assert_shed(&status),
            }
        }
    };
    soon("a free permit", again).await;
    let reset = async {
        loop {
            match body.data().await.expect("no regular end") {
                Ok(_) => {}
                Err(error) => return error,
            }
        }
    };
    let error = soon("the reset", reset).await;
    assert_eq!(error.reason(), Some(h2::Reason::CANCEL), "{error}");
}

#[tokio::test]
async fn a_large_answer_holds_its_permit_until_it_is_read_or_too_late() {
    let suite = limited(Limits {
        calls: 1,
        ..Limits::default()
    });
    let channels = suite.channels();
    let mut wire = Wire::connect(suite.address()).await;
    let again = async || while unary(&channels.unary, GET, ask("echo")).await.is_err() {};
    let unread = wire.call(GET, &[], &large(1024 * 1024)).await;
    let unread = unread.expect("the head comes at once");
    let refused = unary(&channels.unary, GET, ask("echo")).await;
    assert_shed(&refused.expect_err("the answer is still here"));
    drop(unread);
    soon("the permit of an answer given up", again()).await;
    let timeout = [("grpc-timeout", "900m")];
    let unread = wire.call(GET, &timeout, &large(1024 * 1024)).await;
    soon("the permit of an answer too late", again()).await;
    drop(unread);
}

fn draining() -> ServerOptions {
    ServerOptions {
        drain_timeout: Duration::from_secs(60),
        stream_grace: Duration::from_millis(100),
        ..ServerOptions::default()
    }
}

#[tokio::test]
async fn a_stream_that_nobody_reads_does_not_hold_up_the_end() {
    let suite = Suite::with(draining());
    let mut wire = Wire::connect(suite.address()).await;
    let unread = wire.call(WATCH, &[], &ask("flood")).await;
    reaches(&suite.state.begun, 1).await;
    let stopped = soon("the end of the server", suite.server.stop()).await;
    assert!(stopped.is_clean(), "{stopped:?}");
    drop(unread);
}

#[tokio::test]
async fn the_last_bytes_of_an_answer_that_nobody_reads_do_not_hold_up_the_end() {
    let suite = Suite::with(draining());
    let mut wire = Wire::with_window(suite.address(), 1_000).await;
    // Handed over whole: the server's part is done, and half of it waits for the window.
    let unread = wire.call(GET, &[], &large(2_000)).await;
    let stopped = soon("the end of the server", suite.server.stop()).await;
    assert!(stopped.is_clean(), "{stopped:?}");
    drop(unread);
}
