//! The server span of a call: continues the caller's trace, ends when the body has ended.
//!
//! INFO, because exporters see INFO and above; names as in `telemetry::attributes`.

use std::{
    convert::Infallible,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderMap, Request, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use identity::Gate;
use telemetry::attributes::{ERROR_TYPE, RPC_METHOD_OTHER, RPC_STATUS_CODE};
use tonic::{Code, Status, body::Body};
use tower::Service;
use tracing::{Instrument as _, Span, field::Empty};

#[derive(Clone)]
pub(super) struct Trace<S> {
    inner: S,
    gate: Arc<Gate>,
    address: SocketAddr,
}

impl<S> Trace<S> {
    pub(super) fn new(inner: S, gate: Arc<Gate>, address: SocketAddr) -> Self {
        Self {
            inner,
            gate,
            address,
        }
    }

    fn span(&self, request: &Request<Body>) -> Span {
        let path = request.uri().path();
        let known = self.gate.rule(path).is_some() || self.gate.is_public(path);
        let method = if known {
            path.trim_start_matches('/')
        } else {
            RPC_METHOD_OTHER
        };
        let span = tracing::info_span!(
            "rpc.server",
            otel.name = method,
            otel.kind = "server",
            rpc.system.name = "grpc",
            rpc.method = method,
            rpc.status_code = Empty,
            error.type = Empty,
            server.address = %self.address.ip(),
            server.port = self.address.port(),
        );
        telemetry::adopt_parent(&span, request.headers());
        span
    }
}

impl<S> Service<Request<Body>> for Trace<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let span = self.span(&request);
        let record = Record {
            span: span.clone(),
            recorded: false,
        };
        let answer = span.in_scope(|| self.inner.call(request));
        let traced = async move {
            let mut record = record;
            let response = answer.await?;
            record.headers(response.headers());
            Ok(response.map(|inner| Body::new(Traced { inner, record })))
        };
        Box::pin(traced.instrument(span))
    }
}

/// Records the status once; a call that nobody waited for counts as CANCELLED.
struct Record {
    span: Span,
    recorded: bool,
}

impl Record {
    fn headers(&mut self, headers: &HeaderMap) {
        if let Some(code) = headers.get(Status::GRPC_STATUS) {
            self.code(Code::from_bytes(code.as_bytes()));
        }
    }

    fn code(&mut self, code: Code) {
        if self.recorded {
            return;
        }
        self.recorded = true;
        self.span.record(RPC_STATUS_CODE, name(code));
        if is_server_fault(code) {
            self.span.record(ERROR_TYPE, name(code));
        }
        self.span
            .in_scope(|| tracing::debug!(code = name(code), "answered"));
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.code(Code::Cancelled);
    }
}

/// The codes that count as errors of the server, by the RPC conventions.
fn is_server_fault(code: Code) -> bool {
    matches!(
        code,
        Code::Unknown
            | Code::DeadlineExceeded
            | Code::Unimplemented
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss
    )
}

/// The code as the RPC conventions spell it.
pub(crate) fn name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

struct Traced {
    inner: Body,
    record: Record,
}

impl HttpBody for Traced {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        let polled = this
            .record
            .span
            .in_scope(|| Pin::new(&mut this.inner).poll_frame(cx));
        let frame = ready!(polled);
        if let Some(trailers) = frame
            .as_ref()
            .and_then(|f| f.as_ref().ok())
            .and_then(Frame::trailers_ref)
        {
            this.record.headers(trailers);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
