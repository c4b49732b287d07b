//! Where calls find sessions: by name, in what is wanted and what runs, without waiting for the supervisor.
//!
//! Invariant: what is disabled, gone or replaced is never found, even if its session has not ended yet. Nothing here
//! starts or stops anything, and nothing here asks another service.

use std::{collections::HashMap, sync::Arc, time::Duration};

use lifecycle::{CancellationToken, Clock};
use names::{ConnectorName, ConnectorUid, ScopeSelector};
use tokio::{
    sync::{Semaphore, SemaphorePermit, watch},
    time::{Instant, timeout_at},
};

use super::status_without_session;
use crate::{
    desired::{Desired, DesiredConnector, Plan},
    domain::SessionStatus,
    session::SessionHandle,
    upstream::registry::{Freshness, LeaseBoard},
};

/// The sessions there are, as of one revision of the feed.
#[derive(Debug, Default)]
pub struct Directory {
    /// The revision up to which everything wanted was acted on.
    pub revision: Option<i64>,
    /// The lease epoch under which the sessions run.
    pub epoch: Option<i64>,
    /// The running sessions.
    pub sessions: Arc<HashMap<ConnectorUid, SessionHandle>>,
}

/// A connector, and its session if it has one.
#[derive(Clone, Debug)]
pub struct Found {
    /// The connector as it is wanted.
    pub connector: Arc<DesiredConnector>,
    /// Its session, of the same generation.
    pub session: Option<SessionHandle>,
}

/// Why there is no session to call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    /// There is no such connector.
    #[error("there is no such connector")]
    NotFound,
    /// Its owner switched it off.
    #[error("the connector is disabled")]
    Disabled,
    /// Its spec needs a newer release.
    #[error("the connector's settings need a newer release")]
    TooNew,
    /// The registry was not heard for too long.
    #[error("the registry was not heard for too long")]
    Stale,
    /// Its session was not there, or the revision not known, before the deadline.
    #[error("the deadline passed")]
    DeadlineExceeded,
    /// Too many requests wait already.
    #[error("too many requests wait for a revision or a session")]
    TooManyWaits,
    /// The runtime is shutting down.
    #[error("the runtime is shutting down")]
    Stopped,
}

impl LookupError {
    /// The stable reason, for logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotFound => "CONNECTOR_NOT_FOUND",
            Self::Disabled => "CONNECTOR_DISABLED",
            Self::TooNew => "SPEC_TOO_NEW",
            Self::Stale => "REGISTRY_STALE",
            Self::DeadlineExceeded => "DEADLINE_EXCEEDED",
            Self::TooManyWaits => "OVERLOADED",
            Self::Stopped => "SHUTTING_DOWN",
        }
    }
}

/// For how long something is waited for.
#[derive(Clone, Debug)]
pub struct Patience {
    /// At the longest until then.
    pub until: Instant,
    /// Fired when this runtime takes no more requests.
    pub draining: CancellationToken,
}

/// The longest wait for a revision, whatever the deadline: one that has not come by then will not.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// Requests that may wait at once. Far fewer than may be served at once, so that those that wait keep out nobody else.
pub(crate) const MAX_WAITS: usize = 256;

/// The way to the sessions. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Sessions {
    /// What is wanted.
    pub desired: watch::Receiver<Arc<Desired>>,
    /// What runs.
    pub directory: watch::Receiver<Arc<Directory>>,
    /// When the registry was last heard.
    pub freshness: Freshness,
    /// For how long what is known may be trusted without news.
    pub stale_after: Duration,
    /// Who this runtime is.
    pub lease: LeaseBoard,
    /// Where the time comes from.
    pub clock: Clock,
    /// Who may wait for a revision or a session.
    pub waits: Arc<Semaphore>,
}

impl Sessions {
    /// Waits until everything up to a revision was acted on. 0 does not wait. Cancel safe.
    ///
    /// # Errors
    /// [`LookupError::DeadlineExceeded`], [`LookupError::TooManyWaits`], [`LookupError::Stopped`].
    pub async fn wait_for(&self, revision: i64, patience: &Patience) -> Result<(), LookupError> {
        let is_reached =
            |seen: &Arc<Directory>| revision <= 0 || seen.revision.is_some_and(|at| at >= revision);
        if is_reached(&self.directory.borrow()) {
            return Ok(());
        }
        let _permit = self.wait_permit()?;
        let mut directory = self.directory.clone();
        let reached = async { directory.wait_for(is_reached).await.map(|_| ()) };
        let longest = Instant::now() + LONGEST_WAIT;
        patience.no_longer_than(longest).wait(reached).await
    }

