//! What a server sends that is no reply to a raw call: on its way to rmcp.
//!
//! Invariants: the queue is bounded; a flood of notifications is dropped and counted rather than delaying replies; a
//! reply that rmcp could not read becomes an error for its caller instead of silence; a server's request that nobody
//! will see is refused at once.

use std::sync::atomic::{AtomicU64, Ordering};

use rmcp::{
    RoleClient,
    model::{ErrorData, GetExtensions as _, JsonRpcMessage, RequestId},
    service::{InboundStreamOrigin, RxJsonRpcMessage},
};
use tokio::sync::mpsc::{self, error::TrySendError};

use super::frame::{self, Envelope};

/// The queue's sending end.
#[derive(Debug)]
pub(super) struct Inbound {
    queue: mpsc::Sender<RxJsonRpcMessage<RoleClient>>,
    dropped: AtomicU64,
}

/// What became of a message.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// It was queued, or dropped and counted.
    Done,
    /// It was a request and nobody rides this link: send this answer to the server.
    Refuse(String),
}

impl Inbound {
    pub(super) fn new(queue: mpsc::Sender<RxJsonRpcMessage<RoleClient>>) -> Self {
        Self {
            queue,
            dropped: AtomicU64::new(0),
        }
    }

    /// Counts a message that is of no use: not JSON-RPC, or a reply to nothing.
    pub(super) fn count_dropped(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Passes a message on; `origin` says on which HTTP stream it came.
    pub(super) async fn take(
        &self,
        text: &[u8],
        envelope: &Envelope<'_>,
        origin: Option<InboundStreamOrigin>,
    ) -> Taken {
        let parsed = serde_json::from_slice::<RxJsonRpcMessage<RoleClient>>(text).ok();
        let Some(mut message) = parsed.or_else(|| unreadable_reply(envelope)) else {
            self.count_dropped();
            return Taken::Done;
        };
        if let (JsonRpcMessage::Request(request), Some(origin)) = (&mut message, origin) {
            request.request.extensions_mut().insert(origin);
        }
        let closed = if envelope.id.is_none() {
            match self.queue.try_send(message) {
                Ok(()) => return Taken::Done,
                Err(TrySendError::Full(_)) => {
                    self.count_dropped();
                    return Taken::Done;
                }
                Err(TrySendError::Closed(_)) => true,
            }
        } else {
            self.queue.send(message).await.is_err()
        };
        match (envelope.id, envelope.method) {
            (Some(id), Some(_)) if closed => Taken::Refuse(frame::refusal(id)),
            _ => Taken::Done,
        }
    }

    /// Tells rmcp that one of its requests will get no reply. `id` is JSON.
    pub(super) async fn fail(&self, id: &str, message: &'static str) {
        if let Some(error) = failure(id, message) {
            // When nobody rides any more, nobody waits either.
            let _nobody = self.queue.send(error).await;
        }
    }
}

/// rmcp drops a reply that it cannot read and lets the caller wait; this tells the caller.
fn unreadable_reply(envelope: &Envelope<'_>) -> Option<RxJsonRpcMessage<RoleClient>> {
    if !envelope.is_reply() {
        return None;
    }
    failure(envelope.id?.get(), "the server's reply could not be read")
}

fn failure(id: &str, message: &'static str) -> Option<RxJsonRpcMessage<RoleClient>> {
    let id: RequestId = serde_json::from_str(id).ok()?;
    Some(RxJsonRpcMessage::<RoleClient>::error(
        ErrorData::internal_error(message, None),
        Some(id),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn take(inbound: &Inbound, text: &str) -> Taken {
        let envelope = Envelope::read(text.as_bytes()).expect("an envelope");
        inbound.take(text.as_bytes(), &envelope, None).await
    }

    #[tokio::test]
    async fn a_flood_of_notifications_is_dropped_and_counted() {
        let (queue, mut receiver) = mpsc::channel(2);
        let inbound = Inbound::new(queue);
        for _ in 0..5 {
            take(
                &inbound,
                r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#,
            )
            .await;
        }
        assert_eq!(inbound.dropped(), 3);
        assert!(receiver.recv().await.is_some());
    }

    #[tokio::test]
    async fn a_reply_that_cannot_be_read_becomes_an_error() {
        let (queue, mut receiver) = mpsc::channel(2);
        let inbound = Inbound::new(queue);
        take(&inbound, r#"{"jsonrpc":"2.0","id":5}"#).await;
        let Some(JsonRpcMessage::Error(error)) = receiver.recv().await else {
            panic!("no error")
        };
        assert_eq!(error.id, Some(RequestId::Number(5)));
    }

    #[tokio::test]
    async fn a_request_that_nobody_will_see_is_refused() {
        let (queue, receiver) = mpsc::channel(2);
        let inbound = Inbound::new(queue);
        drop(receiver);
        let refusal = take(
            &inbound,
            r#"{"jsonrpc":"2.0","id":"s1","method":"roots/list"}"#,
        )
        .await;
        let Taken::Refuse(text) = refusal else {
            panic!("{refusal:?}")
        };
        assert!(
            text.contains(r#""id":"s1""#) && text.contains("-32601"),
            "{text}"
        );
        assert_eq!(
            take(
                &inbound,
                r#"{"jsonrpc":"2.0","method":"notifications/message"}"#
            )
            .await,
            Taken::Done
        );
    }
}
