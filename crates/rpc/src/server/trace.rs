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
use http::{Request, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use identity::Gate;
use telemetry::attributes::{
    ERROR_TYPE, OTEL_KIND, OTEL_NAME, RPC_METHOD, RPC_METHOD_OTHER, RPC_STATUS_CODE,
    RPC_SYSTEM_GRPC, RPC_SYSTEM_NAME, SERVER_ADDRESS, SERVER_PORT,
};
use tonic::{Status, body::Body};
use tower::Service;
use tracing::{Instrument as _, Span, field::Empty};

use crate::record::Record;

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
            { OTEL_NAME } = method,
            { OTEL_KIND } = "server",
            { RPC_SYSTEM_NAME } = RPC_SYSTEM_GRPC,
            { RPC_METHOD } = method,
            { RPC_STATUS_CODE } = Empty,
            { ERROR_TYPE } = Empty,
            { SERVER_ADDRESS } = %self.address.ip(),
            { SERVER_PORT } = self.address.port(),
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
        let record = Record::of_server(span.clone());
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
