//! Load shedding: a permit or a refusal, at once. Nothing is queued.
//!
//! Unary calls and streams have permits of their own, and so have those of public methods, so that
//! many watchers do not starve the calls, nor strangers the watchers, nor either the probes. A permit is held until the body has ended.

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::future::BoxFuture;
use http::{Request, Response};
use identity::Gate;
use tokio::sync::Semaphore;
use tonic::{Code, body::Body};
use tower::Service;

use super::{
    body::{Held, refusal},
    lifetime::Kind,
    options::Limits,
};
use crate::error::{FixableBy, Outcome, Reason, RichError};

/// Clients are asked to stay away for this long, plus up to as much again.
const RETRY_AFTER: Duration = Duration::from_millis(100);

#[derive(Clone)]
pub(super) struct Admission<S> {
    inner: S,
    gate: Arc<Gate>,
    permits: Arc<Permits>,
}

struct Permits {
    calls: Arc<Semaphore>,
    streams: Arc<Semaphore>,
    public: Arc<Semaphore>,
    public_streams: Arc<Semaphore>,
}

impl<S> Admission<S> {
    pub(super) fn new(inner: S, gate: Arc<Gate>, limits: &Limits) -> Self {
        let permits = Permits {
            calls: Arc::new(Semaphore::new(limits.calls)),
            streams: Arc::new(Semaphore::new(limits.streams)),
            public: Arc::new(Semaphore::new(limits.public)),
            public_streams: Arc::new(Semaphore::new(limits.public_streams)),
        };
        Self {
            inner,
            gate,
            permits: Arc::new(permits),
        }
    }
}

impl<S> Service<Request<Body>> for Admission<S>
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
        let path = request.uri().path();
        let public = self.gate.is_public(path);
        let (semaphore, what) = match (Kind::of(&self.gate, path), public) {
            (Kind::Unary, false) => (&self.permits.calls, "calls"),
            (Kind::Stream, false) => (&self.permits.streams, "streams"),
            (Kind::Unary, true) => (&self.permits.public, "public calls"),
            (Kind::Stream, true) => (&self.permits.public_streams, "public streams"),
        };
        let Ok(permit) = Arc::clone(semaphore).try_acquire_owned() else {
            return Box::pin(std::future::ready(Ok(refusal(overloaded(what).into()))));
        };
        let answer = self.inner.call(request);
        Box::pin(async move { Ok(answer.await?.map(|body| Held::wrap(body, permit))) })
    }
}

fn overloaded(what: &'static str) -> RichError {
    let delay = RETRY_AFTER + RETRY_AFTER.mul_f64(rand::random());
    RichError::new(
        Code::ResourceExhausted,
        Reason::Overloaded,
        format!("too many {what} at once"),
    )
    .outcome(Outcome::NotSent)
    .fixable_by(FixableBy::Nobody)
    .quota("server", format!("{what} in flight"))
    .retry_after(delay)
}
