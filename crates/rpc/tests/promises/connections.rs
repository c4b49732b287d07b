//! Connections: limited, kept alive, aged, and guarded against abuse.

use std::{sync::atomic::Ordering, time::Duration};

use futures_util::StreamExt as _;
use rpc::{Limits, ServerOptions};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
};
use tonic::Code;

use crate::{
    service::{Ask, GET, PUT, WATCH, ask},
    suite::{Suite, client_options, open, reaches, soon, unary},
    wire::{Wire, status},
};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const EMPTY_SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];

#[tokio::test]
async fn streams_per_connection_are_limited() {
    let limits = Limits {
        per_connection: 7,
        ..Limits::default()
    };
    let suite = Suite::with(ServerOptions {
        limits,
        ..ServerOptions::default()
    });
    let stream = TcpStream::connect(suite.address())
        .await
        .expect("connected");
    let (sender, mut connection) = h2::client::handshake(stream).await.expect("handshake");
    let sender: h2::client::SendRequest<bytes::Bytes> = sender;
    // Until the server's settings have come there is no limit.
    let limited = std::future::poll_fn(|cx| {
        let _pending = std::pin::Pin::new(&mut connection).poll(cx);
        match sender.current_max_send_streams() {
            7 => std::task::Poll::Ready(()),
            _ => std::task::Poll::Pending,
        }
    });
    soon("the server's settings", limited).await;
}

#[tokio::test]
async fn a_peer_that_makes_the_server_reset_streams_for_ever_is_sent_away() {
    let suite = Suite::start();
    let mut peer = TcpStream::connect(suite.address())
        .await
        .expect("connected");
    let mut bytes = [PREFACE, EMPTY_SETTINGS].concat();
    for stream in 0..3_000_u32 {
        // A request with a method and no path: malformed, so the server resets the stream.
        bytes.extend_from_slice(&[0, 0, 1, 1, 5]);
        bytes.extend_from_slice(&(stream * 2 + 1).to_be_bytes());
        bytes.push(0x82);
    }
    let (mut reader, mut writer) = peer.split();
    // The server stops reading when it has had enough, so writing may fail.
    let writing = async { drop(writer.write_all(&bytes).await) };
    let reading = goaway(&mut reader);
    let (code, ()) = soon("GOAWAY", async { tokio::join!(reading, writing) }).await;
    assert_eq!(code, Some(11), "ENHANCE_YOUR_CALM");
}

/// The error code of the GOAWAY frame that ends a connection.
async fn goaway(reader: &mut (impl tokio::io::AsyncRead + Unpin)) -> Option<u32> {
    loop {
        let mut head = [0; 9];
        reader.read_exact(&mut head).await.ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(length).ok()?];
        reader.read_exact(&mut payload).await.ok()?;
        if head[3] == 7 {
            return Some(u32::from_be_bytes(payload[4..8].try_into().ok()?));
        }
    }
}

#[tokio::test]
async fn connections_over_the_limit_are_closed_at_once() {
    let limits = Limits {
        connections: 1,
        ..Limits::default()
    };
    let suite = Suite::with(ServerOptions {
        limits,
        ..ServerOptions::default()
    });
    let mut first = Wire::connect(suite.address()).await;
    let (code, _) = status(first.call(GET, &[], &ask("echo")).await.expect("answer")).await;
    assert_eq!(code, "0");
    let mut second = TcpStream::connect(suite.address())
        .await
        .expect("the kernel accepts");
    let closed = soon("the close", second.read(&mut [0; 64])).await;
    assert_eq!(closed.unwrap_or(0), 0);
    drop(first);
    let again = async {
        loop {
            let mut next = TcpStream::connect(suite.address())
                .await
                .expect("connected");
            let said = next.write_all(&[PREFACE, EMPTY_SETTINGS].concat()).await;
            if said.is_ok() && next.read(&mut [0; 64]).await.unwrap_or(0) > 0 {
                return;
            }
        }
    };
    soon("room for a connection", again).await;
}

#[tokio::test]
async fn a_connection_that_says_nothing_or_only_half_of_hello_is_closed() {
    let handshake_timeout = Duration::from_secs(1);
    let suite = Suite::with(ServerOptions {
        handshake_timeout,
        ..ServerOptions::default()
    });
    for said in [&b""[..], &PREFACE[..10]] {
        let mut peer = TcpStream::connect(suite.address())
            .await
            .expect("connected");
        peer.write_all(said).await.expect("written");
        let mut rest = Vec::new();
        // Closed or reset; either way it ends.
        let ended = soon("the close", peer.read_to_end(&mut rest)).await;
        assert!(
            ended.is_ok() || ended.is_err_and(|e| e.kind() == std::io::ErrorKind::ConnectionReset)
        );
    }
    unary(&suite.channels().unary, GET, ask("echo"))
        .await
        .expect("others are served");
}

