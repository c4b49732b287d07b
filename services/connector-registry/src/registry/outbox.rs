//! Doing what changes owe to the vault, until it is done.
//!
//! Invariant: a task is only ever forgotten after the vault has confirmed it. Doing it twice does no harm.

use std::time::Duration;

use lifecycle::CancellationToken;
use names::ConnectorUid;
use uuid::Uuid;

use super::{Registry, create::derived_request};
use crate::{
    domain::spec::{SecretField, SecretPlace},
    error::{Error, Result},
    store::{Action, Claimed, Variables},
    upstream::vault::{self, BlobPatch, Owner},
};

/// Tasks that were left by a process which ended are looked for this often.
const POLL: Duration = Duration::from_secs(5);
/// For how long a task belongs to whoever took it; longer than a call to the vault may take.
const HOLD: Duration = Duration::from_secs(60);
const BATCH: u64 = 32;
const LONGEST_DELAY: Duration = Duration::from_secs(60);

impl Registry {
    /// Works off what is owed, until cancelled.
    pub async fn work_off(&self, stop: CancellationToken) {
        loop {
            match self.work_off_due().await {
                Ok(0) => {}
                // There may be more.
                Ok(_) => continue,
                Err(error) => tracing::warn!(%error, "what is owed to the vault cannot be read"),
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = self.owed.notified() => {}
                () = self.clock.sleep(POLL) => {}
            }
        }
    }

    async fn work_off_due(&self) -> Result<usize> {
        let tasks = self
            .store
            .claim_tasks(None, self.now(), HOLD, BATCH)
            .await?;
        let mut done = 0;
        for task in tasks {
            let _writing = self.writing(task.uid).await;
            if let Err(error) = self.settle(&task).await {
                tracing::warn!(connector = %task.connector, attempts = task.attempts, %error, "a task for the vault failed and is tried again");
                self.store
                    .postpone_task(task.id, self.now().after(delay(task.attempts)))
                    .await?;
            } else {
                done += 1;
            }
        }
        Ok(done)
    }

    /// Does everything that is owed for one connector, or fails. The caller holds the connector's write lock.
    pub(super) async fn settle_debts(&self, uid: ConnectorUid) -> Result<()> {
        for task in self
            .store
            .claim_tasks(Some(uid), self.now(), HOLD, BATCH)
            .await?
        {
            self.settle(&task).await?;
        }
        Ok(())
    }

    async fn settle(&self, task: &Claimed) -> Result<()> {
        let owner = Owner {
            scope: task.connector.scope(),
            uid: task.uid,
        };
        let done = match &task.action {
            Action::DeleteSecrets => self.vault.delete_all(owner).await,
            Action::DeleteSecret(name) => self.vault.delete(name).await,
            Action::RevokeLeases => self.vault.revoke_leases(owner).await,
            Action::UnsetVariables(variables) => {
                return self.unset(owner, task.id, variables).await;
            }
        };
        match done {
            Ok(()) | Err(vault::Error::NotFound) => Ok(self.store.finish_task(task.id).await?),
            Err(error) => Err(Error::Vault(error)),
        }
    }

    /// Removes variables from a blob, but for those that were set again since.
    async fn unset(&self, owner: Owner<'_>, task: Uuid, variables: &Variables) -> Result<()> {
        let present = self.store.secret_fields(owner.uid).await?;
        let is_back =
            |name: &str| present.contains(&SecretField::new(SecretPlace::Environment, name));
        let unset: Vec<String> = variables
            .names
            .iter()
            .filter(|name| !is_back(name))
            .cloned()
            .collect();
        if !unset.is_empty() {
            let request = derived_request(task, &unset.join(","));
            let patch = BlobPatch {
                set: Vec::new(),
                unset,
                destination: &variables.destination,
                request,
            };
            match self.vault.patch_blob(owner, patch).await {
                Ok(Some(blob)) => self.store.move_variables(owner.uid, &blob).await?,
                Ok(None) | Err(vault::Error::NotFound) => {}
                Err(error) => return Err(Error::Vault(error)),
            }
        }
        Ok(self.store.finish_task(task).await?)
    }
}

/// When a task that failed so often is due again.
fn delay(attempts: u32) -> Duration {
    let exponent = attempts.saturating_sub(1).min(6);
    let delay = Duration::from_secs(1) * 2_u32.pow(exponent);
    delay.min(LONGEST_DELAY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_and_are_bounded() {
        assert_eq!(delay(1), Duration::from_secs(1));
        assert_eq!(delay(3), Duration::from_secs(4));
        assert_eq!(delay(u32::MAX), LONGEST_DELAY);
    }
}
