//! Doing what changes owe to the vault, until it is done.
//!
//! Invariants: a task is only ever forgotten after the vault has confirmed it; doing it twice does no harm; what is
//! referred to at that moment is never destroyed. Ends of leases wait for nothing else.

use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use lifecycle::CancellationToken;
use names::{ConnectorUid, SecretName};
use tokio::sync::Notify;

use super::{Registry, create::derived_request};
use crate::{
    domain::{connector::StoredSecret, spec::SecretPlace},
    error::{Error, Result},
    store::{Action, Claimed, NewTask, Superseded, Tasks},
    upstream::vault::{self, BlobPatch, Owner},
};

/// Tasks that were left by a process which ended are looked for this often.
const POLL: Duration = Duration::from_secs(5);
/// A lease has to end within 2 s of its reason, also when another process wrote that down.
const POLL_REVOCATIONS: Duration = Duration::from_secs(1);
/// For how long a task belongs to whoever took it; longer than a call to the vault may take.
const HOLD: Duration = Duration::from_secs(60);
const BATCH: u64 = 32;
/// Tasks done at the same time, so that one connector's trouble holds up no other.
const AT_ONCE: usize = 8;
const LONGEST_DELAY: Duration = Duration::from_secs(60);
const LONGEST_REVOCATION_DELAY: Duration = Duration::from_secs(2);
/// How often the tasks of one connector are read before a write goes on without the rest.
const ROUNDS: usize = 8;
/// A grant lives for at most a minute; until it has ended, the versions that it names are kept.
const GRANTED: Duration = Duration::from_secs(90);

impl Registry {
    /// Ends leases, until cancelled.
    pub async fn revoke(&self, stop: CancellationToken) {
        self.work(Tasks::Revocations, POLL_REVOCATIONS, &self.revocable, stop)
            .await;
    }

    /// Works off everything else that is owed, until cancelled.
    pub async fn work_off(&self, stop: CancellationToken) {
        self.work(Tasks::Others, POLL, &self.owed, stop).await;
    }

    /// Something may have become due.
    pub(super) fn tell_workers(&self) {
        self.revocable.notify_one();
        self.owed.notify_one();
    }

    async fn work(&self, which: Tasks, poll: Duration, told: &Notify, stop: CancellationToken) {
        loop {
            match self.work_off_due(which).await {
                Ok(0) => {}
                // There may be more.
                Ok(_) => continue,
                Err(error) => tracing::warn!(%error, "what is owed to the vault cannot be read"),
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = told.notified() => {}
                () = self.clock.sleep(poll) => {}
            }
        }
    }

    /// How many of the due tasks were done.
    async fn work_off_due(&self, which: Tasks) -> Result<usize> {
        let tasks = self
            .store
            .claim_tasks(which, self.now(), HOLD, BATCH)
            .await?;
        let done = stream::iter(tasks)
            .map(|task| async move {
                match task.action {
                    // It touches no secret, so it need not wait for those who do.
                    Action::RevokeLeases => self.try_settle(&task).await,
                    Action::DeleteSecrets
                    | Action::DeleteSecret(_)
                    | Action::UnsetVariables(_)
                    | Action::DestroyVersions(_) => {
                        let _writing = self.writing(task.uid).await;
                        self.try_settle(&task).await
                    }
                }
            })
            .buffer_unordered(AT_ONCE)
            .filter(|outcome| std::future::ready(outcome.is_ok()));
        Ok(done.count().await)
    }

    /// Does what is owed for one connector and could hit what is written next. The caller holds the connector's write
    /// lock. A task that fails for good stays owed and holds up nothing.
    ///
    /// # Errors
    /// Those of the database, and that the vault cannot do it now.
    pub(super) async fn settle_debts(&self, uid: ConnectorUid) -> Result<()> {
        let mut last = None;
        for _ in 0..ROUNDS {
            let which = Tasks::InTheWay(uid, last);
            let tasks = self
                .store
                .claim_tasks(which, self.now(), HOLD, BATCH)
                .await?;
            let Some(newest) = tasks.last() else {
                return Ok(());
            };
            last = Some(newest.id);
            for task in tasks {
                match self.try_settle(&task).await {
                    Err(Error::Vault(error)) if !error.is_passing() => {}
                    outcome => outcome?,
                }
            }
        }
        tracing::warn!(%uid, "more is owed to the vault than was done before new values are written");
        Ok(())
    }

