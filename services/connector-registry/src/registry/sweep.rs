//! Clearing away what time has passed by: creations that never ended, remembered requests, deletions, definitions.
//!
//! Invariant: a creation that never ended leaves together with a note to the outbox of what it may have left in the vault.

use std::time::Duration;

use lifecycle::CancellationToken;

use super::Registry;
use crate::error::Result;

const INTERVAL: Duration = Duration::from_secs(30);
/// How long a definition that no tool refers to is kept: reports that are under way may still name it.
const DEFINITIONS: Duration = Duration::from_secs(60 * 60);
/// Rows of a kind cleared away at a time.
const BATCH: u64 = 256;

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
    /// Those of the database; what was not cleared away is due again.
    pub async fn sweep(&self) -> Result<()> {
        let now = self.now();
        let stuck = now.before(self.settings.provisioning);
        for uid in self.store.unfinished(stuck, BATCH).await? {
            // Whoever is still at it in this process will end it himself.
            let Ok(_writing) = self.write_lock(uid).try_lock() else {
                continue;
            };
            self.give_up(uid).await?;
            tracing::info!(%uid, "an unfinished creation was given up");
        }
        self.store
            .forget_requests(now.before(self.settings.requests))
            .await?;
        self.store
            .forget_deletions(now.before(self.settings.deletions))
            .await?;
        self.store
            .forget_definitions(now.before(DEFINITIONS), BATCH)
            .await?;
        Ok(())
    }
}
