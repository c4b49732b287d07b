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

/// The most bytes that are handed over at a time; a frame of HTTP/2 has no more.
const PORTION: usize = 16 * 1024;
/// The most bytes of an answer that wait for the client outside its body. What waits there is held
/// by no permit and ended by no deadline.
pub(super) const MAX_QUEUED_BYTES: usize = 4 * PORTION;

pin_project! {
    /// A body that ends with the status which `ending` gives, if that comes first. Hands over large
    /// messages in portions, so that the call is not over while most of its answer is unread.
    pub(super) struct Ending<B, F> {
        // Dropped when it ended early, so that the handler's stream goes at once.
        inner: Option<Pin<Box<B>>>,
        rest: Rest,
        #[pin]
        ending: F,
    }
}

impl<B, F> Ending<B, F>
where
    B: HttpBody<Data = Bytes, Error = Status> + Send + 'static,
    F: Future<Output = Status> + Send + 'static,
{
    pub(super) fn wrap(inner: B, ending: F) -> Body {
        Body::new(Self {
            inner: Some(Box::pin(inner)),
            rest: Rest(Bytes::new()),
            ending,
        })
    }
}

impl<B, F> HttpBody for Ending<B, F>
where
    B: HttpBody<Data = Bytes, Error = Status>,
    F: Future<Output = Status>,
{
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
            (*this.inner, *this.rest) = (None, Rest(Bytes::new()));
            return Poll::Ready(Some(Ok(trailers(&status))));
        }
        if let Some(portion) = this.rest.portion() {
            return Poll::Ready(Some(Ok(Frame::data(portion))));
        }
        Poll::Ready(match ready!(inner.as_mut().poll_frame(cx)) {
            Some(Ok(frame)) if frame.is_data() => {
                Some(Ok(frame.map_data(|data| this.rest.first(data))))
            }
            // After its last frame the ending must not be polled again.
            last => {
                *this.inner = None;
                last
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        let ended = |inner: &Pin<Box<B>>| inner.is_end_stream();
        self.rest.0.is_empty() && self.inner.as_ref().is_none_or(ended)
    }

    fn size_hint(&self) -> SizeHint {
        // It may end early, so only the lower bound of nothing is certain.
        SizeHint::default()
    }
}

/// What is still to be handed over of a message.
struct Rest(Bytes);

impl Rest {
    /// Takes a message, and gives its first portion.
    fn first(&mut self, mut message: Bytes) -> Bytes {
        if message.len() <= PORTION {
            return message;
        }
        let first = message.split_to(PORTION);
        self.0 = message;
        first
    }

    fn portion(&mut self) -> Option<Bytes> {
        let before = self.0.len();
        let portion = self.0.split_to(before.min(PORTION));
        let left = self.0.len();
        // What is queued at the end must not keep the whole message in memory.
        if before > MAX_QUEUED_BYTES && left <= MAX_QUEUED_BYTES {
            self.0 = Bytes::copy_from_slice(&self.0);
        }
        (before > 0).then_some(portion)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_handed_over_whole_and_in_order_in_small_portions() {
        let sizes = [0, 1, PORTION - 1, PORTION, PORTION + 1, MAX_QUEUED_BYTES];
        for size in sizes.into_iter().chain([5 * MAX_QUEUED_BYTES + 7]) {
            let message: Bytes = (0..size)
                .map(|at| u8::try_from(at % 251).expect("small"))
                .collect();
            let mut rest = Rest(Bytes::new());
            let mut received = rest.first(message.clone()).to_vec();
            while let Some(portion) = rest.portion() {
                assert!((1..=PORTION).contains(&portion.len()), "{size}");
                received.extend_from_slice(&portion);
            }
            assert_eq!(received, message, "{size}");
        }
    }

    #[test]
    fn the_last_portions_of_a_large_message_do_not_keep_it_in_memory() {
        let message = Bytes::from(vec![7; 4 * MAX_QUEUED_BYTES]);
        let whole = message.as_ptr_range();
        let mut rest = Rest(Bytes::new());
        let mut portions = vec![rest.first(message)];
        while let Some(portion) = rest.portion() {
            portions.push(portion);
        }
        let queued = portions.len() - MAX_QUEUED_BYTES / PORTION;
        for portion in &portions[queued..] {
            assert!(!whole.contains(&portion.as_ptr()));
        }
    }
}
