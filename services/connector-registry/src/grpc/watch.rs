//! The stream of a watch: a task that reads the feed, a short queue, and an end that says why.
//!
//! Invariants: at most [`QUEUE`] messages wait for a reader; one that takes none for too long is cut off and told so
//! ahead of what it did not read; a drain ends every watch with UNAVAILABLE.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use contracts::registry::v1 as pb;
use futures_util::{FutureExt as _, Stream};
use lifecycle::{CancellationToken, Tasks};
use tokio::sync::{
    mpsc::{self, error::SendTimeoutError},
    oneshot,
};
use tonic::Status;

use super::{convert, status};
use crate::registry::{Event, Happened, Key, Watcher};

/// Messages that may wait for a reader; each has at most some 256 KiB.
const QUEUE: usize = 8;

/// The messages of a watch; its task lives in `tasks` until the reader goes away.
pub(super) fn stream(
    watcher: Watcher,
    key: Key,
    patience: Duration,
    draining: CancellationToken,
    tasks: &Tasks,
) -> impl Stream<Item = Result<pb::WatchConnectorsResponse, Status>> + Send + 'static {
    let (sender, messages) = mpsc::channel(QUEUE);
    let (end, ended) = oneshot::channel();
    tasks.spawn_job("watch", async move {
        let why = pump(watcher, key, patience, draining, sender).await;
        if let Some(status) = why {
            // The reader may have gone away; then nobody wants to know.
            end.send(status).unwrap_or_default();
        }
    });
    Messages {
        messages,
        ended: Some(ended),
    }
}

/// Feeds a reader until it goes away (`None`) or is to be told something.
async fn pump(
    mut watcher: Watcher,
    key: Key,
    patience: Duration,
    draining: CancellationToken,
    sender: mpsc::Sender<pb::WatchConnectorsResponse>,
) -> Option<Status> {
    loop {
        while let Some(event) = watcher.take() {
            let sent = tokio::select! {
                biased;
                () = draining.cancelled() => return Some(status::shutting_down()),
                sent = sender.send_timeout(message(event, key), patience) => sent,
            };
            match sent {
                Ok(()) => {}
                Err(SendTimeoutError::Timeout(_)) => return Some(status::too_slow()),
                Err(SendTimeoutError::Closed(_)) => return None,
            }
        }
        // A read is short and is finished, also when the reader goes away meanwhile.
        if let Err(error) = watcher.read().await {
            return Some(error.into());
        }
        tokio::select! {
            biased;
            () = draining.cancelled() => return Some(status::shutting_down()),
            () = sender.closed() => return None,
            () = watcher.wait() => {}
        }
    }
}

fn message(Event { happened, position }: Event, key: Key) -> pb::WatchConnectorsResponse {
    use pb::watch_connectors_response::Event as Told;
    let event = match happened {
        Happened::Upserted(shown) => Told::Connector(match key {
            Key::Desired => convert::without_status(&shown),
            Key::Any => convert::full(&shown),
        }),
        Happened::Deleted { uid, name } => Told::Deleted(convert::deleted(uid, &name)),
        Happened::SnapshotEnd => Told::SnapshotEnd(pb::SnapshotEnd {}),
        Happened::Progress => Told::Progress(pb::Progress {}),
    };
    pb::WatchConnectorsResponse {
        event: Some(event),
        resume_token: position
            .map(|position| position.to_string())
            .unwrap_or_default(),
        revision: position
            .map(|position| position.revision)
            .unwrap_or_default(),
    }
}

struct Messages {
    messages: mpsc::Receiver<pb::WatchConnectorsResponse>,
    ended: Option<oneshot::Receiver<Status>>,
}

impl Stream for Messages {
    type Item = Result<pb::WatchConnectorsResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(ended) = &mut self.ended else {
            return Poll::Ready(None);
        };
        match ended.poll_unpin(context) {
            // What still waits is dropped: the reader goes on from the last token it saw.
            Poll::Ready(Ok(status)) => {
                self.ended = None;
                self.messages.close();
                Poll::Ready(Some(Err(status)))
            }
            // The task ended without a word: it was aborted with its set.
            Poll::Ready(Err(_)) => {
                self.ended = None;
                self.messages.close();
                Poll::Ready(Some(Err(status::shutting_down())))
            }
            Poll::Pending => match self.messages.poll_recv(context) {
                Poll::Ready(Some(message)) => Poll::Ready(Some(Ok(message))),
                // The task is about to say why it ended.
                Poll::Ready(None) | Poll::Pending => Poll::Pending,
            },
        }
    }
}
