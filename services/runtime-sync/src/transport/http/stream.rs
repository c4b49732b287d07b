//! A response that is a stream of messages.
//!
//! Invariant: one event, and all of one stream together, are bounded.

use bytes::Bytes;

use super::sse::Events;
use crate::transport::{
    error::WireErrorKind,
    frame::{self, Owner},
};

/// A stream may carry this many times the size of one message before it is given up.
const WHOLE: usize = 8;

#[derive(Debug)]
pub(super) struct EventStream {
    response: reqwest::Response,
    pub(super) events: Events,
    left: usize,
}

impl EventStream {
    /// `limit`: of one event; `message`: of one message on any link, from which the bound of the stream follows.
    pub(super) fn new(response: reqwest::Response, limit: usize, message: usize) -> Self {
        Self {
            response,
            events: Events::new(limit.min(message)),
            left: message.saturating_mul(WHOLE),
        }
    }

    /// Whether what has come of an event that is too large is the reply to our request. On its own stream a reply
    /// whose id has not come yet can be no other.
    pub(super) fn holds_our_reply(&self, number: u64) -> bool {
        match frame::owner_in_head(self.events.beginning()) {
            Owner::Our(owner) => owner == number,
            Owner::SomeReply => true,
            Owner::Unknown => false,
        }
    }

    /// The same, for a stream that is meant to stay open for the life of a session.
    pub(super) fn endless(mut self: Box<Self>) -> Box<Self> {
        self.left = usize::MAX;
        self
    }

    /// The data of the next event; `None` at the end of the stream. Cancellation safe.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, WireErrorKind> {
        loop {
            if let Some(data) = self
                .events
                .next()
                .map_err(|_| WireErrorKind::ResponseTooLarge)?
            {
                return Ok(Some(data));
            }
            let Some(chunk) = self
                .response
                .chunk()
                .await
                .map_err(|_| WireErrorKind::Broken)?
            else {
                return Ok(None);
            };
            if self.left != usize::MAX {
                self.left = self
                    .left
                    .checked_sub(chunk.len())
                    .ok_or(WireErrorKind::ResponseTooLarge)?;
            }
            self.events.feed(&chunk);
        }
    }
}
