//! Taking what the runtime observed, and its being alive.

use names::ConnectorUid;
use uuid::Uuid;

use super::Registry;
use crate::{
    domain::definition::DefinitionHash,
    domain::timestamp::Timestamp,
    error::Result,
    store::{Observed, Reporter},
};

/// A runtime instance and its claim to the sessions.
#[derive(Debug, Clone)]
pub struct Runtime {
    /// The name it keeps over restarts.
    pub name: String,
    /// The instance.
    pub id: Uuid,
    /// The epoch it believes to have; 0 asks for one.
    pub epoch: i64,
}

/// What a report came to.
#[derive(Debug)]
pub struct Report {
    /// The runtime's epoch.
    pub epoch: i64,
    /// Until when it counts as present.
    pub present_until: Timestamp,
    /// Definitions that are not stored.
    pub missing: Vec<DefinitionHash>,
    /// Connectors that are gone or of another generation.
    pub ignored: Vec<ConnectorUid>,
}

impl Runtime {
    pub(super) fn reporter(&self) -> Reporter<'_> {
        Reporter {
            name: &self.name,
            id: self.id,
            epoch: self.epoch,
        }
    }
}

impl Registry {
    /// Takes a report.
    ///
    /// # Errors
    /// [`crate::error::Error::Lease`] when somebody else holds the sessions.
    pub async fn report(&self, runtime: &Runtime, observed: Vec<Observed>) -> Result<Report> {
        let presence = self.settings.presence;
        let reported = self
            .store
            .report(runtime.reporter(), observed, self.now(), presence)
            .await?;
        if runtime.epoch == 0 {
            tracing::info!(
                instance = runtime.name,
                epoch = reported.lease.epoch,
                "a runtime took over the sessions"
            );
        }
        Ok(Report {
            epoch: reported.lease.epoch,
            present_until: reported.lease.expires,
            missing: reported.missing.into_iter().collect(),
            ignored: reported.ignored,
        })
    }
}
