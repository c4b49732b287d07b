//! Clearing away what time has passed by: creations that never ended, remembered requests, deletions, definitions.
//!
//! Invariant: of a creation that never ended, the secrets go first and the row last, so that nothing is left in the
//! vault without a row that tells of it.

use std::time::Duration;

use lifecycle::CancellationToken;

use super::Registry;
use crate::{error::Result, upstream::vault::Owner};

const INTERVAL: Duration = Duration::from_secs(30);
/// How long a definition that no tool refers to is kept: reports that are under way may still name it.
const DEFINITIONS: Duration = Duration::from_secs(60 * 60);
const BATCH: u64 = 64;

impl Registry {
    /// Sweeps now and then, until cancelled.
    pub async fn keep_clean(&self, stop: CancellationToken) {
        loop {
            if let Err(error) = self.sweep().await {
                tracing::warn!(%error, "clearing away failed and is tried again");
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = self.abandoned.notified() => {}
                () = self.clock.sleep(INTERVAL) => {}
            }
        }
    }

    /// Looks for revisions of other processes, until cancelled.
    pub async fn follow_feed(&self, stop: CancellationToken) {
        const POLL: Duration = Duration::from_secs(1);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = self.clock.sleep(POLL) => {}
            }
            if let Err(error) = self.store.refresh().await {
                tracing::warn!(%error, "the change feed cannot be read");
            }
        }
    }

    /// Clears away everything that is due.
    ///
    /// # Errors
    /// Those of the database and of the vault; what was not cleared away is due again.
    pub async fn sweep(&self) -> Result<()> {
        let now = self.now();
        let mut outcome = Ok(());
        for unfinished in self
            .store
            .take_unfinished(now.before(self.settings.provisioning), BATCH)
            .await?
        {
            let owner = Owner {
                scope: &unfinished.scope,
                uid: unfinished.uid,
            };
            match self.vault.delete_all(owner).await {
                Ok(()) => {
                    self.store.remove_unfinished(unfinished.uid).await?;
                    tracing::info!(uid = %unfinished.uid, "an unfinished creation was cleared away");
                }
                Err(error) => outcome = Err(crate::error::Error::Vault(error)),
            }
        }
        self.store
            .forget_requests(now.before(self.settings.requests))
            .await?;
        self.store
            .forget_deletions(now.before(self.settings.deletions))
            .await?;
        self.store
            .forget_definitions(now.before(DEFINITIONS))
            .await?;
        outcome
    }
}
