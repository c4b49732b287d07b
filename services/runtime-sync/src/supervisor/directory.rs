//! Where calls find sessions: by name, in what is wanted and what runs, without waiting for the supervisor.
//!
//! Invariant: what is disabled, gone or replaced is never found, even if its session has not ended yet. Nothing here
//! starts or stops anything, and nothing here asks another service.

use std::{collections::HashMap, sync::Arc, time::Duration};

use lifecycle::Clock;
use names::{ConnectorName, ConnectorUid, ScopeSelector};
use tokio::{
    sync::watch,
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
    /// The runtime is shutting down.
    #[error("the runtime is shutting down")]
    Stopped,
}

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
}

impl Sessions {
    /// Waits until everything up to a revision was acted on. 0 does not wait.
    ///
    /// # Errors
    /// [`LookupError::DeadlineExceeded`], [`LookupError::Stopped`].
    pub async fn wait_for(&self, revision: i64, deadline: Instant) -> Result<(), LookupError> {
        if revision <= 0 {
            return Ok(());
        }
        let mut directory = self.directory.clone();
        let reached = directory.wait_for(|seen| seen.revision.is_some_and(|at| at >= revision));
        match timeout_at(deadline, reached).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(LookupError::Stopped),
            Err(_) => Err(LookupError::DeadlineExceeded),
        }
    }

    /// The session to call, once it is there.
    ///
    /// # Errors
    /// [`LookupError`].
    pub async fn find(
        &self,
        name: &ConnectorName,
        deadline: Instant,
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
            match timeout_at(deadline, changed).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Err(LookupError::Stopped),
                Err(_) => return Err(LookupError::DeadlineExceeded),
            }
        }
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
