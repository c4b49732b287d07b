//! Response bodies under guard: what held for the call holds until its last byte.
//!
//! An error in a body is sent as trailers with a status; failing the body would reset the stream,
//! and the client would see a broken connection instead of a reason.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use pin_project_lite::pin_project;
use tonic::{Status, body::Body};

/// The trailers that say `status`.
pub(super) fn trailers(status: &Status) -> Frame<Bytes> {
    let mut trailers = HeaderMap::new();
    // Fails only for text that no header can carry; then the bare code is what is left to say.
    if status.add_header(&mut trailers).is_err() {
        trailers = HeaderMap::from_iter([(Status::GRPC_STATUS, (status.code() as i32).into())]);
    }
    Frame::trailers(trailers)
}

/// A response that only says `status`.
pub(super) fn refusal(status: Status) -> Response<Body> {
    status.into_http()
}

pin_project! {
    /// A body that keeps something, such as a permit, for as long as it lives.
    pub(super) struct Held<T> {
        #[pin]
        inner: Body,
        held: T,
    }
}

impl<T: Send + 'static> Held<T> {
    pub(super) fn wrap(inner: Body, held: T) -> Body {
        Body::new(Self { inner, held })
    }
}

impl<T> HttpBody for Held<T> {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.project().inner.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

pin_project! {
    /// A body that ends with the status which `ending` gives, if that comes first.
    pub(super) struct Ending<F> {
        // Dropped when it ended early, so that the handler's stream goes at once.
        inner: Option<Pin<Box<Body>>>,
        #[pin]
        ending: F,
    }
}

impl<F: Future<Output = Status> + Send + 'static> Ending<F> {
    pub(super) fn wrap(inner: Body, ending: F) -> Body {
        Body::new(Self {
            inner: Some(Box::pin(inner)),
            ending,
        })
    }
}

impl<F: Future<Output = Status>> HttpBody for Ending<F> {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.project();
        let Some(inner) = this.inner else {
            return Poll::Ready(None);
        };
        // First, or a body that always has something to say would never end.
        if let Poll::Ready(status) = this.ending.poll(cx) {
            *this.inner = None;
            return Poll::Ready(Some(Ok(trailers(&status))));
        }
        let frame = ready!(inner.as_mut().poll_frame(cx));
        // After its last frame the ending must not be polled again.
        if !matches!(&frame, Some(Ok(frame)) if frame.is_data()) {
            *this.inner = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner
            .as_ref()
            .is_none_or(|inner| inner.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        // It may end early, so only the lower bound of nothing is certain.
        SizeHint::default()
    }
}
