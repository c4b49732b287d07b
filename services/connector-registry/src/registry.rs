//! The use cases of the registry: what a handler calls. Each file below holds one of them.
//!
//! Invariant: a use case decides with `domain`, keeps with `store`, and seals with the vault, in this order; it knows no
//! protocol. Authorisation is done before, by the handlers.

mod apply;
mod create;
mod definitions;
mod outbox;
mod read;
mod report;
mod resolve;
mod secrets;
mod sweep;
mod wait;
mod watch;

use std::{future::Future, sync::Arc, time::Duration};

use lifecycle::{Clock, Tasks};
use names::{ConnectorUid, ScopeName};
use policy::{Policy, Refusal};
use tokio::sync::{Mutex, MutexGuard, Notify, Semaphore, oneshot};
use tracing::Instrument as _;

pub use self::{
    create::CreateRequest,
    read::{ConnectorPage, ListRequest, ScopeFacts, ToolPage, ToolRequest},
    report::{Report, Runtime},
    resolve::{Effective, Resolved, Unresolved},
    secrets::SetSecretsRequest,
    wait::Waited,
    watch::{Event, Happened, Watcher},
};
// The store's own vocabulary, as far as callers of the use cases need it.
pub use crate::store::{
    Key, Observed, ObservedTool, Selection, ToolCursor, ToolDetail, ToolRow, ToolScope,
};
use crate::{
    domain::{
        connector::Connector, lease::Lease, quota::Quotas, spec::Transport, timestamp::Timestamp,
    },
    error::{Error, Result},
    store::Store,
    upstream::vault::{Owner, Vault},
};

/// Locks for writing secrets; a power of two, so that uids spread evenly.
const STRIPES: usize = 64;

/// What the registry goes by.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How many connectors a scope may have.
    pub quotas: Quotas,
    /// Which URLs and commands a scope may use.
    pub policy: Policy,
    /// How long a runtime counts as present after a report.
    pub presence: Duration,
    /// After how long a creation that has not ended is cleared away.
    pub provisioning: Duration,
    /// How long request ids are remembered.
    pub requests: Duration,
    /// How long deletions can be caught up with.
    pub deletions: Duration,
    /// How often a watch shows that it is alive.
    pub progress: Duration,
    /// How long a watcher may take to read on.
    pub slow_reader: Duration,
    /// How many callers may wait for a connector at the same time, so that they leave room for other calls.
    pub waits: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            quotas: Quotas::default(),
            policy: Policy::default(),
            presence: Duration::from_secs(30),
            provisioning: Duration::from_secs(5 * 60),
            requests: Duration::from_secs(24 * 60 * 60),
            deletions: Duration::from_secs(24 * 60 * 60),
            progress: Duration::from_secs(15),
            slow_reader: Duration::from_secs(10),
            waits: 128,
        }
    }
}

/// The registry. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Registry {
    store: Store,
    vault: Vault,
    clock: Clock,
    settings: Arc<Settings>,
    /// Where work goes on whose caller is gone.
    detached: Arc<Tasks>,
    /// There may be leases to end.
    revocable: Arc<Notify>,
    /// There may be other work owed to the vault.
    owed: Arc<Notify>,
    /// Callers that may wait at the same time.
    waits: Arc<Semaphore>,
    /// Held while secrets of a connector are written or removed, so that a removal never hits a newer value.
    writing: Arc<[Mutex<()>; STRIPES]>,
}

/// A connector as it is shown.
#[derive(Debug, Clone)]
pub struct Shown {
    /// The connector.
    pub connector: Connector,
    /// Since when no runtime has been reporting of it.
    pub stale_since: Option<Timestamp>,
}

impl Registry {
    /// A registry over this database and vault; what must be finished although its caller is gone is finished in
    /// `detached`.
    #[must_use]
    pub fn new(
        store: Store,
        vault: Vault,
        clock: Clock,
        settings: Settings,
        detached: Tasks,
    ) -> Self {
        Self {
            store,
            vault,
            clock,
            waits: Arc::new(Semaphore::new(settings.waits)),
            settings: Arc::new(settings),
            detached: Arc::new(detached),
            revocable: Arc::default(),
            owed: Arc::default(),
            writing: Arc::new(std::array::from_fn(|_| Mutex::new(()))),
        }
    }

    /// What the registry goes by.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn ping(&self) -> Result<()> {
        Ok(self.store.ping().await?)
    }

    fn now(&self) -> Timestamp {
        self.clock.now().into()
    }

    async fn lease(&self) -> Result<Option<Lease>> {
        Ok(self.store.lease().await?)
    }

    async fn show(&self, connector: Connector) -> Result<Shown> {
        let lease = self.lease().await?;
        Ok(self.show_with(connector, lease.as_ref()))
    }

    fn show_with(&self, connector: Connector, lease: Option<&Lease>) -> Shown {
        let stale_since = connector.stale_since(lease, self.now());
        Shown {
            connector,
            stale_since,
        }
    }

    /// Does `work` to its end, also when the caller is gone meanwhile: what has begun to be sealed is to be referred to
    /// or given up, and not left lying.
    async fn to_the_end<T: Send + 'static>(
        &self,
        name: &'static str,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        let (tell, told) = oneshot::channel();
        let work = async move {
            let _caller_gone = tell.send(work.await);
        };
        self.detached.spawn_job(name, work.in_current_span());
        // Nothing is told when the registry stops, or when the work panics.
        told.await.unwrap_or(Err(Error::Interrupted))
    }

    async fn writing(&self, uid: ConnectorUid) -> MutexGuard<'_, ()> {
        self.write_lock(uid).lock().await
    }

    fn write_lock(&self, uid: ConnectorUid) -> &Mutex<()> {
        let stripe = uid.as_uuid().as_u128() % (STRIPES as u128);
        // The remainder is below the length.
        let stripe = usize::try_from(stripe).unwrap_or_default();
        self.writing.get(stripe).unwrap_or(&self.writing[0])
    }

    fn judge(&self, scope: &ScopeName, transport: &Transport) -> Result<()> {
        judge(&self.settings.policy, scope, transport)
            .map_err(|(field, refusal)| Error::Policy { field, refusal })
    }
}

/// What the policy says of a transport, and about which field.
fn judge(
    policy: &Policy,
    scope: &ScopeName,
    transport: &Transport,
) -> std::result::Result<(), (&'static str, Refusal)> {
    match transport {
        Transport::Stdio(stdio) => policy
            .check_command(scope.into(), &stdio.command, &stdio.arguments)
            .map(|_| ())
            .map_err(|refusal| ("connector.stdio.command", refusal)),
        Transport::StreamableHttp(http) => url::Url::parse(&http.url)
            .map_err(|_| Refusal::InvalidUrl)
            .and_then(|url| policy.check_url(scope.into(), &url))
            .map(|_| ())
            .map_err(|refusal| ("connector.streamable_http.url", refusal)),
        Transport::Unknown => Err(("connector", Refusal::UnknownScheme)),
    }
}

/// Whose secrets those of a connector are.
fn owner(connector: &Connector) -> Owner<'_> {
    Owner {
        scope: connector.name.scope(),
        uid: connector.uid,
    }
}
