//! When a call has to end: at its deadline, and for streams when the server drains.
//!
//! Holds for the body too. An expired call is DEADLINE_EXCEEDED, never CANCELLED; its handler is
//! dropped, so whatever must be finished belongs in the owner's task set.

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::future::BoxFuture;
use http::{HeaderMap, Request, Response};
use identity::Gate;
use lifecycle::CancellationToken;
use tonic::{Code, Status, body::Body};
use tower::Service;

use super::{
    body::{Ending, refusal},
    calls::end_task_by,
    health,
    options::ServerOptions,
    reflection,
};
use crate::{
    Deadline, Limit,
    deadline::parse_timeout,
    error::{FixableBy, Outcome, Reason, RichError},
};

/// Whether a call is one answer or goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Unary,
    Stream,
}

impl Kind {
    /// By the method table; what is not in it is refused further in, and counts as a call.
    pub(super) fn of(gate: &Gate, path: &str) -> Self {
        let streaming = gate.rule(path).is_some_and(|rule| rule.streaming)
            || path == health::WATCH
            || reflection::PATHS.contains(&path);
        if streaming { Self::Stream } else { Self::Unary }
    }
}

#[derive(Clone)]
pub(super) struct Lifetime<S> {
    inner: S,
    gate: Arc<Gate>,
    draining: CancellationToken,
    bounds: Bounds,
}

#[derive(Debug, Clone, Copy)]
struct Bounds {
    default: Duration,
    max: Duration,
    stream_age: Duration,
    stream_grace: Duration,
}

impl<S> Lifetime<S> {
    pub(super) fn new(
        inner: S,
        gate: Arc<Gate>,
        options: &ServerOptions,
        draining: CancellationToken,
    ) -> Self {
        let bounds = Bounds {
            default: options.default_deadline,
            max: options.max_deadline,
            stream_age: options.max_stream_age,
            stream_grace: options.stream_grace,
        };
        Self {
            inner,
            gate,
            draining,
            bounds,
        }
    }
}

impl<S> Service<Request<Body>> for Lifetime<S>
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
        let kind = Kind::of(&self.gate, request.uri().path());
        let deadline = match self.bounds.deadline(kind, request.headers()) {
            Ok(deadline) => deadline,
            Err(error) => return Box::pin(std::future::ready(Ok(refusal(error.into())))),
        };
        if kind == Kind::Stream && self.draining.is_cancelled() {
            return Box::pin(std::future::ready(Ok(refusal(server_draining()))));
        }
        request.extensions_mut().insert(deadline);
        request.extensions_mut().insert(self.draining.clone());
        let grace = self.bounds.stream_grace;
        let ends = Ends {
            kind,
            deadline,
            draining: self.draining.clone(),
            grace,
        };
        let mut ending = Box::pin(ends.clone().status());
        let answer = deadline.sync_scope(|| self.inner.call(request));
        Box::pin(async move {
            let response = tokio::select! {
                biased; // An answer that comes too late is too late.
                status = &mut ending => return Ok(refusal(status)),
                response = deadline.scope(answer) => response?,
            };
            Ok(response.map(|inner| {
                end_task_by(&ends);
                Ending::wrap(Scoped { inner, deadline }, ending)
            }))
        })
    }
}

/// What ends a call.
#[derive(Debug, Clone)]
pub(super) struct Ends {
    kind: Kind,
    deadline: Deadline,
    draining: CancellationToken,
    grace: Duration,
}

/// What ended a call.
#[derive(Debug, Clone, Copy)]
pub(super) enum Cause {
    Expired(Limit),
    Draining,
}

impl Ends {
    /// Completes when the call has to end.
    pub(super) async fn cause(&self) -> Cause {
        let drained = async {
            match self.kind {
                Kind::Unary => std::future::pending().await,
                Kind::Stream => self.draining.cancelled().await,
            }
            tokio::time::sleep(self.grace).await;
        };
        tokio::select! {
            biased;
            () = self.deadline.passed() => Cause::Expired(self.deadline.limit()),
            () = drained => Cause::Draining,
        }
    }

    async fn status(self) -> Status {
        match self.cause().await {
            Cause::Expired(limit) => expired(limit),
            Cause::Draining => server_draining(),
        }
    }
}

impl Bounds {
    fn deadline(&self, kind: Kind, headers: &HeaderMap) -> Result<Deadline, RichError> {
        let asked = match headers.get("grpc-timeout") {
            None => None,
            Some(value) => Some(parse_timeout(value.as_bytes()).map_err(|_| {
                RichError::invalid_field("grpc-timeout", "must be one to eight digits and a unit")
            })?),
        };
        let (max, by_default) = match kind {
            Kind::Unary => (self.max, (self.default, Limit::Default)),
            Kind::Stream => {
                // Less up to a tenth, so that streams opened together do not come back together.
                let age = self.stream_age - (self.stream_age / 10).mul_f64(rand::random());
                (age, (age, Limit::StreamAge))
            }
        };
        let (timeout, limit) = match asked {
            None => by_default,
            Some(asked) if asked <= max => (asked, Limit::Caller),
            Some(_) if kind == Kind::Stream => (max, Limit::StreamAge),
            Some(_) => (max, Limit::Maximum),
        };
        Ok(Deadline::after(timeout, limit))
    }
}

fn expired(limit: Limit) -> Status {
    let error = match limit {
        Limit::Caller | Limit::Default | Limit::Maximum => {
            let message = format!("the deadline has passed ({} limit)", limit.as_str());
            RichError::new(Code::DeadlineExceeded, Reason::DeadlineExceeded, message)
                .fixable_by(FixableBy::User)
        }
        Limit::StreamAge => {
            let message = "the stream is as old as streams may be; open it again where it stood";
            RichError::new(Code::Unavailable, Reason::StreamExpired, message)
                .fixable_by(FixableBy::Nobody)
                .retry_after(Duration::ZERO)
        }
    };
    error.metadata("limit", limit.as_str()).into()
}

fn server_draining() -> Status {
    RichError::new(
        Code::Unavailable,
        Reason::ShuttingDown,
        "the server is going away",
    )
    .outcome(Outcome::NotSent)
    .fixable_by(FixableBy::Nobody)
    .retry_after(Duration::from_millis(500))
    .into()
}

pin_project_lite::pin_project! {
    /// A body whose polls know the call's deadline, as its handler did.
    struct Scoped {
        #[pin]
        inner: Body,
        deadline: Deadline,
    }
}

impl http_body::Body for Scoped {
    type Data = bytes::Bytes;
    type Error = Status;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<bytes::Bytes>, Status>>> {
        let this = self.project();
        this.deadline.sync_scope(|| this.inner.poll_frame(cx))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.inner.size_hint()
    }
}
