//! Streaming calls: never retried here, bounded only by a deadline that somebody gave.
//!
//! Not here: opening a stream again. Its owner knows where it stood.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::{Sleep, sleep_until};
use tonic::{Status, body::Body};

use super::{
    channel::{Call, Expiry},
    transport,
};

/// Opens the stream.
pub(super) async fn call(
    call: &Call,
    request: Request<Body>,
    expiry: Expiry,
) -> Result<Response<Body>, Status> {
    let response = call.send(request, expiry, 0).await?;
    let sleep = expiry.at.map(|at| Box::pin(sleep_until(at)));
    Ok(response.map(|inner| {
        Body::new(Bounded {
            inner: Some(inner),
            sleep,
            expiry,
        })
    }))
}

/// A body that ends at the deadline and whose errors are put into gRPC's codes.
struct Bounded {
    /// Gone after the end, which resets the stream at the server.
    inner: Option<Body>,
    sleep: Option<Pin<Box<Sleep>>>,
    expiry: Expiry,
}

impl HttpBody for Bounded {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        let Some(inner) = &mut this.inner else {
            return Poll::Ready(None);
        };
        let passed = this
            .sleep
            .as_mut()
            .is_some_and(|sleep| sleep.as_mut().poll(cx).is_ready());
        if passed {
            this.inner = None;
            return Poll::Ready(Some(Err(transport::expired(this.expiry.limit))));
        }
        let frame = ready!(Pin::new(inner).poll_frame(cx));
        let frame = frame.map(|frame| frame.map_err(|status| transport::broken(status.into())));
        if !matches!(&frame, Some(Ok(frame)) if frame.is_data()) {
            this.inner = None;
        }
        Poll::Ready(frame)
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
