//! Connections: accepted up to a limit, kept alive, aged, and ended with the server.
//!
//! Every connection and every call on it is a task of the server's set. Not here: what is served
//! on a connection (the stack is passed in).

use std::{
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::{
        Arc, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use http::Request;
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use lifecycle::{Backoff, CancellationToken, Tasks};
use thiserror::Error;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tonic::body::Body;
use tower::ServiceExt as _;

use super::{Stack, body::MAX_QUEUED_BYTES, calls::Calls, options::ServerOptions};

/// What every HTTP/2 client says first is this long.
const PREFACE_BYTES: usize = 24;
/// hyper's own bound, which tonic's server would switch off.
const MAX_RESET_STREAMS: usize = 1024;
const STREAM_WINDOW: u32 = 1024 * 1024;
const CONNECTION_WINDOW: u32 = 4 * STREAM_WINDOW;
const MAX_HEADER_LIST: u32 = 16 * 1024;
/// How long a connection that is to end and has no calls any more may take to send what is left of
/// their answers. Clients that read need a moment; the others would hold it up for ever.
const LAST_BYTES_GRACE: Duration = Duration::from_secs(3);

/// An address that cannot be listened on.
#[derive(Debug, Error)]
#[error("cannot listen on {address}")]
pub struct BindError {
    address: SocketAddr,
    #[source]
    source: io::Error,
}

/// A bound address that nobody serves yet; clients that connect wait in the backlog.
#[derive(Debug)]
pub struct Listener {
    inner: TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// Binds an address; port 0 takes a free one. Call it inside the tokio runtime.
    ///
    /// # Errors
    /// When the address is in use or not ours.
    pub fn bind(address: SocketAddr) -> Result<Self, BindError> {
        let bind = || {
            let listener = std::net::TcpListener::bind(address)?;
            listener.set_nonblocking(true)?;
            let inner = TcpListener::from_std(listener)?;
            let address = inner.local_addr()?;
            Ok(Self { inner, address })
        };
        bind().map_err(|source| BindError { address, source })
    }

    /// The bound address, with the real port.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Accepts connections until the set is cancelled; then the address is free again.
pub(super) fn accept(
    listener: Listener,
    stack: Stack,
    options: ServerOptions,
    tasks: &Arc<Tasks>,
) -> impl Future<Output = ()> + Send + 'static {
    let closing = tasks.token();
    // Weak: the set must not be kept alive by its own tasks.
    let tasks = Arc::downgrade(tasks);
    let connections = Arc::new(Semaphore::new(options.limits.connections));
    let server = Arc::new(Connections {
        stack,
        options,
        closing,
        tasks,
    });
    async move {
        let mut backoff = Backoff::new(Duration::from_millis(10), Duration::from_secs(1));
        loop {
            let accepted = tokio::select! {
                biased; // Shutdown wins over a busy listener.
                () = server.closing.cancelled() => return,
                accepted = listener.inner.accept() => accepted,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Out of file descriptors, most likely: do not spin.
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(backoff.next_delay()).await;
                    continue;
                }
            };
            backoff.reset();
            let Ok(permit) = Arc::clone(&connections).try_acquire_owned() else {
                // Closed at once: a client left in the backlog would hang until its deadline.
                tracing::debug!("connection refused: too many are open");
                continue;
            };
            server.start(stream, permit);
        }
    }
}

struct Connections {
    stack: Stack,
    options: ServerOptions,
    closing: CancellationToken,
    tasks: Weak<Tasks>,
}

impl Connections {
    fn start(self: &Arc<Self>, stream: TcpStream, permit: OwnedSemaphorePermit) {
        let server = Arc::clone(self);
        if let Some(tasks) = self.tasks.upgrade() {
            tasks.spawn_job("connection", async move {
                server.serve(stream).await;
                drop(permit);
            });
        }
    }

    async fn serve(&self, stream: TcpStream) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "the connection was gone at once");
            return;
        }
        let received = Arc::new(AtomicUsize::new(0));
        let io = TokioIo::new(Counted {
            inner: stream,
            received: Arc::clone(&received),
        });
        let stack = self.stack.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            stack.clone().oneshot(request.map(Body::new))
        });
        let calls = Calls::new(self.tasks.clone());
        let http2 = self.http2(calls.clone());
        let mut connection = pin!(http2.serve_connection(io, service));
        let mut unread = pin!(calls.quiet_for(LAST_BYTES_GRACE));
        let mut handshake = pin!(tokio::time::sleep(self.options.handshake_timeout));
        let mut age = pin!(tokio::time::sleep(self.max_age()));
        let (mut shaking, mut ending) = (true, false);
        loop {
            tokio::select! {
                result = connection.as_mut() => {
                    if let Err(error) = result {
                        tracing::debug!(%error, "a connection failed");
                    }
                    return;
                }
                () = handshake.as_mut(), if shaking => {
                    shaking = false;
                    if received.load(Ordering::Relaxed) < PREFACE_BYTES {
                        tracing::debug!("a connection said nothing");
                        return;
                    }
                }
                () = age.as_mut(), if !ending => {
                    ending = true;
                    connection.as_mut().graceful_shutdown();
                }
                () = unread.as_mut(), if ending => {
                    tracing::debug!("a connection was cut: nobody reads its last answers");
                    return;
                }
                () = self.closing.cancelled(), if !ending => {
                    // A peer that has said nothing has nothing to finish, and would not hear us.
                    if received.load(Ordering::Relaxed) < PREFACE_BYTES {
                        return;
                    }
                    ending = true;
                    connection.as_mut().graceful_shutdown();
                }
            }
        }
    }

    fn http2(&self, calls: Calls) -> http2::Builder<Calls> {
        let mut builder = http2::Builder::new(calls);
        builder
            .timer(TokioTimer::new())
            .max_concurrent_streams(self.options.limits.per_connection)
            .max_local_error_reset_streams(MAX_RESET_STREAMS)
            .max_header_list_size(MAX_HEADER_LIST)
            .max_send_buf_size(MAX_QUEUED_BYTES)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .keep_alive_interval(self.options.keepalive_interval)
            .keep_alive_timeout(self.options.keepalive_timeout);
        builder
    }

    /// Less up to a tenth, so that connections made together do not end together.
    fn max_age(&self) -> Duration {
        let age = self.options.max_connection_age;
        age - (age / 10).mul_f64(rand::random())
    }
}

/// Counts what a peer has sent, to tell a silent one from a slow one.
struct Counted {
    inner: TcpStream,
    received: Arc<AtomicUsize>,
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buffer))?;
        self.received
            .fetch_add(buffer.filled().len() - before, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