#[tokio::test]
async fn a_server_gives_up_a_frozen_client() {
    let suite = Suite::with(ServerOptions {
        keepalive_interval: Duration::from_millis(100),
        keepalive_timeout: Duration::from_millis(100),
        ..ServerOptions::default()
    });
    let mut frozen = TcpStream::connect(suite.address())
        .await
        .expect("connected");
    frozen
        .write_all(&[PREFACE, EMPTY_SETTINGS].concat())
        .await
        .expect("written");
    let mut heard = Vec::new();
    // It reads, but answers no ping.
    let ended = soon("the end of the connection", frozen.read_to_end(&mut heard)).await;
    assert!(ended.is_ok() || ended.is_err_and(|e| e.kind() == std::io::ErrorKind::ConnectionReset));
    assert!(
        heard.windows(5).any(|frame| frame == [0, 0, 8, 6, 0]),
        "it was pinged: {heard:?}"
    );
}

#[tokio::test]
async fn a_client_gives_up_a_frozen_server() {
    let frozen = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("bound");
    let options = rpc::client::ClientOptions {
        keepalive_interval: Duration::from_millis(100),
        keepalive_timeout: Duration::from_millis(100),
        ..client_options(frozen.local_addr().expect("address"), "ada")
    };
    let channels = rpc::client::connect(options).expect("channels");
    let mut accepted = JoinSet::new();
    accepted.spawn(async move {
        let (mut stream, _) = frozen.accept().await.expect("accepted");
        // Says hello, so that the connection stands, and then nothing more.
        stream.write_all(EMPTY_SETTINGS).await.expect("written");
        std::future::pending::<()>().await;
        drop(stream);
    });
    let status = soon("keepalive", open(&channels.streams, WATCH, ask("hang"))).await;
    let status = status.expect_err("given up");
    assert_eq!(
        status.code(),
        Code::Unavailable,
        "never UNKNOWN: {status:?}"
    );
}

#[tokio::test]
async fn an_old_connection_is_told_to_go_and_its_calls_may_finish() {
    let max_connection_age = Duration::from_secs(1);
    let suite = Suite::with(ServerOptions {
        max_connection_age,
        ..ServerOptions::default()
    });
    let mut wire = Wire::connect(suite.address()).await;
    let mut other = wire.share();
    let mut in_flight = JoinSet::new();
    in_flight.spawn(async move {
        let answer = wire.call(PUT, &[], &ask("wait")).await.expect("answer");
        (status(answer).await.0, wire)
    });
    reaches(&suite.state.begun, 1).await;
    // Calls go through until GOAWAY has come.
    let told = async { while other.call(GET, &[], &ask("echo")).await.is_ok() {} };
    soon("GOAWAY", told).await;
    suite.state.release.add_permits(1);
    let answered = soon("the call in flight", in_flight.join_next())
        .await
        .expect("one");
    let (code, mut wire) = answered.expect("no panic");
    assert_eq!(code, "0");
    let ended = soon("the connection's end", wire.driver.join_next())
        .await
        .expect("one");
    assert!(ended.expect("no panic").is_ok(), "ended in order");
    // A client of ours does not notice.
    unary(&suite.channels().unary, PUT, ask("echo"))
        .await
        .expect("a new connection");
}

#[tokio::test]
async fn unread_streams_do_not_hold_up_calls_or_one_another() {
    let suite = Suite::start();
    let channels = suite.channels();
    let mut unread = Vec::new();
    for _ in 0..32 {
        let mut stream = open(&channels.streams, WATCH, ask("flood"))
            .await
            .expect("open");
        assert!(stream.next().await.expect("some").is_ok());
        unread.push(stream);
    }
    let call = unary(&channels.unary, GET, ask("echo"));
    soon("a call beside unread streams", call)
        .await
        .expect("answer");
    let one_more = async {
        let stream = open(&channels.streams, WATCH, ask("end"))
            .await
            .expect("open");
        stream.count().await
    };
    assert_eq!(soon("a stream beside unread streams", one_more).await, 1);
}

