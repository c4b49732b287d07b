//! What a server announces by itself, on its way from rmcp to the actor.
//!
//! rmcp starts a task for every notification, without bound or order; so the handlers here do nothing but put a mark
//! into a bounded queue, and lose nothing by a full one, because every mark in it says the same. Requests of a server
//! never come here: the transport answers them.

use rmcp::{
    ClientHandler, RoleClient,
    model::{ClientCapabilities, ClientConfig, Implementation, ProtocolVersion},
    service::NotificationContext,
};
use tokio::sync::mpsc;

use super::request::{CLIENT_NAME, CLIENT_VERSION};

/// Marks that may wait for the actor.
const QUEUE: usize = 8;

/// Something a server announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Notice {
    /// The list of tools changed.
    ToolsChanged,
}

/// The receiving end, held by the actor.
#[derive(Debug)]
pub(super) struct Notices(mpsc::Receiver<Notice>);

impl Notices {
    /// The next announcement; never, once nobody can make one any more. Cancel safe.
    pub(super) async fn next(&mut self) -> Notice {
        match self.0.recv().await {
            Some(notice) => notice,
            None => std::future::pending().await,
        }
    }
}

/// The sending end, which is what rmcp calls.
#[derive(Clone, Debug)]
pub(super) struct Notifier(mpsc::Sender<Notice>);

/// A connected pair.
pub(super) fn channel() -> (Notifier, Notices) {
    let (sender, receiver) = mpsc::channel(QUEUE);
    (Notifier(sender), Notices(receiver))
}

impl Notifier {
    /// Marks that the list of tools changed. Never waits.
    pub(super) fn tools_changed(&self) {
        // A full queue holds the same mark already, and a closed one has nobody to tell.
        let _full = self.0.try_send(Notice::ToolsChanged);
    }
}

impl ClientHandler for Notifier {
    async fn on_tool_list_changed(&self, _: NotificationContext<RoleClient>) {
        self.tools_changed();
    }

    fn get_info(&self) -> ClientConfig {
        // rmcp would name the newest revision in `initialize`, which that handshake does not belong to.
        ClientConfig::new(
            ClientCapabilities::default(),
            Implementation::new(CLIENT_NAME, CLIENT_VERSION),
        )
        .with_protocol_version(ProtocolVersion::LATEST_WITH_INITIALIZE)
    }
}

#[cfg(test)]
mod tests {
    use rmcp::ClientHandler as _;

    use super::{Notice, channel};

    #[tokio::test]
    async fn a_flood_of_announcements_waits_as_a_handful() {
        let (notifier, mut notices) = channel();
        for _ in 0..100_000 {
            notifier.tools_changed();
        }
        drop(notifier);
        let mut waiting = 0;
        while let Some(Notice::ToolsChanged) = notices.0.recv().await {
            waiting += 1;
        }
        assert_eq!(waiting, super::QUEUE);
    }

    #[test]
    fn the_handshake_names_a_revision_that_has_one_and_offers_nothing() {
        let (notifier, _notices) = channel();
        let config = notifier.get_info();
        assert_eq!(config.protocol_version.as_str(), "2025-11-25");
        let capabilities = serde_json::to_value(&config.capabilities).unwrap();
        assert_eq!(capabilities, serde_json::json!({}));
    }
}
