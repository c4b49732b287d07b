//! `WatchSessions`: a live tail of the sessions of a scope.
//!
//! Invariants: what a watcher has not read yet is bounded, because only the latest state of each session waits for it;
//! one that reads nothing for too long is cut; every watch ends when the server drains.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use contracts::runtime::v1 as pb;
use futures_util::{
    Stream, StreamExt as _,
    stream::{BoxStream, SelectAll},
};
use lifecycle::{CancellationToken, Tasks};
use names::{ConnectorName, ScopeSelector};
use pb::watch_sessions_response::Event;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::timeout,
};
use tokio_stream::wrappers::WatchStream;
use tonic::Status;

use super::{
    convert::{self, History},
    status,
};
use crate::{
    desired::DesiredConnector,
    domain::SessionStatus,
    session::SessionHandle,
    supervisor::{Found, Sessions},
};

/// Bounds of a watch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WatchOptions {
    /// Messages that may wait for one watcher.
    pub(crate) queue: usize,
    /// How long a watcher may read nothing while messages wait for it.
    pub(crate) patience: Duration,
}

type Message = pb::WatchSessionsResponse;

/// Starts a watch in a task of its own; dropping the stream ends it.
pub(super) fn start(
    sessions: Sessions,
    scopes: ScopeSelector,
    options: WatchOptions,
    draining: CancellationToken,
    tasks: &Tasks,
) -> Watch {
    let (messages, queue) = mpsc::channel(options.queue);
    let (ended, end) = oneshot::channel();
    let watcher = Watcher {
        sessions,
        scopes,
        patience: options.patience,
        messages,
        known: HashMap::new(),
        statuses: SelectAll::new(),
    };
    let stopped = tasks.token();
    tasks.spawn_job("watch", async move {
        let end = tokio::select! {
            biased;
            () = draining.cancelled() => Some(status::shutting_down()),
            () = stopped.cancelled() => Some(status::shutting_down()),
            end = watcher.run() => end,
        };
        // The watcher may be gone.
        drop(end.map(|end| ended.send(end)));
    });
    Watch {
        queue,
        end: Some(end),
    }
}

/// The messages of a watch, and at last why it ended.
#[derive(Debug)]
pub(super) struct Watch {
    queue: mpsc::Receiver<Message>,
    end: Option<oneshot::Receiver<Status>>,
}

impl Stream for Watch {
    type Item = Result<Message, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(message) = std::task::ready!(self.queue.poll_recv(cx)) {
            return Poll::Ready(Some(Ok(message)));
        }
        let Some(end) = &mut self.end else {
            return Poll::Ready(None);
        };
        let end = std::task::ready!(Pin::new(end).poll(cx));
        self.end = None;
        // A watch that ended without a word ended with the runtime: its reader is to connect again.
        let end = end.unwrap_or_else(|_| status::shutting_down());
        Poll::Ready(Some(Err(end)))
    }
}

struct Watcher {
    sessions: Sessions,
    scopes: ScopeSelector,
    patience: Duration,
    messages: mpsc::Sender<Message>,
    /// The connectors that were shown.
    known: HashMap<ConnectorName, Shown>,
    statuses: SelectAll<BoxStream<'static, (ConnectorName, i64)>>,
}

/// What was shown of a connector.
struct Shown {
    connector: Arc<DesiredConnector>,
    /// The channel of its session: a session that was started again has another one.
    status: Option<watch::Receiver<Arc<SessionStatus>>>,
}

impl Shown {
    fn of(found: &Found) -> Self {
        Self {
            connector: Arc::clone(&found.connector),
            status: found.session.as_ref().map(SessionHandle::status),
        }
    }

    fn is_same(&self, other: &Self) -> bool {
        let same_session = match (&self.status, &other.status) {
            (Some(one), Some(other)) => one.same_channel(other),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        same_session && self.connector == other.connector
    }
}

/// The watcher reads too slowly, or is gone.
struct Cut(Option<Status>);

impl Watcher {
    /// Watches until the watcher is cut; gives the status to end with.
    async fn run(mut self) -> Option<Status> {
        let Err(Cut(end)) = self.watch().await;
        end
    }

    async fn watch(&mut self) -> Result<std::convert::Infallible, Cut> {
        let (mut desired, mut directory) = (
            self.sessions.desired.clone(),
            self.sessions.directory.clone(),
        );
        loop {
            desired.mark_unchanged();
            directory.mark_unchanged();
            self.compare().await?;
            loop {
                tokio::select! {
                    biased;
                    () = self.messages.closed() => return Err(Cut(None)),
                    changed = desired.changed() => break changed.map_err(|_| Cut(None))?,
                    changed = directory.changed() => break changed.map_err(|_| Cut(None))?,
                    Some((name, generation)) = self.statuses.next(), if !self.statuses.is_empty() => {
                        self.changed(&name, generation).await?;
                    }
                }
            }
        }
    }

    /// Shows what came, changed or went since the last look.
    async fn compare(&mut self) -> Result<(), Cut> {
        let found = self.sessions.list(&self.scopes, None, usize::MAX);
        let present: HashMap<&ConnectorName, &Found> = found
            .iter()
            .map(|found| (&found.connector.name, found))
            .collect();
        let gone: Vec<ConnectorName> = self
            .known
            .extract_if(|name, _| !present.contains_key(name))
            .map(|(name, _)| name)
            .collect();
        for name in gone {
            self.send(Event::Removed(name.to_string())).await?;
        }
        for found in &found {
            let (shown, name) = (Shown::of(found), &found.connector.name);
            if self
                .known
                .get(name)
                .is_some_and(|before| before.is_same(&shown))
            {
                continue;
            }
            self.known.insert(name.clone(), shown);
            match &found.session {
                // The stream begins with the present status.
                Some(session) => {
                    let (name, generation) = (name.clone(), found.connector.generation);
                    let statuses = WatchStream::new(session.status());
                    let changes = statuses.map(move |_| (name.clone(), generation));
                    self.statuses.push(changes.boxed());
                }
                None => self.show(found).await?,
            }
        }
        Ok(())
    }

    /// A session's status changed.
    async fn changed(&mut self, name: &ConnectorName, generation: i64) -> Result<(), Cut> {
        let Ok(found) = self.sessions.get(name) else {
            return Ok(());
        };
        // The last words of a session that was replaced are not worth showing.
        if found.connector.generation != generation || found.session.is_none() {
            return Ok(());
        }
        self.show(&found).await
    }

    async fn show(&mut self, found: &Found) -> Result<(), Cut> {
        let session = convert::session(&self.sessions, found, History::Without);
        self.send(Event::Session(session)).await
    }

    async fn send(&mut self, event: Event) -> Result<(), Cut> {
        match timeout(self.patience, self.messages.reserve()).await {
            Ok(Ok(permit)) => {
                permit.send(Message { event: Some(event) });
                Ok(())
            }
            Ok(Err(_)) => Err(Cut(None)),
            Err(_) => Err(Cut(Some(status::watcher_too_slow()))),
        }
    }
}

#[cfg(test)]
mod tests;
