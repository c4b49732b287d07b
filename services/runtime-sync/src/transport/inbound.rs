//! What a server sends that is no reply to a raw call.
//!
//! Invariants: rmcp gets replies, and announcements that somebody here waits for, and nothing else, because it prints
//! and dispatches whatever it is handed; until `initialize` is answered it gets replies only. A server's requests are
//! answered here: nothing is advertised, so everything but `ping` is refused. The queue is bounded; a flood of
//! notifications is dropped and counted rather than delaying replies; a reply that rmcp could not read becomes an
//! error for its caller instead of silence.

use std::{
    borrow::Cow,
    sync::atomic::{AtomicU8, AtomicU64, Ordering},
};

use rmcp::{
    RoleClient,
    model::{ErrorData, RequestId},
    service::RxJsonRpcMessage,
};
use serde_json::value::RawValue;
use tokio::sync::mpsc::{self, error::TrySendError};

use super::frame::{self, Envelope};

/// The announcements that are waited for.
const WANTED: [&str; 2] = [
    "notifications/tools/list_changed",
    "notifications/subscriptions/acknowledged",
];
/// The longest id of a server's request that is repeated in an answer, in bytes.
const MAX_ID: usize = 256;
/// The largest answer to `initialize`: rmcp keeps it for as long as the connection lives.
const MAX_INITIALIZE: usize = 256 << 10;

/// Nothing was sent by rmcp yet.
const SILENT: u8 = 0;
/// `initialize` was sent and is not answered yet.
const INITIALIZING: u8 = 1;
/// Announcements pass.
const OPEN: u8 = 2;

/// The queue's sending end.
#[derive(Debug)]
pub(super) struct Inbound {
    queue: mpsc::Sender<RxJsonRpcMessage<RoleClient>>,
    dropped: AtomicU64,
    stage: AtomicU8,
}

/// What became of a message.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// It was queued, or dropped and counted.
    Done,
    /// It was a request: send this answer to the server.
    Answer(String),
}

impl Inbound {
    pub(super) fn new(queue: mpsc::Sender<RxJsonRpcMessage<RoleClient>>) -> Self {
        Self {
            queue,
            dropped: AtomicU64::new(0),
            stage: AtomicU8::new(SILENT),
        }
    }