    /// Does a task, or notes when it is due again.
    async fn try_settle(&self, task: &Claimed) -> Result<()> {
        let outcome = self.settle(task).await;
        if let Err(error) = &outcome {
            tracing::warn!(connector = %task.connector, action = ?task.action, attempts = task.attempts, %error, "a task for the vault failed and is tried again");
            let delay = match task.action {
                Action::RevokeLeases => delay(task.attempts).min(LONGEST_REVOCATION_DELAY),
                Action::DeleteSecrets
                | Action::DeleteSecret(_)
                | Action::UnsetVariables(_)
                | Action::DestroyVersions(_) => delay(task.attempts),
            };
            let next = self.now().after(delay);
            if let Err(error) = self.store.postpone_task(task.id, next).await {
                tracing::warn!(%error, "a failed task is due again only when its time is up");
            }
        }
        outcome
    }

    async fn settle(&self, task: &Claimed) -> Result<()> {
        let owner = Owner {
            scope: task.connector.scope(),
            uid: task.uid,
        };
        let done = match &task.action {
            Action::DeleteSecrets => self.vault.delete_all(owner).await,
            Action::DeleteSecret(name) => {
                let present = self.store.secrets_of(task.uid).await?;
                if present.iter().any(|one| &one.location.secret == name) {
                    // It was given a new value since.
                    Ok(())
                } else {
                    self.vault.delete(name).await
                }
            }
            Action::RevokeLeases => self.vault.revoke_leases(owner).await,
            Action::DestroyVersions(versions) => self.destroy(task.uid, versions).await?,
            Action::UnsetVariables(names) => return self.unset(owner, task, names).await,
        };
        match done {
            Ok(()) | Err(vault::Error::NotFound) => Ok(self.store.finish_task(task.id).await?),
            Err(error) => Err(Error::Vault(error)),
        }
    }

    /// Destroys versions, but for any that is referred to.
    async fn destroy(
        &self,
        uid: ConnectorUid,
        Superseded {
            secret,
            from,
            below,
        }: &Superseded,
    ) -> Result<std::result::Result<(), vault::Error>> {
        let Ok(secret) = secret.parse::<SecretName>() else {
            return Ok(Err(vault::Error::Nonsense));
        };
        let present = self.store.secrets_of(uid).await?;
        let used = |version| {
            present
                .iter()
                .any(|one| one.location.secret == secret && one.location.version == version)
        };
        for version in (*from..*below).filter(|version| !used(*version)) {
            if let Err(error) = self.vault.destroy(&secret.clone().version(version)).await {
                return Ok(Err(error));
            }
        }
        Ok(Ok(()))
    }

    /// Removes variables from a blob, but for those that were set again since.
    async fn unset(&self, owner: Owner<'_>, task: &Claimed, names: &[String]) -> Result<()> {
        let mut present = self.store.secrets_of(owner.uid).await?;
        present.retain(|one| one.field.place == SecretPlace::Environment);
        let is_back = |name: &str| present.iter().any(|one| one.field.name == name);
        let unset: Vec<String> = names
            .iter()
            .filter(|name| !is_back(name))
            .cloned()
            .collect();
        if !unset.is_empty() {
            let request = derived_request(task.id, &unset.join(","));
            let patch = BlobPatch {
                set: Vec::new(),
                unset,
                destination: None,
                request,
            };
            match self.vault.patch_blob(owner, patch).await {
                Ok(Some(blob)) => {
                    let replaced = superseded(present.iter(), &blob.secret, blob.version);
                    let now = self.now();
                    self.store.finish_move(task, &blob, replaced, now).await?;
                    self.tell_workers();
                    return Ok(());
                }
                Ok(None) | Err(vault::Error::NotFound) => {}
                Err(error) => return Err(Error::Vault(error)),
            }
        }
        Ok(self.store.finish_task(task.id).await?)
    }
}

/// The destruction of all versions of a secret below `version`, when there may be any: those that `before` refers to,
/// and those that were sealed since and never referred to.
pub(super) fn superseded<'a>(
    before: impl Iterator<Item = &'a StoredSecret>,
    secret: &SecretName,
    version: u64,
) -> Option<NewTask> {
    let referred = before.filter(|one| &one.location.secret == secret);
    let from = referred.map(|one| one.location.version).min().unwrap_or(1);
    let versions = Superseded {
        secret: secret.to_string(),
        from,
        below: version,
    };
    (from < version).then(|| NewTask::later(Action::DestroyVersions(versions), GRANTED))
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
