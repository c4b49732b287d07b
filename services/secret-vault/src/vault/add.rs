//! AddSecretVersion: a single value becomes the next version of its secret.

use names::ScopeName;
use sensitive::Bytes;
use uuid::Uuid;

use super::audit::event;
use super::error::Attempts;
use super::write::{Repeat, RequestKey, Target};
use super::{Caller, Error, Vault};
use crate::domain::{Destinations, Field, Method, SecretView, VersionRef, check_value};

/// A checked request.
#[derive(Debug)]
pub(crate) struct AddVersion {
    pub(crate) scope: ScopeName,
    pub(crate) connector: Uuid,
    pub(crate) field: Field,
    pub(crate) value: Bytes,
    pub(crate) destinations: Destinations,
    pub(crate) request_id: Uuid,
}

impl Vault {
    /// Stores a value. The same request id again answers as before.
    pub(crate) async fn add_version(
        &self,
        caller: &Caller,
        request: AddVersion,
    ) -> Result<SecretView, Error> {
        check_value(request.field.kind, request.value.expose())?;
        let mut attempts = Attempts::default();
        let outcome = loop {
            let outcome = self.try_add(caller, &request).await;
            if !attempts.again(&outcome) {
                break outcome;
            }
        };
        let now = self.inner.now();
        let failure = event(caller, Method::AddSecretVersion, &request.scope, now)
            .connector(request.connector)
            .request(request.request_id);
        self.inner.note_refused(&outcome, failure).await;
        outcome
    }

    async fn try_add(&self, caller: &Caller, request: &AddVersion) -> Result<SecretView, Error> {
        let AddVersion {
            scope,
            connector,
            field,
            value,
            destinations,
            request_id,
        } = request;
        let inner = &self.inner;
        let key = RequestKey {
            request_id: *request_id,
            body: inner.keyring.macs().request(&[
                Method::AddSecretVersion.as_str().as_bytes(),
                scope.to_string().as_bytes(),
                connector.as_bytes(),
                &field.kind.code().to_be_bytes(),
                field.name.as_bytes(),
                destinations.to_json().as_bytes(),
                value.expose(),
            ]),
        };
        let transaction = inner.database.begin_write().await?;
        let now = inner.now();
        match inner.recall(&*transaction, caller, &key, now).await? {
            Some(Repeat::Written(view)) => return Ok(*view),
            Some(Repeat::Deleted) => return Err(Error::RequestIdReused),
            None => {}
        }
        let target = Target {
            scope,
            connector: *connector,
            field,
            destinations,
        };
        let existing = inner.lock_target(&*transaction, &target).await?;
        let view = inner
            .write_version(&*transaction, &target, existing, value, now)
            .await?;
        let at = VersionRef {
            secret: view.secret.id,
            version: view.version.version,
        };
        inner
            .remember(&*transaction, caller, key, &view.secret, at.version, now)
            .await?;
        let event = event(caller, Method::AddSecretVersion, scope, now)
            .connector(*connector)
            .at(at)
            .request(*request_id);
        inner.write_audit(&*transaction, vec![event]).await?;
        transaction.commit().await?;
        Ok(view)
    }
}
