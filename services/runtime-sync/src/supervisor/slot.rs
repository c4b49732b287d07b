//! The places of sessions: one per connector, free, taken, or being vacated.
//!
//! Invariant: a place is taken only when it is free, so no connector ever has two sessions. Pure bookkeeping; nothing
//! here starts or stops anything.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use lifecycle::{Backoff, Jitter, Tasks};
use names::ConnectorUid;
use tokio::time::Instant;

use crate::session::SessionHandle;

/// The first pause before a session that broke is started again.
const FIRST_REST: Duration = Duration::from_secs(1);
/// The longest such pause.
const LONGEST_REST: Duration = Duration::from_secs(300);

/// One place.
#[derive(Debug)]
pub(super) enum Slot {
    /// A session.
    Running {
        handle: SessionHandle,
        tasks: Tasks,
        /// Tells this session from others of the same connector.
        life: u64,
    },
    /// A session that is being stopped.
    Stopping,
}

/// All places.
#[derive(Debug, Default)]
pub(super) struct Slots {
    slots: HashMap<ConnectorUid, Slot>,
    /// Connectors whose sessions broke, at which generation, and until when they rest.
    resting: HashMap<ConnectorUid, Rest>,
    lives: u64,
    handles: Arc<HashMap<ConnectorUid, SessionHandle>>,
}

#[derive(Debug)]
struct Rest {
    generation: i64,
    until: Instant,
    pauses: Backoff,
}

impl Slots {
    /// The running sessions with their generations.
    pub(super) fn running(&self) -> impl Iterator<Item = (ConnectorUid, i64)> {
        self.slots.iter().filter_map(|(uid, slot)| match slot {
            Slot::Running { handle, .. } => Some((*uid, handle.spec().generation)),
            Slot::Stopping => None,
        })
    }

    /// The handles of the running sessions.
    pub(super) fn handles(&self) -> Arc<HashMap<ConnectorUid, SessionHandle>> {
        Arc::clone(&self.handles)
    }

    /// Whether there is neither a session nor the rest of one.
    pub(super) fn is_empty(&self, uid: ConnectorUid) -> bool {
        !self.slots.contains_key(&uid)
    }

    /// Whether a session of this generation may be started now.
    pub(super) fn is_free(&self, uid: ConnectorUid, generation: i64, now: Instant) -> bool {
        let rests = self
            .resting
            .get(&uid)
            .is_some_and(|rest| rest.generation == generation && rest.until > now);
        !rests && self.is_empty(uid)
    }

    /// Puts a session in; gives the number of its life.
    pub(super) fn occupy(&mut self, uid: ConnectorUid, handle: SessionHandle, tasks: Tasks) -> u64 {
        self.lives += 1;
        let life = self.lives;
        Arc::make_mut(&mut self.handles).insert(uid, handle.clone());
        let slot = Slot::Running {
            handle,
            tasks,
            life,
        };
        self.slots.insert(uid, slot);
        life
    }

    /// Takes a session out to be stopped; its place stays taken until [`Slots::free`].
    pub(super) fn vacate(&mut self, uid: ConnectorUid) -> Option<(SessionHandle, Tasks)> {
        match self.slots.insert(uid, Slot::Stopping)? {
            Slot::Running { handle, tasks, .. } => {
                Arc::make_mut(&mut self.handles).remove(&uid);
                Some((handle, tasks))
            }
            Slot::Stopping => None,
        }
    }

    /// A session has ended.
    pub(super) fn free(&mut self, uid: ConnectorUid) {
        if matches!(self.slots.get(&uid), Some(Slot::Stopping)) {
            self.slots.remove(&uid);
        }
    }

    /// Whether this life of a session is the present one.
    pub(super) fn is_life(&self, uid: ConnectorUid, number: u64) -> bool {
        matches!(self.slots.get(&uid), Some(Slot::Running { life, .. }) if *life == number)
    }

    /// A session broke: it rests before it is started again, every time longer.
    pub(super) fn count_break(&mut self, uid: ConnectorUid) {
        let Some(Slot::Running { handle, .. }) = self.slots.get(&uid) else {
            return;
        };
        let generation = handle.spec().generation;
        let now = Instant::now();
        let rest = self.resting.entry(uid).or_insert_with(|| Rest {
            generation,
            until: now,
            pauses: Backoff::new(FIRST_REST, LONGEST_REST).jitter(Jitter::Equal),
        });
        if rest.generation != generation {
            rest.generation = generation;
            rest.pauses.reset();
        }
        rest.until = now + rest.pauses.next_delay();
    }

    /// When the first rest that is not over ends.
    pub(super) fn earliest(&self) -> Option<Instant> {
        let now = Instant::now();
        let ends = self.resting.values().map(|rest| rest.until);
        ends.filter(|until| *until > now).min()
    }

    /// Forgets the connectors that are no longer known; gives those of them that had a place.
    pub(super) fn forget_unless(
        &mut self,
        known: impl Fn(ConnectorUid) -> bool,
    ) -> HashSet<ConnectorUid> {
        self.resting.retain(|uid, _| known(*uid));
        self.slots
            .keys()
            .copied()
            .filter(|uid| !known(*uid))
            .collect()
    }
}
