//! PatchSecretBlob: names are set and unset inside the vault, so that nobody else sees the rest.

use names::ScopeName;
use sensitive::Bytes;
use uuid::Uuid;

use super::audit::event;
use super::error::Attempts;
use super::known::Known;
use super::write::{Repeat, RequestKey, Target};
use super::{Caller, Error, Inner, Vault};
use crate::domain::{
    AuditEvent, Blob, BlobPatch, Destinations, Field, Method, Micros, Reason, SecretRecord,
    SecretView, VersionRef, VersionState,
};
use crate::store::{Connection, versions};

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

/// The blob before the patch.
#[derive(Default)]
struct Before {
    blob: Blob,
    /// Where its values may go, if there are any.
    kept_at: Option<Destinations>,
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
        self.inner.note_refused(&outcome, failure).await;
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
            request_id: _,
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
        let mut target = Target {
            scope,
            connector,
            field: &field,
            destinations,
        };
        let existing = self.lock_target(&*transaction, &target).await?;
        let Before { blob, kept_at } = self
            .read_blob(&*transaction, attempt, existing.as_ref())
            .await?;
        // What sets nothing moves nothing, whatever destination it names: it may be an old request that
        // comes late.
        if let Some(kept_at) = kept_at.as_ref().filter(|_| patch.sets_nothing()) {
            target.destinations = kept_at;
        }
        let blob = patch.applied_to(blob);
        let before = existing.clone();
        let view = self
            .put_blob(&*transaction, &target, existing, &blob, now)
            .await?;
        let event = self
            .remember_patch(&*transaction, attempt, key, view.as_ref(), before)
            .await?;
        self.write_audit(&*transaction, vec![event]).await?;
        transaction.commit().await?;
        Ok(view)
    }

    /// Remembers what the request is answered with; gives the audit row about it.
    async fn remember_patch(
        &self,
        connection: &impl Connection,
        attempt: &Attempt<'_>,
        key: RequestKey,
        view: Option<&SecretView>,
        before: Option<SecretRecord>,
    ) -> Result<AuditEvent, Error> {
        let (caller, now) = (attempt.caller, self.now());
        let event = event(caller, Method::PatchSecretBlob, attempt.scope, now)
            .connector(attempt.connector)
            .request(attempt.request_id);
        let (secret, version, answer) = match (view, &before) {
            (Some(view), _) => (&view.secret, view.version.version, view.version.version),
            (None, Some(secret)) => (secret, secret.current_version, 0),
            // There was nothing and there is nothing: the same request again finds the same.
            (None, None) => return Ok(event),
        };
        self.remember(connection, caller, key, secret, answer, now)
            .await?;
        let secret = secret.id;
        Ok(event.at(VersionRef { secret, version }))
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
            body: self.keyring.macs().request(&parts),
        }
    }

    /// The blob in force. To set anything for another destination needs every name entered again: a value
    /// that is kept would otherwise follow to a place nobody entered it for.
    async fn read_blob(
        &self,
        connection: &impl Connection,
        attempt: &Attempt<'_>,
        existing: Option<&SecretRecord>,
    ) -> Result<Before, Error> {
        let Some(secret) = existing else {
            return Ok(Before::default());
        };
        let at = VersionRef {
            secret: secret.id,
            version: secret.current_version,
        };
        // The head was checked when it was locked. Nothing is left of a destroyed version, so there is
        // nothing that could follow anywhere.
        let version = versions::get(connection, at.secret, at.version).await?;
        if version.is_some_and(|version| version.state == VersionState::Destroyed) {
            return Ok(Before::default());
        }
        let checked = self
            .find_checked(
                connection,
                &Known::default(),
                (&secret.scope, secret.connector),
                &[at],
            )
            .await?;
        let checked = checked.into_iter().next().ok_or(Error::SecretNotFound)?;
        let value = self.open_checked(&checked)?;
        let blob = Blob::decode(&value).map_err(|_| Error::Unreadable {
            reason: Reason::ContentMalformed,
            at: Some(at),
        })?;
        let patch = attempt.patch;
        let is_same = checked.destination.destinations == *attempt.destinations;
        if is_same || patch.sets_nothing() || patch.covers(&blob) {
            return Ok(Before {
                blob,
                kept_at: Some(checked.destination.destinations),
            });
        }
        Err(Error::NeedsRebind)
    }
}
