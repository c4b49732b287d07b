//! Raw calls over streamable HTTP: what is sent, what comes back, and what is proved when nothing does.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::future::join_all;
use policy::Policy;
use runtime_sync::transport::{
    FailureCode, LinkEnd, RawReply, Sent, Stage, WireError, WireErrorKind, open,
};
use tokio::{io::AsyncReadExt as _, net::TcpListener, sync::Barrier, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{
    http_server::{Reply, Request, Server},
    support::{
        PATIENCE, call, call_for, close, endpoint, link, modern, options, options_with, raw,
        result, within,
    },
};

/// A server with one fixed answer.
async fn fixed(status: u16, headers: &'static str, body: &'static str) -> Server {
    Server::start(move |_, mut reply: Reply| async move {
        reply.status(status, headers, body).await;
        Some(reply)
    })
    .await
}

async fn answer_of(
    server: &Server,
    request: runtime_sync::transport::RawCall,
) -> Result<RawReply, WireError> {
    let link = link(&endpoint(&server.url()), &options()).await;
    let reply = call(&link, request).await;
    close(link).await;
    reply
}

const fn answered(kind: WireErrorKind) -> Result<RawReply, WireError> {
    Err(WireError {
        kind,
        sent: Sent::Answered,
    })
}

const fn not_sent(kind: WireErrorKind) -> Result<RawReply, WireError> {
    Err(WireError {
        kind,
        sent: Sent::NotSent,
    })
}

const fn unknown(kind: WireErrorKind) -> Result<RawReply, WireError> {
    Err(WireError {
        kind,
        sent: Sent::SentUnknown,
    })
}

#[tokio::test]
async fn a_modern_call_carries_its_headers_and_a_result_its_bytes() {
    let mut server = Server::start(|request: Request, mut reply: Reply| async move {
        reply
            .result(&request, r#"{"z":1, "big":12345678901234567890}"#)
            .await;
        Some(reply)
    })
    .await;
    let mut request = modern(r#"{"name":"größe","arguments":{}}"#);
    request.name = Some("größe".to_owned());
    request.param_headers.push((
        "mcp-param-region".parse().expect("a name"),
        "eu".parse().expect("a value"),
    ));
    assert_eq!(
        answer_of(&server, request).await,
        result(r#"{"z":1, "big":12345678901234567890}"#)
    );
    let request = server.next().await;
    assert_eq!(
        (request.method.as_str(), request.path.as_str()),
        ("POST", "/mcp")
    );
    assert_eq!(request.body["params"]["name"], "größe");
    for (name, value) in [
        ("accept", "application/json, text/event-stream"),
        ("content-type", "application/json"),
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-method", "tools/call"),
        ("mcp-name", "=?base64?Z3LDtsOfZQ==?="),
        ("mcp-param-region", "eu"),
        ("x-api-key", "s3cret"),
        ("mcp-session-id", ""),
    ] {
        assert_eq!(request.header(name), value, "{name}");
    }
}

#[tokio::test]
async fn sixty_four_calls_are_in_flight_at_once() {
    let all = Arc::new(Barrier::new(64));
    let server = Server::start(move |request: Request, mut reply: Reply| {
        let all = Arc::clone(&all);
        async move {
            // Nobody is answered before all have come.
            all.wait().await;
            reply
                .result(&request, &request.body["params"].to_string())
                .await;
            Some(reply)
        }
    })
    .await;
    let link = link(&endpoint(&server.url()), &options()).await;
    let calls = (0..64).map(|n| call(&link, modern(&format!("{{\"n\":{n}}}"))));
    for (n, reply) in join_all(calls).await.into_iter().enumerate() {
        assert_eq!(reply, result(&format!("{{\"n\":{n}}}")));
    }
    close(link).await;
}

#[tokio::test]
async fn calls_one_after_the_other_share_a_connection() {
    let connections = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&connections);
    let server = Server::start(move |request: Request, mut reply: Reply| {
        // The handler keeps its connection, so it is called once for each.
        seen.fetch_add(1, Ordering::Relaxed);
        async move {
            // Every second answer is a stream that ends properly.
            let n = request.body["params"]["n"].as_u64().unwrap_or(0);
            let text = format!(r#"{{"jsonrpc":"2.0","id":{},"result":{{}}}}"#, request.id());
            if n.is_multiple_of(2) {
                reply.json(&text).await;
            } else {
                let event = format!("data: {text}\n\n");
                let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
                let whole = format!("{head}{:x}\r\n{event}\r\n0\r\n\r\n", event.len());
                reply.raw(whole.as_bytes()).await;
            }
            while let Some(next) = reply.next_request().await {
                reply.result(&next, "{}").await;
            }
            None
        }
    })
    .await;
    let link = link(&endpoint(&server.url()), &options()).await;
    for n in 0..20 {
        assert_eq!(
            call(&link, modern(&format!("{{\"n\":{n}}}"))).await,
            result("{}")
        );
    }
    let connections = connections.load(Ordering::Relaxed);
    assert!(connections < 10, "{connections} connections for 20 calls");
    close(link).await;
}

#[tokio::test]
async fn nothing_was_sent_when_no_connection_was_made() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let port = listener.local_addr().expect("address").port();
    drop(listener);
    let link = link(&endpoint(&format!("http://127.0.0.1:{port}/")), &options()).await;
    assert_eq!(
        call(&link, raw("{}")).await,
        not_sent(WireErrorKind::ConnectFailed)
    );
    close(link).await;
}

#[tokio::test]
async fn a_deadline_during_the_handshake_proves_that_nothing_was_sent() {
    // It accepts and says nothing: TLS never comes up, so no byte of the call can have left.
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let port = listener.local_addr().expect("address").port();
    let link = link(&endpoint(&format!("https://127.0.0.1:{port}/")), &options()).await;
    let error = call_for(&link, raw("{}"), Duration::from_millis(200)).await;
    assert_eq!(error, not_sent(WireErrorKind::DeadlineExceeded));
    close(link).await;
}

#[tokio::test]
async fn a_connection_cut_after_the_request_leaves_the_outcome_unknown() {
    let server = Server::start(|_, reply: Reply| async move {
        drop(reply);
        None
    })
    .await;
    assert_eq!(
        answer_of(&server, raw("{}")).await,
        unknown(WireErrorKind::Broken)
    );
    let halfway = fixed_raw(
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{",
    )
    .await;
    assert_eq!(
        answer_of(&halfway, raw("{}")).await,
        unknown(WireErrorKind::Broken)
    );
}

async fn fixed_raw(bytes: &'static [u8]) -> Server {
    Server::start(move |_, mut reply: Reply| async move {
        reply.raw(bytes).await;
        None
    })
    .await
}

#[tokio::test]
async fn a_legacy_call_that_is_given_up_is_cancelled_by_a_notification() {
    let mut server = Server::start(|request: Request, mut reply: Reply| async move {
        if request.rpc() == "notifications/cancelled" {
            reply.status(202, "", "").await;
            return Some(reply);
        }
        reply.hung_up().await;
        None
    })
    .await;
    let link = link(&endpoint(&server.url()), &options()).await;
    let error = call_for(&link, raw("{}"), Duration::from_millis(300)).await;
    assert_eq!(error, unknown(WireErrorKind::DeadlineExceeded));
    assert_eq!(server.next().await.rpc(), "tools/call");
    let told = server.next().await;
    assert_eq!(told.rpc(), "notifications/cancelled");
    assert_eq!(told.body["params"]["requestId"], "pb-1");
    close(link).await;
}

#[tokio::test]
async fn a_modern_call_that_is_given_up_hangs_up() {
    let mut server = Server::start(|request: Request, mut reply: Reply| async move {
        if request.rpc() == "hung up" {
            return Some(reply);
        }
        reply.stream("").await;
        reply.hung_up().await;
        None
    })
    .await;
    let link = link(&endpoint(&server.url()), &options()).await;
    let cancel = CancellationToken::new();
    let calling = link
        .calls
        .call(modern("{}"), Instant::now() + PATIENCE, cancel.clone());
    let cancelled = async {
        assert_eq!(server.next().await.rpc(), "tools/call");
        cancel.cancel();
    };
    let (error, ()) = within(async { tokio::join!(calling, cancelled) }).await;
    assert_eq!(error, unknown(WireErrorKind::Cancelled));
    close(link).await;
    assert!(
        server.rest().is_empty(),
        "no notification in the modern era"
    );
}

#[tokio::test]
async fn a_broken_legacy_stream_is_resumed_where_it_broke_and_the_call_is_sent_once() {
    let mut server = Server::start(|request: Request, mut reply: Reply| async move {
        reply.stream("").await;
        if request.method == "POST" {
            reply.raw(b"id: e-1\nretry: 200\ndata: \n\n").await;
        } else {
            reply
                .event(r#"{"jsonrpc":"2.0","id":"pb-1","result":{"resumed":true}}"#)
                .await;
        }
        None
    })
    .await;
    let begun = Instant::now();
    assert_eq!(
        answer_of(&server, raw("{}")).await,
        result(r#"{"resumed":true}"#)
    );
    assert!(
        begun.elapsed() >= Duration::from_millis(200),
        "the server's wait is kept"
    );
    assert_eq!(server.next().await.method, "POST");
    let resumed = server.next().await;
    assert_eq!(
        (resumed.method.as_str(), resumed.header("last-event-id")),
        ("GET", "e-1")
    );
    assert_eq!(resumed.header("x-api-key"), "s3cret");
    assert!(server.rest().is_empty());
}

#[tokio::test]
async fn resuming_has_an_end() {
    let server = Server::start(|_, mut reply: Reply| async move {
        reply.stream("").await;
        reply.raw(b"id: e-1\nretry: 1\ndata: \n\n").await;
        None
    })
    .await;
    assert_eq!(
        answer_of(&server, raw("{}")).await,
        unknown(WireErrorKind::Broken)
    );
}

#[tokio::test]
async fn resuming_has_an_end_even_when_there_always_is_something_new() {
    let mut server = Server::start(|_, mut reply: Reply| async move {
        reply.stream("").await;
        reply.raw(b"id: e-1\nretry: 0\n").await;
        reply
            .event(r#"{"jsonrpc":"2.0","method":"notifications/message"}"#)
            .await;
        None
    })
    .await;
    let mut options = options();
    options.limits.resumes = 1;
    let link = link(&endpoint(&server.url()), &options).await;
    let begun = Instant::now();
    assert_eq!(call(&link, raw("{}")).await, unknown(WireErrorKind::Broken));
    close(link).await;
    let requests = u32::try_from(server.rest().len()).unwrap();
    assert!((3..=21).contains(&requests), "{requests}");
    assert!(
        begun.elapsed() >= Duration::from_millis(100) * (requests - 1),
        "and none of it happens without a pause"
    );
}

#[tokio::test]
async fn a_broken_modern_stream_is_never_resumed() {
    let mut server = Server::start(|_, mut reply: Reply| async move {
        reply.stream("").await;
        reply.raw(b"id: e-1\nretry: 1\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\"}\n\n").await;
        None
    })
    .await;
    assert_eq!(
        answer_of(&server, modern("{}")).await,
        unknown(WireErrorKind::Broken)
    );
    server.next().await;
    assert!(server.rest().is_empty());
}

#[tokio::test]
async fn only_a_redirect_within_the_origin_is_followed() {
    let mut elsewhere = fixed(200, "", "").await;
    let location = format!("location: http://127.0.0.1:{}/x\r\n", elsewhere.port);
    for status in [301, 302, 303, 307, 308] {
        let location = location.clone();
        let server = Server::start(move |_, mut reply: Reply| {
            let location = location.clone();
            async move {
                reply.status(status, &location, "").await;
                Some(reply)
            }
        })
        .await;
        assert_eq!(
            answer_of(&server, raw("{}")).await,
            answered(WireErrorKind::RedirectRefused),
            "{status}"
        );
    }
    assert!(
        elsewhere.rest().is_empty(),
        "the other origin never heard of it"
    );

    let mut moved = Server::start(|request: Request, mut reply: Reply| async move {
        match request.path.as_str() {
            "/mcp" => reply.status(307, "location: /v2\r\n", "").await,
            _ => reply.result(&request, "{}").await,
        }
        Some(reply)
    })
    .await;
    assert_eq!(answer_of(&moved, raw("{}")).await, result("{}"));
    moved.next().await;
    let again = moved.next().await;
    assert_eq!(
        (again.path.as_str(), again.header("x-api-key"), again.rpc()),
        ("/v2", "s3cret", "tools/call")
    );

    let circle = fixed(307, "location: /mcp\r\n", "").await;
    assert_eq!(
        answer_of(&circle, raw("{}")).await,
        answered(WireErrorKind::RedirectRefused)
    );
}

#[tokio::test]
async fn what_the_policy_forbids_is_not_opened() {
    let refused = async |url: &str| {
        let error = within(open(&endpoint(url), &options_with(Policy::default())))
            .await
            .map(drop);
        let error = error.expect_err("refused");
        (error.code, error.stage)
    };
    assert_eq!(
        refused("http://mcp.example.com/").await,
        (FailureCode::PolicyDenied, Stage::Policy)
    );
    assert_eq!(
        refused("https://169.254.169.254/").await,
        (FailureCode::PolicyDenied, Stage::Policy)
    );
    assert_eq!(
        refused("https://localhost/").await,
        (FailureCode::PolicyDenied, Stage::Policy)
    );
    assert_eq!(
        refused("ftp://mcp.example.com/").await,
        (FailureCode::InvalidUrl, Stage::Policy)
    );
    assert_eq!(
        refused("https://user:password@mcp.example.com/").await,
        (FailureCode::InvalidUrl, Stage::Policy)
    );
}

#[tokio::test]
async fn a_closed_link_ends_its_calls_and_takes_no_more() {
    let mut server = Server::start(|_, mut reply: Reply| async move {
        reply.hung_up().await;
        None
    })
    .await;
    let link = link(&endpoint(&server.url()), &options()).await;
    let calls = link.calls.clone();
    let calling = calls.call(
        raw("{}"),
        Instant::now() + PATIENCE,
        CancellationToken::new(),
    );
    let closing = async {
        server.next().await;
        close(link).await
    };
    let (error, end) = within(async { tokio::join!(calling, closing) }).await;
    let closed = WireErrorKind::LinkEnded(LinkEnd::Closed);
    assert_eq!((error, end), (unknown(closed.clone()), LinkEnd::Closed));
    let after = calls
        .call(
            raw("{}"),
            Instant::now() + PATIENCE,
            CancellationToken::new(),
        )
        .await;
    assert_eq!(after, not_sent(closed));
}

#[tokio::test]
async fn a_dropped_link_hangs_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let port = listener.local_addr().expect("address").port();
    let link = link(&endpoint(&format!("http://127.0.0.1:{port}/")), &options()).await;
    let calls = link.calls.clone();
    let calling = calls.call(
        raw("{}"),
        Instant::now() + PATIENCE,
        CancellationToken::new(),
    );
    let dropping = async {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let mut first = [0];
        stream.read_exact(&mut first).await.expect("a request");
        drop(link);
    };
    let (error, ()) = within(async { tokio::join!(calling, dropping) }).await;
    assert_eq!(error, unknown(WireErrorKind::LinkEnded(LinkEnd::Closed)));
}
