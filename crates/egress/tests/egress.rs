//! The checked way out against real sockets.

use std::{future::Future, time::Duration};

use egress::{Egress, Error, Timeouts, read_capped};
use policy::{AddressClass, Policy, Refusal, ScopeKind};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

const IDLE: Duration = Duration::from_secs(5);

/// A server on a port of its own; dropping it ends it and its connections.
struct Server {
    port: u16,
    _tasks: JoinSet<()>,
}

impl Server {
    /// Treats every connection so; the connection is closed when `treat` is done.
    async fn start<F, R>(treat: F) -> Self
    where
        F: Fn(TcpStream) -> R + Send + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let port = listener.local_addr().expect("address").port();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(treat(stream));
            }
        });
        Self {
            port,
            _tasks: tasks,
        }
    }

    /// Answers each request with these bytes and then waits.
    async fn fixed(answer: &'static [u8]) -> Self {
        Self::start(move |mut stream| async move {
            read_head(&mut stream).await;
            if stream.write_all(answer).await.is_ok() {
                std::future::pending::<()>().await;
            }
        })
        .await
    }

    fn http(&self) -> String {
        format!("http://127.0.0.1:{}/", self.port)
    }

    fn https(&self) -> String {
        format!("https://127.0.0.1:{}/", self.port)
    }
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

async fn failure(url: &str) -> Error {
    get(&egress(Policy::local()), url)
        .await
        .expect_err("a failure")
}

#[tokio::test]
async fn a_name_that_resolves_to_a_forbidden_address_is_not_dialled() {
    let server = Server::fixed(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let url = format!("http://localhost:{}/", server.port);
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
async fn a_literal_is_judged_before_it_is_used() {
    let url = "https://[::ffff:127.0.0.1]/".parse().expect("a URL");
    let loopback = Error::Denied(Refusal::Address(AddressClass::Loopback));
    assert_eq!(
        egress(Policy::default()).check(ScopeKind::User, &url),
        Err(loopback)
    );
    assert!(egress(Policy::local()).check(ScopeKind::User, &url).is_ok());
}

#[tokio::test]
async fn a_closed_port_is_a_failed_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let port = listener.local_addr().expect("address").port();
    drop(listener);
    let error = failure(&format!("http://127.0.0.1:{port}/")).await;
    assert_eq!(error, Error::Connect);
    assert!(error.is_before_request());
}

#[tokio::test]
async fn a_name_that_does_not_exist_is_a_failed_look_up() {
    let error = failure("http://no-such-name.invalid/").await;
    // Without a name service nobody can say that the name does not exist.
    assert!(
        matches!(error, Error::Dns | Error::ConnectTimeout),
        "{error:?}"
    );
    assert!(error.is_before_request());
}

#[tokio::test]
async fn a_server_that_speaks_no_tls_is_a_tls_failure() {
    let server = Server::start(|mut stream| async move {
        let _answered = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        std::future::pending::<()>().await;
    })
    .await;
    assert_eq!(failure(&server.https()).await, Error::Tls);
}

#[tokio::test]
async fn a_server_that_hangs_up_during_the_handshake_is_a_tls_failure() {
    let server = Server::start(|mut stream| async move {
        // All of the hello is read, so that hanging up is an end and not a reset.
        let mut hello = [0; 16 << 10];
        let _read = stream.read(&mut hello).await;
    })
    .await;
    let error = failure(&server.https()).await;
    assert!(matches!(error, Error::Tls | Error::Connect), "{error:?}");
    assert!(error.is_before_request());
}

#[tokio::test]
async fn a_tls_handshake_that_never_ends_is_a_connect_timeout() {
    let server = Server::start(|stream| async move {
        std::future::pending::<()>().await;
        drop(stream);
    })
    .await;
    let timeouts = Timeouts {
        connect: Duration::from_millis(200),
        ..Timeouts::default()
    };
    let egress = Egress::new(Policy::local(), timeouts).expect("egress");
    assert_eq!(
        get(&egress, &server.https()).await.expect_err("silence"),
        Error::ConnectTimeout
    );
}

#[tokio::test]
async fn a_connection_that_breaks_after_the_request_is_not_before_it() {
    let server = Server::start(|mut stream| async move { read_head(&mut stream).await }).await;
    let error = failure(&server.http()).await;
    assert_eq!(error, Error::Broken);
    assert!(!error.is_before_request());
}

#[tokio::test]
async fn redirects_are_left_to_the_caller() {
    let server = Server::fixed(
        b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n",
    )
    .await;
    let response = get(&egress(Policy::local()), &server.http())
        .await
        .expect("the redirect");
    assert_eq!(response.status(), 302);
}

#[tokio::test]
async fn a_body_over_its_cap_is_refused_announced_or_not() {
    let announced = Server::fixed(b"HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n").await;
    let chunked = Server::fixed(
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n8\r\n12345678\r\n8\r\n12345678\r\n",
    )
    .await;
    let egress = egress(Policy::local());
    for server in [announced, chunked] {
        let response = get(&egress, &server.http()).await.expect("a head");
        assert_eq!(read_capped(response, 10, IDLE).await, Err(Error::TooLarge));
    }
}

#[tokio::test]
async fn a_body_that_stops_is_a_timeout_and_a_whole_one_is_read() {
    let stops = Server::fixed(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n12345").await;
    let whole = Server::fixed(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n12345").await;
    let egress = egress(Policy::local());
    let response = get(&egress, &stops.http()).await.expect("a head");
    assert_eq!(
        read_capped(response, 10, Duration::from_millis(100)).await,
        Err(Error::Timeout)
    );
    let response = get(&egress, &whole.http()).await.expect("a head");
    assert_eq!(
        read_capped(response, 10, IDLE).await.as_deref(),
        Ok(b"12345".as_slice())
    );
}
