//! Destroying values for good: of one version, or of a whole secret. The envelope is overwritten with
//! nothing; what stays is a tombstone, so that a version number never comes back.

use names::{SecretName, SecretVersionName};

use super::audit::event;
use super::error::Attempts;
use super::{Caller, Error, Inner, Vault};
use crate::domain::{Method, Micros, SecretRecord, SecretState, SecretView, VersionRef};
use crate::store::{Connection, secrets, versions};

impl Vault {
    /// Destroys every version of a secret.
    pub(crate) async fn delete_secret(
        &self,
        caller: &Caller,
        name: &SecretName,
    ) -> Result<(), Error> {
        let mut attempts = Attempts::default();
        let outcome = loop {
            let outcome = self.inner.try_delete(caller, name).await;
            if !attempts.again(&outcome) {
                break outcome;
            }
        };
        let failure = event(caller, Method::DeleteSecret, name.scope(), self.inner.now());
        self.inner
            .note_refused(&outcome, failure.secret(name.id()))
            .await;
        outcome
    }

    /// Destroys one version. Destroying it again changes nothing.
    pub(crate) async fn destroy_version(
        &self,
        caller: &Caller,
        name: &SecretVersionName,
    ) -> Result<SecretView, Error> {
        let mut attempts = Attempts::default();
        let outcome = loop {
            let outcome = self.inner.try_destroy(caller, name).await;
            if !attempts.again(&outcome) {
                break outcome;
            }
        };
        let (scope, now) = (name.secret().scope(), self.inner.now());
        let failure = event(caller, Method::DestroySecretVersion, scope, now);
        self.inner
            .note_refused(&outcome, failure.secret(name.secret().id()))
            .await;
        outcome
    }
}

impl Inner {
    async fn try_delete(&self, caller: &Caller, name: &SecretName) -> Result<(), Error> {
        let transaction = self.database.begin_write().await?;
        let now = self.now();
        let secret = self.lock_named(&*transaction, name).await?;
        let connector = secret.connector;
        self.shred(&*transaction, secret, now).await?;
        let event = event(caller, Method::DeleteSecret, name.scope(), now)
            .connector(connector)
            .secret(name.id());
        self.write_audit(&*transaction, vec![event]).await?;
        Ok(transaction.commit().await?)
    }

    async fn try_destroy(
        &self,
        caller: &Caller,
        name: &SecretVersionName,
    ) -> Result<SecretView, Error> {
        let transaction = self.database.begin_write().await?;
        let now = self.now();
        let secret = self.lock_named(&*transaction, name.secret()).await?;
        let at = VersionRef {
            secret: secret.id,
            version: name.number(),
        };
        versions::destroy_one(&*transaction, at.secret, at.version, now).await?;
        let view = self
            .view(&*transaction, at.secret, Some(at.version))
            .await?;
        let view = view.ok_or(Error::SecretNotFound)?;
        let event = event(caller, Method::DestroySecretVersion, &secret.scope, now)
            .connector(secret.connector)
            .at(at);
        self.write_audit(&*transaction, vec![event]).await?;
        transaction.commit().await?;
        Ok(view)
    }

    /// The live secret of this name, locked. An edited head does not stand in the way of destroying.
    async fn lock_named(
        &self,
        connection: &impl Connection,
        name: &SecretName,
    ) -> Result<SecretRecord, Error> {
        secrets::lock(connection, name.id())
            .await?
            .filter(|secret| secret.scope == *name.scope())
            .filter(|secret| secret.state == SecretState::Active)
            .ok_or(Error::SecretNotFound)
    }

    /// Overwrites every envelope of a locked secret and leaves its tombstone.
    pub(super) async fn shred(
        &self,
        connection: &impl Connection,
        mut secret: SecretRecord,
        now: Micros,
    ) -> Result<(), Error> {
        versions::destroy_through(connection, secret.id, i64::MAX as u64, now).await?;
        secret.state = SecretState::Deleted;
        secret.update_time = now;
        secret.head_mac = self.keyring.macs().head(&secret);
        if secrets::set_head(connection, &secret, secret.current_version).await? {
            return Ok(());
        }
        Err(Error::Sealing)
    }
}
