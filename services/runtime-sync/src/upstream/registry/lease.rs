//! This instance's claim to the sessions: the epoch the registry gave, put up for everybody who has to show it.
//!
//! Only the reporter writes it, because only `ReportStatus` gives and takes epochs.

use std::sync::Arc;

use contracts::registry::v1 as pb;
use tokio::sync::{Notify, watch};
use uuid::Uuid;

/// Who this runtime is. The id is new with every start of the process.
#[derive(Clone, Debug)]
pub struct Instance {
    /// The instance's own id.
    pub id: Uuid,
    /// Its configured name: a process started again under it takes over at once.
    pub name: String,
}

/// The present claim. Cheap to clone; clones share it.
#[derive(Clone, Debug)]
pub struct LeaseBoard(Arc<Board>);

#[derive(Debug)]
struct Board {
    instance: Instance,
    epoch: watch::Sender<Option<i64>>,
    suspicion: Notify,
}

impl LeaseBoard {
    /// No epoch yet.
    #[must_use]
    pub fn new(instance: Instance) -> Self {
        Self(Arc::new(Board {
            instance,
            epoch: watch::Sender::new(None),
            suspicion: Notify::new(),
        }))
    }

    /// Who this runtime is.
    #[must_use]
    pub fn identity(&self) -> &Instance {
        &self.0.instance
    }

    /// The epoch, and every change to it. `None`: another instance holds the sessions, or nobody was asked yet.
    #[must_use]
    pub fn epoch(&self) -> watch::Receiver<Option<i64>> {
        self.0.epoch.subscribe()
    }

    /// The epoch now.
    #[must_use]
    pub fn current(&self) -> Option<i64> {
        *self.0.epoch.borrow()
    }

    /// The claim to show with a request, if there is one.
    pub(super) fn instance(&self) -> Option<pb::RuntimeInstance> {
        self.current().map(|epoch| self.claim(epoch))
    }

    /// The claim at an epoch; 0 asks for one.
    pub(super) fn claim(&self, lease_epoch: i64) -> pb::RuntimeInstance {
        pb::RuntimeInstance {
            instance_id: self.0.instance.id.to_string(),
            instance_name: self.0.instance.name.clone(),
            lease_epoch,
        }
    }

    pub(super) fn set(&self, epoch: Option<i64>) {
        self.0.epoch.send_if_modified(|current| {
            let changed = *current != epoch;
            *current = epoch;
            changed
        });
    }

    /// Something suggests that the lease is lost: the reporter is to ask at once.
    pub(super) fn suspect(&self) {
        self.0.suspicion.notify_one();
    }

    /// Completes when somebody suspects. Cancel safe.
    pub(super) async fn suspected(&self) {
        self.0.suspicion.notified().await;
    }
}
