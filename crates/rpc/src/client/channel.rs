//! The channel that generated clients ride: prepares each call and hands it to the right kind.
//!
//! A unary method on the stream channel, or the other way round, is refused: the windows, the
//! deadline and the retries of the other one would be wrong.

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderValue, Request, Response, header::AUTHORIZATION};
use telemetry::attributes::{
    ERROR_TYPE, OTEL_KIND, OTEL_NAME, RPC_METHOD, RPC_STATUS_CODE, RPC_SYSTEM_GRPC,
    RPC_SYSTEM_NAME, SERVER_ADDRESS, SERVER_PORT,
};
use tokio::time::Instant;
use tonic::{Status, body::Body};
use tower::Service;
use tracing::{Instrument as _, Span, field::Empty};

use super::{Peer, stream, transport, unary};
use crate::{
    Deadline,
    deadline::{format_timeout, parse_timeout},
    error::RichError,
    record::Record,
};

const GRPC_TIMEOUT: &str = "grpc-timeout";

/// One channel to a peer; cheap to clone. Implements what generated clients need.
#[derive(Clone)]
pub struct Channel {
    inner: tonic::transport::Channel,
    peer: Arc<Peer>,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Unary,
    Streams,
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Channel({:?} to {}:{})",
            self.kind, self.peer.host, self.peer.port
        )
    }
}

impl Channel {
    pub(super) fn unary(inner: tonic::transport::Channel, peer: Arc<Peer>) -> Self {
        Self {
            inner,
            peer,
            kind: Kind::Unary,
        }
    }

    pub(super) fn streams(inner: tonic::transport::Channel, peer: Arc<Peer>) -> Self {
        Self {
            inner,
            peer,
            kind: Kind::Streams,
        }
    }

    fn span(&self, path: &str) -> Span {
        let method = path.trim_start_matches('/');
        tracing::info_span!(
            "rpc.client",
            { OTEL_NAME } = method,
            { OTEL_KIND } = "client",
            { RPC_SYSTEM_NAME } = RPC_SYSTEM_GRPC,
            { RPC_METHOD } = method,
            { RPC_STATUS_CODE } = Empty,
            { ERROR_TYPE } = Empty,
            { SERVER_ADDRESS } = self.peer.host,
            { SERVER_PORT } = self.peer.port,
        )
    }

    fn check_kind(&self, path: &str) -> Result<(), Status> {
        let streaming = self.peer.methods.get(path).map(|rule| rule.streaming);
        match (self.kind, streaming) {
            (Kind::Unary, Some(true)) | (Kind::Streams, Some(false)) => {
                Err(RichError::internal(&WrongChannel {
                    path: path.to_owned(),
                })
                .into())
            }
            (Kind::Unary | Kind::Streams, _) => Ok(()),
        }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("{path} was called on the wrong channel: streams and unary calls each have their own")]
struct WrongChannel {
    path: String,
}

impl Service<Request<Body>> for Channel {
    type Response = Response<Body>;
    type Error = Status;
    type Future = BoxFuture<'static, Result<Response<Body>, Status>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        // Each try waits for the connection itself, inside its deadline.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let path = request.uri().path();
        let span = self.span(path);
        let prepared = self.check_kind(path).and_then(|()| {
            let own = (self.kind == Kind::Unary).then_some(self.peer.default_deadline);
            Expiry::of(request.headers(), own, self.peer.margin)
        });
        let call = Call {
            inner: self.inner.clone(),
            peer: Arc::clone(&self.peer),
            idempotent: self
                .peer
                .methods
                .get(path)
                .is_some_and(|rule| rule.idempotent),
            span: span.clone(),
        };
        let kind = self.kind;
        let mut record = Record::of_client(span.clone());
        let answered = async move {
            let expiry = prepared.inspect_err(|status| record.code(status.code()))?;
            match kind {
                Kind::Unary => unary::call(&call, request, expiry, record).await,
                Kind::Streams => stream::call(&call, request, expiry, record).await,
            }
        };
        Box::pin(answered.instrument(span))
    }
}

/// When a call has to end at this end, and which limit says so.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expiry {
    pub(super) at: Option<Instant>,
    pub(super) limit: &'static str,
}

impl Expiry {
    /// The earliest of the call's own timeout, the default, and what is left of the call being
    /// served less a margin.
    fn of(
        headers: &HeaderMap,
        default: Option<Duration>,
        margin: Duration,
    ) -> Result<Self, Status> {
        let own = headers
            .get(GRPC_TIMEOUT)
            .and_then(|value| parse_timeout(value.as_bytes()).ok());
        let now = Instant::now();
        let own = match (own, default) {
            (Some(own), _) => Some((now + own, "own")),
            (None, Some(default)) => Some((now + default, "default")),
            (None, None) => None,
        };
        let incoming = Deadline::current().map(|deadline| (deadline.at() - margin, "incoming"));
        let earliest = [own, incoming]
            .into_iter()
            .flatten()
            .min_by_key(|(at, _)| *at);
        let Some((at, limit)) = earliest else {
            return Ok(Self {
                at: None,
                limit: "none",
            });
        };
        if at <= now {
            return Err(transport::expired(limit));
        }
        Ok(Self {
            at: Some(at),
            limit,
        })
    }

    /// Runs `work` until the call has to end.
    pub(super) async fn within<F: Future>(self, work: F) -> Result<F::Output, Status> {
        match self.at {
            Some(at) => {
                let finished = tokio::time::timeout_at(at, work).await;
                finished.map_err(|_| transport::expired(self.limit))
            }
            None => Ok(work.await),
        }
    }
}

/// One call being made.
pub(super) struct Call {
    pub(super) inner: tonic::transport::Channel,
    pub(super) peer: Arc<Peer>,
    pub(super) idempotent: bool,
    span: Span,
}

impl Call {
    /// Sends one try and gives the head of the answer.
    pub(super) async fn send(
        &self,
        mut request: Request<Body>,
        expiry: Expiry,
        attempt: u32,
    ) -> Result<Response<Body>, Status> {
        self.prepare(request.headers_mut(), expiry, attempt);
        let mut channel = self.inner.clone();
        let answer = async {
            std::future::poll_fn(|cx| channel.poll_ready(cx)).await?;
            channel.call(request).await
        };
        let answer = expiry.within(answer).await?;
        answer.map_err(|error| transport::broken(error.into()))
    }

    fn prepare(&self, headers: &mut HeaderMap, expiry: Expiry, attempt: u32) {
        headers.remove(GRPC_TIMEOUT);
        if let Some(at) = expiry.at {
            let left = at.saturating_duration_since(Instant::now());
            if let Ok(value) = HeaderValue::try_from(format_timeout(left)) {
                headers.insert(GRPC_TIMEOUT, value);
            }
        }
        if let Some(authorization) = &self.peer.authorization {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        if attempt > 0 {
            headers.insert("grpc-previous-rpc-attempts", attempt.into());
        }
        telemetry::inject_headers(&self.span, headers);
    }
}