    /// Counts a message that is of no use: not JSON-RPC, or a reply to nothing.
    pub(super) fn count_dropped(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// rmcp sends a message of its own, `initialize` or anything else.
    pub(super) fn rmcp_sends(&self, method: Option<&str>) {
        let next = if method == Some("initialize") {
            INITIALIZING
        } else {
            OPEN
        };
        // Only the first message says which way a link is begun.
        let _begun = self
            .stage
            .compare_exchange(SILENT, next, Ordering::AcqRel, Ordering::Acquire);
    }

    /// Passes a message on, drops it, or says what to answer.
    pub(super) async fn take(&self, text: &[u8], envelope: &Envelope<'_>) -> Taken {
        match (envelope.id, envelope.method) {
            (Some(id), Some(method)) => return self.request(id, method),
            (None, Some(method)) => self.announcement(text, method),
            (_, None) => self.reply(text, envelope).await,
        }
        Taken::Done
    }

    fn request(&self, id: &RawValue, method: &RawValue) -> Taken {
        let is_id = id.get().starts_with(['"', '-']) || id.get().starts_with(char::is_numeric);
        if !is_id || id.get().len() > MAX_ID {
            self.count_dropped();
            return Taken::Done;
        }
        Taken::Answer(match text_of(method).as_deref() {
            Some("ping") => frame::pong(id),
            Some(_) | None => frame::refusal(id),
        })
    }

    fn announcement(&self, text: &[u8], method: &RawValue) {
        let wanted = self.stage.load(Ordering::Acquire) == OPEN
            && text_of(method).is_some_and(|method| WANTED.contains(&method.as_ref()));
        let message = wanted
            .then(|| serde_json::from_slice::<RxJsonRpcMessage<RoleClient>>(text).ok())
            .flatten();
        let Some(message) = message else {
            return self.count_dropped();
        };
        if let Err(TrySendError::Full(_)) = self.queue.try_send(message) {
            self.count_dropped();
        }
    }

    async fn reply(&self, text: &[u8], envelope: &Envelope<'_>) {
        let initializing = self.stage.load(Ordering::Acquire) == INITIALIZING;
        let parsed = if initializing && text.len() > MAX_INITIALIZE {
            None
        } else {
            serde_json::from_slice::<RxJsonRpcMessage<RoleClient>>(text).ok()
        };
        let Some(message) = parsed.or_else(|| unreadable_reply(envelope)) else {
            return self.count_dropped();
        };
        // Before the reply is queued, so that what comes after it passes. The reply itself keeps the order.
        if initializing {
            self.stage.store(OPEN, Ordering::Release);
        }
        // When nobody rides any more, nobody waits either.
        let _nobody = self.queue.send(message).await;
    }

    /// Tells rmcp that one of its requests will get no reply. `id` is JSON.
    pub(super) async fn fail(&self, id: &str, message: &'static str) {
        if let Some(error) = failure(id, message) {
            // When nobody rides any more, nobody waits either.
            let _nobody = self.queue.send(error).await;
        }
    }
}

/// The text of a JSON string.
fn text_of(json: &RawValue) -> Option<Cow<'_, str>> {
    match json.get().strip_prefix('"')?.strip_suffix('"')? {
        escaped if escaped.contains('\\') => serde_json::from_str(json.get()).ok(),
        plain => Some(Cow::Borrowed(plain)),
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
    use rmcp::model::JsonRpcMessage;

    use super::*;

    const CHANGED: &str = r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#;
    const INITIALIZED: &str = r#"{"jsonrpc":"2.0","id":0,"result":{"protocolVersion":"2025-11-25","capabilities":{},"serverInfo":{"name":"s","version":"1"}}}"#;

    async fn take(inbound: &Inbound, text: &str) -> Taken {
        let envelope = Envelope::read(text.as_bytes()).expect("an envelope");
        inbound.take(text.as_bytes(), &envelope).await
    }

    fn begun(room: usize, method: &str) -> (Inbound, mpsc::Receiver<RxJsonRpcMessage<RoleClient>>) {
        let (queue, receiver) = mpsc::channel(room);
        let inbound = Inbound::new(queue);
        inbound.rmcp_sends(Some(method));
        (inbound, receiver)
    }

    #[tokio::test]
    async fn a_flood_of_notifications_is_dropped_and_counted() {
        let (inbound, mut receiver) = begun(2, "tools/list");
        for _ in 0..5 {
            take(&inbound, CHANGED).await;
        }
        assert_eq!(inbound.dropped(), 3);
        assert!(receiver.recv().await.is_some());
    }

    #[tokio::test]
    async fn a_reply_that_cannot_be_read_becomes_an_error() {
        let (inbound, mut receiver) = begun(2, "tools/list");
        take(&inbound, r#"{"jsonrpc":"2.0","id":5}"#).await;
        let Some(JsonRpcMessage::Error(error)) = receiver.recv().await else {
            panic!("no error")
        };
        assert_eq!(error.id, Some(RequestId::Number(5)));
    }

    #[tokio::test]
    async fn until_initialize_is_answered_only_replies_pass() {
        let (queue, mut receiver) = mpsc::channel(8);
        let inbound = Inbound::new(queue);
        take(&inbound, CHANGED).await;
        inbound.rmcp_sends(Some("initialize"));
        take(&inbound, CHANGED).await;
        assert!(receiver.try_recv().is_err());
        take(&inbound, INITIALIZED).await;
        take(&inbound, CHANGED).await;
        assert!(matches!(
            receiver.try_recv(),
            Ok(JsonRpcMessage::Response(_))
        ));
        assert!(matches!(
            receiver.try_recv(),
            Ok(JsonRpcMessage::Notification(_))
        ));
        assert_eq!(inbound.dropped(), 2);
    }

    #[tokio::test]
    async fn an_answer_to_initialize_that_is_too_large_to_keep_is_an_error() {
        let (inbound, mut receiver) = begun(2, "initialize");
        let filler = "x".repeat(MAX_INITIALIZE);
        let large = INITIALIZED.replace(r#""name":"s""#, &format!(r#""name":"{filler}""#));
        take(&inbound, &large).await;
        assert!(matches!(receiver.try_recv(), Ok(JsonRpcMessage::Error(_))));
    }

    #[tokio::test]
    async fn announcements_that_nobody_waits_for_do_not_reach_rmcp() {
        let (inbound, mut receiver) = begun(8, "tools/list");
        for method in ["message", "progress", "cancelled", "invented"] {
            let text = format!(r#"{{"jsonrpc":"2.0","method":"notifications/{method}"}}"#);
            assert_eq!(take(&inbound, &text).await, Taken::Done);
        }
        assert!(receiver.try_recv().is_err());
        take(&inbound, &CHANGED.replace('/', "\\/")).await;
        assert!(receiver.try_recv().is_ok(), "however it is spelled");
    }

    #[tokio::test]
    async fn requests_of_a_server_are_answered_here_and_reach_nobody() {
        let (inbound, mut receiver) = begun(2, "tools/list");
        let ask = |id: &str, method: &str| {
            format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}"}}"#)
        };
        for method in [
            "roots/list",
            "sampling/createMessage",
            "elicitation/create",
            "x",
        ] {
            let Taken::Answer(text) = take(&inbound, &ask("\"s1\"", method)).await else {
                panic!("{method}")
            };
            assert!(text.contains(r#""id":"s1""#), "{text}");
            assert!(text.contains("-32601"), "{text}");
        }
        assert_eq!(
            take(&inbound, &ask("7", "ping")).await,
            Taken::Answer(r#"{"jsonrpc":"2.0","id":7,"result":{}}"#.to_owned())
        );
        let long = format!("\"{}\"", "i".repeat(MAX_ID));
        for id in [long.as_str(), "{}", "[]", "true"] {
            assert_eq!(take(&inbound, &ask(id, "ping")).await, Taken::Done, "{id}");
        }
        assert!(receiver.try_recv().is_err());
    }
}
