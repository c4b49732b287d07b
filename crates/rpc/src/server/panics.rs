//! A panic, in a handler or in the stream it returned, becomes INTERNAL with a trace id.
//!
//! So does every INTERNAL or UNKNOWN that was not made by `RichError`: a status that tonic, or a
//! careless `?`, made from an error's text must not tell callers about our insides. Except when
//! tonic said INTERNAL of a request that it could not read: that is the caller's fault.

use std::{
    any::Any,
    convert::Infallible,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_util::{FutureExt as _, future::BoxFuture};
use http::{HeaderMap, Request, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use telemetry::TraceContext;
use tonic::{Code, Status, body::Body};
use tower::Service;

use super::body::{refusal, trailers};
use crate::{
    caller::Reached,
    error::{FixableBy, Outcome, Reason, RichError},
};

/// How tonic begins what it says of requests that it cannot read.
const UNREADABLE: [&str; 5] = [
    "failed to decode Protobuf message",
    "protocol error: received message with ",
    "Error decompressing: ",
    "Unexpected EOF decoding stream",
    "Missing request message",
];

#[derive(Clone)]
pub(super) struct Panics<S> {
    inner: S,
}

impl<S> Panics<S> {
    pub(super) fn new(inner: S) -> Self {
        Self { inner }
    }
}

impl<S> Service<Request<Body>> for Panics<S>
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

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let reached = Reached::default();
        request.extensions_mut().insert(reached.clone());
        let trace = TraceContext::current()
            .or_else(|| TraceContext::of_headers(request.headers()))
            .unwrap_or_else(TraceContext::random);
        let answer = match catch_unwind(AssertUnwindSafe(|| self.inner.call(request))) {
            Ok(answer) => answer,
            Err(panic) => return Box::pin(std::future::ready(Ok(refusal(caught(&*panic, trace))))),
        };
        Box::pin(async move {
            Ok(match AssertUnwindSafe(answer).catch_unwind().await {
                Ok(Ok(response)) if !reached.get() && is_unreadable(response.headers()) => {
                    refusal(unreadable())
                }
                Ok(Ok(response)) => seal(response, trace),
                Err(panic) => refusal(caught(&*panic, trace)),
            })
        })
    }
}

fn seal(response: Response<Body>, trace: TraceContext) -> Response<Body> {
    match leaking(response.headers(), trace) {
        Some(status) => refusal(status),
        None => response.map(|inner| {
            Body::new(Sealed {
                inner: Some(inner),
                trace,
            })
        }),
    }
}

/// The status to say instead of the one in these headers or trailers, if that one says too much.
fn leaking(headers: &HeaderMap, trace: TraceContext) -> Option<Status> {
    let code = Code::from_bytes(headers.get(Status::GRPC_STATUS)?.as_bytes());
    let ours = headers.contains_key(Status::GRPC_STATUS_DETAILS);
    if ours || !matches!(code, Code::Internal | Code::Unknown) {
        return None;
    }
    let message = headers.get(Status::GRPC_MESSAGE);
    tracing::error!(trace_id = %trace, ?code, ?message, "internal error");
    Some(RichError::internal_in(trace).into())
}

/// Whether tonic says so. Asked only while no handler was reached: what a handler cannot read is
/// something else than its request.
fn is_unreadable(headers: &HeaderMap) -> bool {
    let code = headers.get(Status::GRPC_STATUS);
    let internal = code.is_some_and(|code| Code::from_bytes(code.as_bytes()) == Code::Internal);
    let status = internal.then(|| Status::from_header_map(headers)).flatten();
    status.is_some_and(|status| {
        let begins = |text: &&str| status.message().starts_with(text);
        status.details().is_empty() && UNREADABLE.iter().any(begins)
    })
}

fn unreadable() -> Status {
    let message = "the request is not a readable message";
    tracing::debug!("{message}");
    RichError::new(Code::InvalidArgument, Reason::FieldInvalid, message)
        .outcome(Outcome::NotSent)
        .fixable_by(FixableBy::User)
        .into()
}

fn caught(panic: &(dyn Any + Send), trace: TraceContext) -> Status {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    tracing::error!(trace_id = %trace, panic = text.unwrap_or("no message"), "a handler panicked");
    RichError::internal_in(trace).into()
}

struct Sealed {
    /// Gone after a panic: a body that panicked is not polled again.
    inner: Option<Body>,
    trace: TraceContext,
}

impl HttpBody for Sealed {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Some(inner) = &mut self.inner else {
            return Poll::Ready(None);
        };
        let polled = catch_unwind(AssertUnwindSafe(|| Pin::new(inner).poll_frame(cx)));
        let status = match polled {
            Ok(polled) => match ready!(polled) {
                Some(Ok(frame)) => {
                    let headers = frame.trailers_ref();
                    match headers.and_then(|headers| leaking(headers, self.trace)) {
                        Some(status) => status,
                        None => return Poll::Ready(Some(Ok(frame))),
                    }
                }
                other => return Poll::Ready(other),
            },
            Err(panic) => caught(&*panic, self.trace),
        };
        self.inner = None;
        Poll::Ready(Some(Ok(trailers(&status))))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), HttpBody::size_hint)
    }
}
