//! Authentication and the method table: the innermost layer, and the one that denies by default.
//!
//! Past it a request has a [`Caller`](crate::Caller) in its extensions, or is for a public method.

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
};

use futures_util::future::{Either, Ready, ready};
use http::{Request, Response};
use identity::{Admission, Denial, Gate};
use lifecycle::CancellationToken;
use tonic::{Status, body::Body};
use tower::Service;

use super::body::refusal;
use crate::{Caller, Deadline, error::denied};

#[derive(Clone)]
pub(super) struct Authentication<S> {
    inner: S,
    gate: Arc<Gate>,
}

impl<S> Authentication<S> {
    pub(super) fn new(inner: S, gate: Arc<Gate>) -> Self {
        Self { inner, gate }
    }

    fn admit(&self, request: &Request<Body>) -> Result<Option<Caller>, Denial> {
        let (path, headers) = (request.uri().path(), request.headers());
        let (principal, rule) = match self.gate.admit(path, headers)? {
            Admission::Public => return Ok(None),
            Admission::Principal(principal, rule) => (principal, rule),
        };
        let extensions = request.extensions();
        // The lifetime layer is always there; without it a call would have no deadline.
        let deadline = extensions
            .get::<Deadline>()
            .copied()
            .ok_or(Denial::MethodUnknown)?;
        let draining = extensions
            .get::<CancellationToken>()
            .cloned()
            .unwrap_or_default();
        Ok(Some(Caller {
            principal,
            rule,
            deadline,
            draining,
        }))
    }
}

impl<S> Service<Request<Body>> for Authentication<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Either<Ready<Result<Response<Body>, Infallible>>, S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        match self.admit(&request) {
            Ok(None) => {}
            Ok(Some(caller)) => {
                tracing::debug!(subject = %caller.principal, "admitted");
                request.extensions_mut().insert(caller);
            }
            Err(denial) => {
                tracing::info!(%denial, "denied");
                return Either::Left(ready(Ok(refusal(Status::from(denied(&denial))))));
            }
        }
        Either::Right(self.inner.call(request))
    }
}
