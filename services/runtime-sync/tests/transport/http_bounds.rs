//! What an HTTP server cannot do to us.

use std::time::Duration;

use runtime_sync::transport::{RawCall, RawReply, Sent, WireError, WireErrorKind};

use crate::{
    http_server::{Reply, Request, Server},
    support::{call, call_for, close, endpoint, link, modern, options, raw, result},
};

const TOO_LARGE: Result<RawReply, WireError> = Err(WireError {
    kind: WireErrorKind::ResponseTooLarge,
    sent: Sent::Answered,
});

#[tokio::test]
async fn a_hundred_megabytes_fail_their_own_call_announced_or_not() {
    let server = Server::start(|request: Request, mut reply: Reply| async move {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
        match request.body["params"]["how"].as_str() {
            Some("announced") => {
                reply
                    .raw(format!("{head}content-length: 100000000\r\n\r\n").as_bytes())
                    .await;
            }
            Some("chunked") => {
                reply
                    .raw(format!("{head}transfer-encoding: chunked\r\n\r\n").as_bytes())
                    .await;
                let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
                for _ in 0..1600 {
                    if !reply.raw(chunk.as_bytes()).await {
                        return None;
                    }
                }
            }
            Some("event") => {
                reply.stream("").await;
                reply
                    .raw(b"data: {\"jsonrpc\":\"2.0\",\"result\":{\"x\":\"")
                    .await;
                let piece = "x".repeat(0x10000);
                for _ in 0..1600 {
                    if !reply.raw(piece.as_bytes()).await {
                        return None;
                    }
                }
            }
            _ => {
                reply.result(&request, "{}").await;
                return Some(reply);
            }
        }
        reply.hung_up().await;
        None
    })
    .await;
    let link = link(&endpoint(&server.url()), &options()).await;
    for how in ["announced", "chunked", "event"] {
        assert_eq!(
            call(&link, modern(&format!("{{\"how\":\"{how}\"}}"))).await,
            TOO_LARGE,
            "{how}"
        );
    }
    assert_eq!(call(&link, modern("{}")).await, result("{}"));
    close(link).await;
}

#[tokio::test]
async fn an_endless_stream_ends_by_deadline_or_by_size() {
    let server = Server::start(|_, mut reply: Reply| async move {
        reply.stream("").await;
        let noise = r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"x"}}"#;
        while reply.event(noise).await {}
        None
    })
    .await;
    let mut small = options();
    small.limits.message = 64 << 10;
    let limited = link(&endpoint(&server.url()), &small).await;
    assert_eq!(
        call(&limited, modern("{}")).await,
        Err(WireError {
            kind: WireErrorKind::ResponseTooLarge,
            sent: Sent::SentUnknown
        }),
        "nothing was answered"
    );
    close(limited).await;

    let mut patient = options();
    patient.limits.message = 1 << 40;
    let patient = link(&endpoint(&server.url()), &patient).await;
    let error = call_for(&patient, modern("{}"), Duration::from_millis(300)).await;
    assert_eq!(
        error,
        Err(WireError {
            kind: WireErrorKind::DeadlineExceeded,
            sent: Sent::SentUnknown
        })
    );
    close(patient).await;
}

#[tokio::test]
async fn a_server_that_never_answers_ends_the_call_at_its_deadline() {
    let server = Server::start(|request: Request, mut reply: Reply| async move {
        if request.body["params"]["silent"] == true {
            reply.hung_up().await;
            return None;
        }
        reply.result(&request, "{}").await;
        Some(reply)
    })
    .await;
    let link = link(&endpoint(&server.url()), &options()).await;
    let (silent, other) = tokio::join!(
        call_for(
            &link,
            modern("{\"silent\":true}"),
            Duration::from_millis(300)
        ),
        call(&link, modern("{}")),
    );
    assert_eq!(
        silent,
        Err(WireError {
            kind: WireErrorKind::DeadlineExceeded,
            sent: Sent::SentUnknown
        })
    );
    assert_eq!(other, result("{}"), "others are not delayed");
    close(link).await;
}