#[tokio::test]
async fn watchers_cost_the_server_little_when_they_are_idle() {
    let suite = Suite::start();
    let channels = suite.channels();
    let mut watchers = Vec::new();
    for _ in 0..400 {
        let mut stream = open(&channels.streams, WATCH, ask("hang"))
            .await
            .expect("open");
        assert!(stream.next().await.expect("some").is_ok());
        watchers.push(stream);
    }
    unary(&channels.unary, GET, ask("echo"))
        .await
        .expect("answer");
    drop(watchers);
    reaches(&suite.state.gone, 400).await;
}

#[tokio::test]
async fn what_nobody_reads_is_not_made() {
    let suite = Suite::start();
    let mut wire = Wire::connect(suite.address()).await;
    let mut unread = Vec::new();
    for _ in 0..20 {
        let answer = wire.call(WATCH, &[], &ask("flood")).await;
        unread.push(answer.expect("the head comes at once"));
    }
    let channels = suite.channels();
    for _ in 0..200 {
        unary(&channels.unary, GET, ask("echo"))
            .await
            .expect("answer");
    }
    let bytes = suite.state.made.load(Ordering::SeqCst) * 64 * 1024;
    assert!(
        bytes < 20 * 1024 * 1024,
        "{bytes} bytes were made for 20 clients that do not read"
    );
}

#[tokio::test]
async fn a_request_over_four_mebibytes_is_refused() {
    let suite = Suite::start();
    let mut wire = Wire::connect(suite.address()).await;
    let large = Ask {
        what: "x".repeat(5 * 1024 * 1024),
        ..ask("")
    };
    let (code, _) = status(wire.call(GET, &[], &large).await.expect("answer")).await;
    assert_eq!(code, "11", "OUT_OF_RANGE");
    let refused = unary(&suite.channels().unary, GET, large)
        .await
        .expect_err("refused");
    let view = rpc::error::ErrorView::of(&refused).expect("ours");
    assert_eq!(
        (view.reason.as_str(), view.metadata["outcome"].as_str()),
        ("MESSAGE_TOO_LARGE", "NOT_SENT")
    );
}

#[tokio::test]
async fn headers_over_sixteen_kibibytes_are_refused_and_the_connection_lives() {
    let suite = Suite::start();
    let mut wire = Wire::connect(suite.address()).await;
    let large: &'static str = "x".repeat(20 * 1024).leak();
    let refused = wire.call(GET, &[("large", large)], &ask("echo")).await;
    let served = refused.is_ok_and(|answer| answer.status().is_success());
    assert!(!served);
    assert_eq!(*suite.state.begun.borrow(), 0, "no handler was reached");
    let (code, _) = status(wire.call(GET, &[], &ask("echo")).await.expect("answer")).await;
    assert_eq!(code, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_thousands_of_calls_every_permit_is_back() {
    let limits = Limits {
        calls: 64,
        streams: 64,
        ..Limits::default()
    };
    let suite = Suite::with(ServerOptions {
        limits,
        ..ServerOptions::default()
    });
    let channels = suite.channels();
    let mut callers = JoinSet::new();
    for _ in 0..32 {
        let channels = channels.clone();
        callers.spawn(async move {
            for _ in 0..50 {
                unary(&channels.unary, GET, ask("echo"))
                    .await
                    .expect("answer");
                let stream = open(&channels.streams, WATCH, ask("hang"))
                    .await
                    .expect("open");
                drop(stream);
            }
        });
    }
    while let Some(done) = callers.join_next().await {
        done.expect("no caller failed");
    }
    reaches(&suite.state.gone, 32 * 50 * 2).await;
    assert!(soon("the end", suite.server.stop()).await.is_clean());
}

#[tokio::test]
async fn nothing_is_compressed_so_that_lengths_tell_nothing_about_secrets() {
    let suite = Suite::start();
    let mut wire = Wire::connect(suite.address()).await;
    let asked = [("grpc-accept-encoding", "gzip,deflate,zstd")];
    let answer = wire.call(GET, &asked, &ask("echo")).await.expect("answer");
    assert!(
        !answer.headers().contains_key("grpc-encoding"),
        "{:?}",
        answer.headers()
    );
    let sent = wire
        .call(GET, &[("grpc-encoding", "gzip")], &ask("echo"))
        .await
        .expect("answer");
    assert_eq!(status(sent).await.0, "12", "UNIMPLEMENTED");
}
