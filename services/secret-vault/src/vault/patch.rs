//! PatchSecretBlob: names are set and unset inside the vault, so that nobody else sees the rest.

use names::ScopeName;
use sensitive::Bytes;
use uuid::Uuid;

use super::audit::event;
use super::error::Attempts;
use super::write::{Repeat, RequestKey, Target};
use super::{Caller, Error, Inner, Vault};
use crate::domain::{
    Blob, BlobPatch, Destinations, Field, Method, Micros, Reason, SecretRecord, SecretView,
    VersionRef,
};
use crate::store::Connection;

/// A checked request.
#[derive(Debug)]
pub(crate) struct PatchBlob {
    pub(crate) scope: ScopeName,
    pub(crate) connector: Uuid,
    pub(crate) set: Vec<(String, Bytes)>,
    pub(crate) unset: Vec<String>,
    pub(crate) destinations: Destinations,
    pub(crate) request_id: Uuid,
}

/// The request in the form in which it can be tried several times.
struct Attempt<'a> {
    caller: &'a Caller,
    scope: &'a ScopeName,
    connector: Uuid,
    patch: &'a BlobPatch,
    destinations: &'a Destinations,
    request_id: Uuid,
}

impl Vault {
    /// Changes the blob of a connector; `None` when nothing is left and the secret was deleted.
    pub(crate) async fn patch_blob(
        &self,
        caller: &Caller,
        request: PatchBlob,
    ) -> Result<Option<SecretView>, Error> {
        let PatchBlob {
            scope,
            connector,
            set,
            unset,
            destinations,
            request_id,
        } = request;
        let patch = BlobPatch::new(set, unset)?;
        let attempt = Attempt {
            caller,
            scope: &scope,
            connector,
            patch: &patch,
            destinations: &destinations,
            request_id,
        };
        let mut attempts = Attempts::default();
        let outcome = loop {
            let outcome = self.inner.try_patch(&attempt).await;
            if !attempts.again(&outcome) {
                break outcome;
            }
        };
        let failure = event(caller, Method::PatchSecretBlob, &scope, self.inner.now())
            .connector(connector)
            .request(request_id);
        self.inner.note_unreadable(&outcome, failure).await;
        outcome
    }
}

impl Inner {
    async fn try_patch(&self, attempt: &Attempt<'_>) -> Result<Option<SecretView>, Error> {
        let Attempt {
            caller,
            scope,
            connector,
            patch,
            destinations,
            request_id,
        } = *attempt;
        let key = self.patch_key(attempt);
        let transaction = self.database.begin_write().await?;
        let now = self.now();
        match self.recall(&*transaction, caller, &key, now).await? {
            Some(Repeat::Written(view)) => return Ok(Some(*view)),
            Some(Repeat::Deleted) => return Ok(None),
            None => {}
        }
        let field = Field::blob();
        let target = Target {
            scope,
            connector,
            field: &field,
            destinations,
        };
        let existing = self.lock_target(&*transaction, &target).await?;
        let blob = self
            .read_blob(&*transaction, attempt, existing.as_ref())
            .await?;
        let blob = patch.applied_to(blob);
        let before = existing.clone();
        let view = self
            .put_blob(&*transaction, &target, existing, &blob, now)
            .await?;
        let event = event(caller, Method::PatchSecretBlob, scope, now)
            .connector(connector)
            .request(request_id);
        let event = match (&view, before) {
            (Some(view), _) => {
                let (secret, version) = (&view.secret, view.version.version);
                self.remember(&*transaction, caller, key, secret, version, now)
                    .await?;
                event.at(VersionRef {
                    secret: secret.id,
                    version,
                })
            }
            (None, Some(secret)) => {
                self.remember(&*transaction, caller, key, &secret, 0, now)
                    .await?;
                event.at(VersionRef {
                    secret: secret.id,
                    version: secret.current_version,
                })
            }
            (None, None) => event,
        };
        self.write_audit(&*transaction, vec![event]).await?;
        transaction.commit().await?;
        Ok(view)
    }

    /// Stores the changed blob; an empty one shreds the secret.
    async fn put_blob(
        &self,
        connection: &impl Connection,
        target: &Target<'_>,
        existing: Option<SecretRecord>,
        blob: &Blob,
        now: Micros,
    ) -> Result<Option<SecretView>, Error> {
        match existing {
            Some(secret) if blob.is_empty() => {
                self.shred(connection, secret, now).await?;
                Ok(None)
            }
            None if blob.is_empty() => Ok(None),
            existing => {
                let value = blob.encode()?;
                self.write_version(connection, target, existing, &value, now)
                    .await
                    .map(Some)
            }
        }
    }

    fn patch_key(&self, attempt: &Attempt<'_>) -> RequestKey {
        let (scope, destinations) = (attempt.scope.to_string(), attempt.destinations.to_json());
        let mut parts: Vec<&[u8]> = vec![
            Method::PatchSecretBlob.as_str().as_bytes(),
            scope.as_bytes(),
            attempt.connector.as_bytes(),
            destinations.as_bytes(),
        ];
        parts.extend(attempt.patch.parts());
        RequestKey {
            request_id: attempt.request_id,
            body_mac: self.keyring.macs().request(&parts),
        }
    }

    /// The blob in force. Another destination needs every name entered again: a value that is kept would
    /// otherwise follow to a place nobody entered it for.
    async fn read_blob(
        &self,
        connection: &impl Connection,
        attempt: &Attempt<'_>,
        existing: Option<&SecretRecord>,
    ) -> Result<Blob, Error> {
        let Some(secret) = existing else {
            return Ok(Blob::default());
        };
        let at = VersionRef {
            secret: secret.id,
            version: secret.current_version,
        };
        let checked = self
            .find_checked(connection, &secret.scope, secret.connector, &[at])
            .await?;
        let checked = checked.into_iter().next().ok_or(Error::SecretNotFound)?;
        let value = self.open_checked(connection, &checked).await?;
        let blob = Blob::decode(&value).map_err(|_| Error::Unreadable {
            reason: Reason::ContentMalformed,
            at: Some(at),
        })?;
        let is_same = checked.destination.destinations == *attempt.destinations;
        if is_same || attempt.patch.covers(&blob) {
            return Ok(blob);
        }
        Err(Error::NeedsRebind)
    }
}
