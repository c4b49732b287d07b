//! Watching connectors: a snapshot, its end, then every change in the order of revisions.
//!
//! Invariants: a watcher that goes on from a position misses nothing after it; nothing is buffered beyond one read. A
//! connector of the snapshot is at least as new as the position at its end. Not here: streams and how slow readers are
//! cut off (see `grpc`).

use std::collections::VecDeque;

use names::{ConnectorName, ConnectorUid};
use tokio::{sync::watch, time::Instant};

use super::{Registry, Shown};
use crate::{
    domain::feed::{Feed, Position},
    error::{Error, Result},
    store::{Change, Key, Selection},
};

/// Connectors read at a time.
const STEP: u64 = 32;

/// One thing to tell a watcher.
#[derive(Debug)]
pub struct Event {
    /// What happened.
    pub happened: Happened,
    /// Where to go on after it; none inside a snapshot.
    pub position: Option<Position>,
}

/// What happened.
#[derive(Debug)]
pub enum Happened {
    /// A connector of the snapshot, or one that was created or changed.
    Upserted(Box<Shown>),
    /// A connector was deleted.
    Deleted {
        /// Its uid.
        uid: ConnectorUid,
        /// Its name.
        name: ConnectorName,
    },
    /// The snapshot is complete.
    SnapshotEnd,
    /// Nothing, and the feed is alive.
    Progress,
}

/// A watch under way.
#[derive(Debug)]
pub struct Watcher {
    registry: Registry,
    selection: Selection,
    key: Key,
    feed: Feed,
    stage: Stage,
    ready: VecDeque<Event>,
    newest: watch::Receiver<i64>,
    /// When the watcher is told that the feed is alive, unless it is told something before.
    next_progress: Instant,
}

#[derive(Debug)]
enum Stage {
    /// Connectors up to this uid were told.
    Snapshot(Option<ConnectorUid>),
    /// Changes up to this revision were told.
    Following(i64),
}

impl Registry {
    /// Begins a watch, with a snapshot unless it goes on from `resume`.
    ///
    /// # Errors
    /// [`Error::Unresumable`] when it cannot go on from there, and those of the database.
    pub async fn watch(
        &self,
        selection: Selection,
        key: Key,
        resume: Option<Position>,
    ) -> Result<Watcher> {
        let newest = self.store.newest();
        let feed = self.store.feed().await?;
        let stage = match resume {
            None => Stage::Snapshot(None),
            Some(position) => {
                feed.check(position).map_err(Error::Unresumable)?;
                Stage::Following(position.revision)
            }
        };
        let ready = VecDeque::new();
        let next_progress = self.clock.instant() + self.settings.progress;
        Ok(Watcher {
            registry: self.clone(),
            selection,
            key,
            feed,
            stage,
            ready,
            newest,
            next_progress,
        })
    }
}

impl Watcher {
    /// The next thing to tell, if one was read already.
    pub fn take(&mut self) -> Option<Event> {
        let event = self.ready.pop_front()?;
        self.next_progress = self.registry.clock.instant() + self.registry.settings.progress;
        Some(event)
    }

    /// Reads on, once. When there is nothing to tell afterwards, [`Watcher::wait`] before reading again.
    ///
    /// # Errors
    /// [`Error::Unresumable`] when the watcher has fallen so far behind that deletions are forgotten, and those of the
    /// database.
    pub async fn read(&mut self) -> Result<()> {
        match self.stage {
            Stage::Snapshot(after) => self.read_snapshot(after).await,
            Stage::Following(since) => self.read_changes(since).await,
        }
    }

    async fn read_snapshot(&mut self, after: Option<ConnectorUid>) -> Result<()> {
        let rows = self
            .registry
            .store
            .snapshot(&self.selection, after, STEP)
            .await?;
        let lease = self.registry.lease().await?;
        if let Some(last) = rows.last() {
            self.stage = Stage::Snapshot(Some(last.uid));
        } else {
            self.stage = Stage::Following(self.feed.revision);
            let position = Some(self.feed.position());
            self.ready.push_back(Event {
                happened: Happened::SnapshotEnd,
                position,
            });
        }
        self.ready.extend(rows.into_iter().map(|connector| {
            let shown = self.registry.show_with(connector, lease.as_ref());
            Event {
                happened: Happened::Upserted(Box::new(shown)),
                position: None,
            }
        }));
        Ok(())
    }

    async fn read_changes(&mut self, since: i64) -> Result<()> {
        self.newest.mark_unchanged();
        let changes = self
            .registry
            .store
            .changes(&self.selection, self.key, since, STEP)
            .await?;
        let at = |revision| Position {
            feed: self.feed.id,
            revision,
        };
        changes.feed.check(at(since)).map_err(Error::Unresumable)?;
        let lease = self.registry.lease().await?;
        self.stage = Stage::Following(changes.upto);
        for (revision, change) in changes.items {
            let happened = match change {
                Change::Upserted(connector) => Happened::Upserted(Box::new(
                    self.registry.show_with(*connector, lease.as_ref()),
                )),
                Change::Deleted { uid, name } => Happened::Deleted { uid, name },
            };
            self.ready.push_back(Event {
                happened,
                position: Some(at(revision)),
            });
        }
        Ok(())
    }

    /// Waits for a change, or until it is time to show that the feed is alive; not while there is something to tell.
    /// Cancel safe.
    pub async fn wait(&mut self) {
        let Stage::Following(since) = self.stage else {
            return;
        };
        if !self.ready.is_empty() {
            return;
        }
        let clock = self.registry.clock.clone();
        let progress = || Event {
            happened: Happened::Progress,
            position: Some(Position {
                feed: self.feed.id,
                revision: since,
            }),
        };
        tokio::select! {
            // First: changes that do not concern this watcher wake it, too, and must not starve it.
            biased;
            () = clock.sleep_until(self.next_progress) => self.ready.push_back(progress()),
            // The sender lives in the store, which this watcher holds.
            _ = self.newest.wait_for(|newest| *newest > since) => {}
        }
    }
}
