//! The checked way out against real sockets.
#![allow(
    clippy::disallowed_methods,
    reason = "servers of a test live as long as its runtime"
)]

use std::time::Duration;

use egress::{Egress, Error, Timeouts, read_capped};
use policy::{AddressClass, Policy, Refusal, ScopeKind};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

const IDLE: Duration = Duration::from_secs(5);

/// A server that answers the first request on each connection with these bytes and then waits.
async fn serve(answer: &'static [u8]) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let port = listener.local_addr().expect("address").port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                read_head(&mut stream).await;
                if stream.write_all(answer).await.is_ok() {
                    std::future::pending::<()>().await;
                }
            });
        }
    });
    port
}

async fn read_head(stream: &mut TcpStream) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
}

fn egress(policy: Policy) -> Egress {
    let timeouts = Timeouts {
        connect: Duration::from_secs(2),
        ..Timeouts::default()
    };
    Egress::new(policy, timeouts).expect("egress")
}

async fn get(egress: &Egress, url: &str) -> Result<reqwest::Response, Error> {
    egress
        .client(ScopeKind::User)?
        .get(url)
        .send()
        .await
        .map_err(Error::from)
}

#[tokio::test]
async fn a_name_that_resolves_to_a_forbidden_address_is_not_dialled() {
    let port = serve(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let url = format!("http://localhost:{port}/");
    let denied = get(&egress(Policy::default()), &url)
        .await
        .expect_err("denied");
    assert_eq!(
        denied,
        Error::Denied(Refusal::Address(AddressClass::Loopback))
    );
    assert!(denied.is_before_request());
    assert_eq!(
        get(&egress(Policy::local()), &url)
            .await
            .expect("allowed")
            .status(),
        200
    );
}

#[tokio::test]
async fn a_closed_port_is_a_failed_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let port = listener.local_addr().expect("address").port();
    drop(listener);
    let error = get(
        &egress(Policy::local()),
        &format!("http://127.0.0.1:{port}/"),
    )
    .await
    .expect_err("refused");
    assert_eq!(error, Error::Connect);
    assert!(error.is_before_request());
}

#[tokio::test]
async fn a_name_that_does_not_exist_is_a_failed_look_up() {
    let error = get(&egress(Policy::local()), "http://no-such-name.invalid/")
        .await
        .expect_err("no such name");
    assert!(
        matches!(error, Error::Dns | Error::ConnectTimeout),
        "{error:?}"
    );
    assert!(error.is_before_request());
}

#[tokio::test]
async fn a_server_that_speaks_no_tls_is_a_tls_failure() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let port = listener.local_addr().expect("address").port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _answered = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    let error = get(
        &egress(Policy::local()),
        &format!("https://127.0.0.1:{port}/"),
    )
    .await
    .expect_err("no TLS");
    assert_eq!(error, Error::Tls);
}

#[tokio::test]
async fn a_server_that_hangs_up_during_the_handshake_is_a_tls_failure() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let port = listener.local_addr().expect("address").port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut hello = [0; 64];
            let _read = stream.read(&mut hello).await;
        }
    });
    let error = get(
        &egress(Policy::local()),
        &format!("https://127.0.0.1:{port}/"),
    )
    .await
    .expect_err("no TLS");
    assert!(matches!(error, Error::Tls | Error::Connect), "{error:?}");
    assert!(error.is_before_request());
}

#[tokio::test]
async fn a_tls_handshake_that_never_ends_is_a_connect_timeout() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let port = listener.local_addr().expect("address").port();
    let timeouts = Timeouts {
        connect: Duration::from_millis(200),
        ..Timeouts::default()
    };
    let egress = Egress::new(Policy::local(), timeouts).expect("egress");
    let error = get(&egress, &format!("https://127.0.0.1:{port}/"))
        .await
        .expect_err("silence");
    assert_eq!(error, Error::ConnectTimeout);
    drop(listener);
}

#[tokio::test]
async fn a_connection_that_breaks_after_the_request_is_not_before_it() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let port = listener.local_addr().expect("address").port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            read_head(&mut stream).await;
        }
    });
    let error = get(
        &egress(Policy::local()),
        &format!("http://127.0.0.1:{port}/"),
    )
    .await
    .expect_err("hung up");
    assert_eq!(error, Error::Broken);
    assert!(!error.is_before_request());
}

#[tokio::test]
async fn redirects_are_left_to_the_caller() {
    let port =
        serve(b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n")
            .await;
    let response = get(
        &egress(Policy::local()),
        &format!("http://127.0.0.1:{port}/"),
    )
    .await
    .expect("the redirect");
    assert_eq!(response.status(), 302);
}

#[tokio::test]
async fn a_body_over_its_cap_is_refused_announced_or_not() {
    let announced = serve(b"HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n").await;
    let chunked = serve(
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n8\r\n12345678\r\n8\r\n12345678\r\n",
    )
    .await;
    let egress = egress(Policy::local());
    for port in [announced, chunked] {
        let response = get(&egress, &format!("http://127.0.0.1:{port}/"))
            .await
            .expect("a head");
        assert_eq!(read_capped(response, 10, IDLE).await, Err(Error::TooLarge));
    }
}

#[tokio::test]
async fn a_body_that_stops_is_a_timeout_and_a_whole_one_is_read() {
    let stops = serve(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n12345").await;
    let whole = serve(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n12345").await;
    let egress = egress(Policy::local());
    let response = get(&egress, &format!("http://127.0.0.1:{stops}/"))
        .await
        .expect("a head");
    assert_eq!(
        read_capped(response, 10, Duration::from_millis(100)).await,
        Err(Error::Timeout)
    );
    let response = get(&egress, &format!("http://127.0.0.1:{whole}/"))
        .await
        .expect("a head");
    assert_eq!(
        read_capped(response, 10, IDLE).await.as_deref(),
        Ok(b"12345".as_slice())
    );
}
