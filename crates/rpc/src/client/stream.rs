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
use tonic::{Code, Status, body::Body};

use super::{
    channel::{Call, Expiry},
    transport,
};
use crate::record::Record;

/// Opens the stream.
pub(super) async fn call(
    call: &Call,
    request: Request<Body>,
    expiry: Expiry,
    mut record: Record,
) -> Result<Response<Body>, Status> {
    let answer = call.send(request, expiry, 0).await;
    let response = answer.inspect_err(|status| record.code(status.code()))?;
    // Here only if there is nothing to stream; else the trailers say it.
    record.headers(response.headers());
    let sleep = expiry.at.map(|at| Box::pin(sleep_until(at)));
    Ok(response.map(|inner| {
        Body::new(Bounded {
            inner: Some(inner),
            sleep,
            expiry,
            record,
        })
    }))
}

/// A body that ends at the deadline and whose errors are put into gRPC's codes.
struct Bounded {
    /// Gone after the end, which resets the stream at the server.
    inner: Option<Body>,
    sleep: Option<Pin<Box<Sleep>>>,
    expiry: Expiry,
    /// Lasts as long as the body, and the span with it.
    record: Record,
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
            this.record.code(Code::DeadlineExceeded);
            return Poll::Ready(Some(Err(transport::expired(this.expiry.limit))));
        }
        let frame = ready!(Pin::new(inner).poll_frame(cx));
        let frame = frame.map(|frame| frame.map_err(|status| transport::broken(status.into())));
        match &frame {
            Some(Ok(data)) if data.is_data() => return Poll::Ready(frame),
            Some(Ok(last)) => {
                if let Some(trailers) = last.trailers_ref() {
                    this.record.headers(trailers);
                }
            }
            Some(Err(status)) => this.record.code(status.code()),
            None => this.record.code(Code::Unknown),
        }
        this.inner = None;
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