#[tokio::test]
async fn a_body_that_stops_halfway_ends_the_call() {
    let server = Server::start(|_, mut reply: Reply| async move {
        reply.raw(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{").await;
        reply.hung_up().await;
        None
    })
    .await;
    let mut options = options();
    options.limits.idle = Duration::from_millis(200);
    let link = link(&endpoint(&server.url()), &options).await;
    let error = call(&link, modern("{}")).await;
    assert_eq!(
        error,
        Err(WireError {
            kind: WireErrorKind::TimedOut,
            sent: Sent::SentUnknown
        })
    );
    close(link).await;
}

#[tokio::test]
async fn garbage_in_a_stream_is_dropped_and_the_answer_found() {
    let server = Server::start(|_, mut reply: Reply| async move {
        reply.stream("").await;
        for data in [
            "hello",
            "{",
            "[1]",
            r#"{"jsonrpc":"2.0","id":"pb-77","result":{}}"#,
        ] {
            reply.event(data).await;
        }
        reply
            .event(r#"{"jsonrpc":"2.0","id":"pb-1","result":{"n":1}}"#)
            .await;
        reply.hung_up().await;
        None
    })
    .await;
    let link = link(&endpoint(&server.url()), &options()).await;
    assert_eq!(call(&link, raw("{}")).await, result("{\"n\":1}"));
    assert!(link.control.dropped_messages() >= 2);
    close(link).await;
}

#[tokio::test]
async fn what_speaks_no_http_is_a_broken_connection() {
    let server = Server::start(|_, mut reply: Reply| async move {
        reply.raw(b"SSH-2.0-OpenSSH_9.0\r\n\r\n").await;
        None
    })
    .await;
    let link = link(&endpoint(&server.url()), &options()).await;
    let error = call(&link, raw("{}")).await;
    assert_eq!(
        error,
        Err(WireError {
            kind: WireErrorKind::Broken,
            sent: Sent::SentUnknown
        })
    );
    close(link).await;
}

#[tokio::test]
async fn a_notice_that_is_too_large_says_nothing_of_the_call_and_the_server_is_told() {
    let mut server = Server::start(|request: Request, mut reply: Reply| async move {
        if request.rpc() != "tools/call" {
            reply.status(202, "", "").await;
            return Some(reply);
        }
        reply.stream("").await;
        reply
            .raw(
                b"data: {\"jsonrpc\":\"2.0\",\"method\":\"x\",\"params\":{\"id\":\"pb-1\",\"x\":\"",
            )
            .await;
        while reply.raw("x".repeat(0x10000).as_bytes()).await {}
        None
    })
    .await;
    let mut small = options();
    small.limits.message = 64 << 10;
    let link = link(&endpoint(&server.url()), &small).await;
    assert_eq!(
        call(&link, raw("{}")).await,
        Err(WireError {
            kind: WireErrorKind::ResponseTooLarge,
            sent: Sent::SentUnknown
        })
    );
    assert_eq!(server.next().await.rpc(), "tools/call");
    assert_eq!(server.next().await.rpc(), "notifications/cancelled");
    close(link).await;
}

#[tokio::test]
async fn no_more_is_read_of_a_reply_than_is_of_use() {
    let server = Server::start(|request: Request, mut reply: Reply| async move {
        let result = format!("\"{}\"", "x".repeat(2_000));
        if request.body["params"]["how"] == "event" {
            reply.stream("").await;
            reply
                .event(&format!(
                    r#"{{"jsonrpc":"2.0","id":{},"result":{result}}}"#,
                    request.id()
                ))
                .await;
            return None;
        }
        reply.result(&request, &result).await;
        Some(reply)
    })
    .await;
    let link = link(&endpoint(&server.url()), &options()).await;
    for how in ["event", "body"] {
        let request = RawCall {
            max_reply: 1_000,
            ..modern(&format!("{{\"how\":\"{how}\"}}"))
        };
        assert_eq!(call(&link, request).await, TOO_LARGE, "{how}");
    }
    assert!(call(&link, modern("{}")).await.is_ok());
    close(link).await;
}
