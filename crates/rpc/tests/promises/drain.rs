//! The end of a server: in order, and inside its bound whatever clients do.

use std::time::Duration;

use futures_util::StreamExt as _;
use rpc::{ServerOptions, error::ErrorView};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
    time::Instant,
};
use tonic::Code;
use tonic_health::pb::health_check_response::ServingStatus;

use crate::{
    service::{GET, PUT, WATCH, ask},
    suite::{Suite, open, reaches, soon, unary},
};

fn options(drain_timeout: Duration) -> ServerOptions {
    let stream_grace = Duration::from_millis(100);
    ServerOptions {
        drain_timeout,
        stream_grace,
        ..ServerOptions::default()
    }
}

const LONG: Duration = Duration::from_secs(60);

#[tokio::test]
async fn an_open_watch_and_a_silent_connection_do_not_hold_up_the_end() {
    let suite = Suite::with(options(LONG));
    let mut silent = TcpStream::connect(suite.address())
        .await
        .expect("connected");
    let channels = suite.channels();
    let mut stream = open(&channels.streams, WATCH, ask("hang"))
        .await
        .expect("open");
    assert!(stream.next().await.expect("some").is_ok());
    let mut watcher = crate::health::watch(&suite, "").await.expect("watching");
    suite.server.set_ready(true);
    let stopped = soon("the end of the server", suite.server.stop()).await;
    assert!(stopped.is_clean(), "{stopped:?}");
    let mut heard = Vec::new();
    let closed = silent.read_to_end(&mut heard);
    drop(soon("the silent connection to be closed", closed).await);
    let status = stream.next().await.expect("some").expect_err("ended");
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(
        ErrorView::reason_of(&status).as_deref(),
        Some("SHUTTING_DOWN")
    );
    let mut last = None;
    while let Some(Ok(answer)) = watcher.next().await {
        last = Some(answer.status());
    }
    assert_eq!(
        last,
        Some(ServingStatus::NotServing),
        "health said so first"
    );
}

#[tokio::test]
async fn a_stream_may_end_itself_with_a_place_to_resume() {
    let suite = Suite::with(options(LONG));
    let mut stream = open(&suite.channels().streams, WATCH, ask("polite"))
        .await
        .expect("open");
    assert!(stream.next().await.expect("some").is_ok());
    let (stopped, last) = tokio::join!(suite.server.stop(), stream.next());
    assert_eq!(last.expect("some").expect("message").text, "resume here");
    assert!(stream.next().await.is_none(), "ended with OK");
    assert!(stopped.is_clean());
}

#[tokio::test]
async fn a_call_in_flight_may_finish_and_new_connections_are_refused_meanwhile() {
    let suite = Suite::with(options(LONG));
    let (address, channels) = (suite.address(), suite.channels());
    let Suite { server, state } = suite;
    let draining = server.draining();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        unary(&channels.unary, PUT, ask("wait"))
            .await
            .map(|said| said.text)
    });
    reaches(&state.begun, 1).await;
    let mut stopping = JoinSet::new();
    stopping.spawn(server.stop());
    draining.cancelled().await;
    let refused = async { while TcpStream::connect(address).await.is_ok() {} };
    soon("the listener to close", refused).await;
    state.release.add_permits(1);
    let answer = soon("the answer", tasks.join_next())
        .await
        .expect("one")
        .expect("no panic");
    assert_eq!(answer.expect("answered"), "released");
    let stopped = soon("the end", stopping.join_next())
        .await
        .expect("one")
        .expect("no panic");
    assert!(stopped.is_clean(), "{stopped:?}");
}

#[tokio::test]
async fn a_call_that_never_ends_is_cut_at_the_bound() {
    let bound = Duration::from_millis(300);
    let suite = Suite::with(options(bound));
    let (state, channels) = (suite.state.clone(), suite.channels());
    let mut tasks = JoinSet::new();
    tasks.spawn(async move { unary(&channels.unary, PUT, ask("hang")).await });
    reaches(&state.begun, 1).await;
    let began = Instant::now();
    let stopped = soon("the end", suite.server.stop()).await;
    assert!(
        began.elapsed() >= bound,
        "it had its time: {:?}",
        began.elapsed()
    );
    assert!(
        !stopped.is_clean() && stopped.stuck.is_empty(),
        "{stopped:?}"
    );
    reaches(&state.gone, 1).await;
    let status = tasks
        .join_next()
        .await
        .expect("one")
        .expect("no panic")
        .expect_err("cut");
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
}

#[tokio::test]
async fn a_peer_that_began_to_speak_and_fell_silent_is_cut_at_the_bound() {
    let suite = Suite::with(options(Duration::from_millis(300)));
    let mut silent = TcpStream::connect(suite.address())
        .await
        .expect("connected");
    // A whole preface and empty settings, and then no answer to anything.
    let opening = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00";
    silent.write_all(opening).await.expect("written");
    assert!(silent.read(&mut [0; 64]).await.expect("settings") > 0);
    soon("the end", suite.server.stop()).await;
}

#[tokio::test]
async fn dropping_a_server_frees_its_address_and_ends_its_handlers() {
    let suite = Suite::start();
    let (address, channels) = (suite.address(), suite.channels());
    let Suite { server, state } = suite;
    let mut tasks = JoinSet::new();
    let channel = channels.unary.clone();
    tasks.spawn(async move { unary(&channel, PUT, ask("hang")).await });
    reaches(&state.begun, 1).await;
    drop(server);
    reaches(&state.gone, 1).await;
    let status = tasks
        .join_next()
        .await
        .expect("one")
        .expect("no panic")
        .expect_err("cut");
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    let again = soon("the address", async {
        loop {
            if let Ok(listener) = rpc::Listener::bind(address) {
                return listener;
            }
        }
    });
    drop(again.await);
    let status = unary(&channels.unary, GET, ask("echo"))
        .await
        .expect_err("nobody there");
    assert_eq!(status.code(), Code::Unavailable);
}