    /// The session to call, once it is there. Cancel safe.
    ///
    /// # Errors
    /// [`LookupError`].
    pub async fn find(
        &self,
        name: &ConnectorName,
        patience: &Patience,
    ) -> Result<SessionHandle, LookupError> {
        if self
            .freshness
            .silence()
            .is_none_or(|silence| silence > self.stale_after)
        {
            return Err(LookupError::Stale);
        }
        if let Some(session) = self.look(name)? {
            return Ok(session);
        }
        // Rare: it is being started, or replaced.
        let _permit = self.wait_permit()?;
        let (mut desired, mut directory) = (self.desired.clone(), self.directory.clone());
        loop {
            desired.mark_unchanged();
            directory.mark_unchanged();
            if let Some(session) = self.look(name)? {
                return Ok(session);
            }
            let changed = async {
                tokio::select! {
                    changed = desired.changed() => changed,
                    changed = directory.changed() => changed,
                }
            };
            patience.wait(changed).await?;
        }
    }

    fn wait_permit(&self) -> Result<SemaphorePermit<'_>, LookupError> {
        let permit = self.waits.try_acquire();
        permit.map_err(|_| LookupError::TooManyWaits)
    }

    /// The session of a connector that is to have one; `None` while it is not there yet.
    fn look(&self, name: &ConnectorName) -> Result<Option<SessionHandle>, LookupError> {
        let desired = self.desired.borrow();
        let connector = desired.get(name).ok_or(LookupError::NotFound)?;
        match connector.plan {
            Plan::Disabled => return Err(LookupError::Disabled),
            Plan::TooNew => return Err(LookupError::TooNew),
            Plan::Session(_) => {}
        }
        Ok(self.session_of(connector))
    }

    /// Whether a connector is to have a session.
    #[must_use]
    pub fn is_wanted(&self, name: &ConnectorName) -> bool {
        let desired = self.desired.borrow();
        let plan = desired.get(name).map(|connector| &connector.plan);
        matches!(plan, Some(Plan::Session(_)))
    }

    fn session_of(&self, connector: &DesiredConnector) -> Option<SessionHandle> {
        let directory = self.directory.borrow();
        let session = directory.sessions.get(&connector.uid)?;
        // A session of another generation is on its way out.
        (session.spec().generation == connector.generation && session.spec().uid == connector.uid)
            .then(|| session.clone())
    }

    /// A connector with its session, whatever its state.
    ///
    /// # Errors
    /// [`LookupError::NotFound`].
    pub fn get(&self, name: &ConnectorName) -> Result<Found, LookupError> {
        let connector = self.desired.borrow().get(name).cloned();
        connector
            .map(|connector| self.found(connector))
            .ok_or(LookupError::NotFound)
    }

    /// The connectors of a scope, or of all scopes of a kind, by name, beginning after a name.
    #[must_use]
    pub fn list(
        &self,
        scopes: &ScopeSelector,
        after: Option<&ConnectorName>,
        limit: usize,
    ) -> Vec<Found> {
        let desired = Arc::clone(&self.desired.borrow());
        let selected = desired.select(scopes, after).take(limit).cloned();
        selected.map(|connector| self.found(connector)).collect()
    }

    fn found(&self, connector: Arc<DesiredConnector>) -> Found {
        let session = match connector.plan {
            Plan::Session(_) => self.session_of(&connector),
            Plan::Disabled | Plan::TooNew => None,
        };
        Found { connector, session }
    }

    /// The status of a connector, of its session if it has one.
    #[must_use]
    pub fn status(&self, found: &Found) -> Arc<SessionStatus> {
        match &found.session {
            Some(session) => session.status().borrow().clone(),
            None => Arc::new(status_without_session(&found.connector, &self.clock)),
        }
    }
}

impl Patience {
    fn no_longer_than(&self, until: Instant) -> Self {
        Self {
            until: self.until.min(until),
            draining: self.draining.clone(),
        }
    }

    /// Waits for a change; one that cannot come any more is the end of the runtime.
    async fn wait<E>(
        &self,
        change: impl Future<Output = Result<(), E>>,
    ) -> Result<(), LookupError> {
        tokio::select! {
            biased;
            changed = timeout_at(self.until, change) => match changed {
                Ok(Ok(())) => Ok(()),
                Ok(Err(_)) => Err(LookupError::Stopped),
                Err(_) => Err(LookupError::DeadlineExceeded),
            },
            () = self.draining.cancelled() => Err(LookupError::Stopped),
        }
    }
}

impl Found {
    /// The canonical destination of the connector; empty when its spec leads nowhere.
    #[must_use]
    pub fn endpoint(&self) -> String {
        match &self.connector.plan {
            Plan::Session(spec) => super::merge::destination(&spec.transport)
                .map(|destination| destination.to_string())
                .unwrap_or_default(),
            Plan::Disabled | Plan::TooNew => String::new(),
        }
    }
}

#[cfg(test)]
mod tests;
