//! Storing a value as the next version of a secret, for both ways of writing.
//!
//! Order inside the transaction: destination record, secret (locked), data key (locked against
//! retirement), version, head. Versions count from 1 and never repeat. A write destroys nothing that may be
//! in use: whoever refers to versions moves its reference after the write and then has the old version
//! destroyed. Only so that a forgetful one cannot fill the database, the oldest beyond [`KEPT`] goes.

use std::time::Duration;

use names::ScopeName;
use sensitive::Bytes;
use uuid::Uuid;

use super::{Caller, Error, Inner};
use crate::domain::{
    DestinationRecord, Destinations, Field, Micros, Reason, SecretRecord, SecretState, SecretView,
    VersionRecord, VersionState,
};
use crate::keyring::{DataKey, Digests, Place};
use crate::store::requests::{self, Remembered};
use crate::store::{Connection, destinations, keys, secrets, versions};

/// How long a request id is remembered.
pub(super) const REMEMBERED: Duration = Duration::from_secs(24 * 60 * 60);

/// How many versions of a secret are kept undestroyed; the current one and the one before are among them.
const KEPT: u64 = 16;

/// Where a value is written.
pub(super) struct Target<'a> {
    pub(super) scope: &'a ScopeName,
    pub(super) connector: Uuid,
    pub(super) field: &'a Field,
    pub(super) destinations: &'a Destinations,
}

/// What a repeated request is answered with.
pub(super) enum Repeat {
    /// The version that was written.
    Written(Box<SecretView>),
    /// The secret was deleted by it.
    Deleted,
}

/// A write request as it is recognised again.
pub(super) struct RequestKey {
    pub(super) request_id: Uuid,
    pub(super) body: Digests,
}

impl Inner {
    /// Stores `value` as the next version. `existing` is the live secret of the place, locked and checked.
    pub(super) async fn write_version(
        &self,
        connection: &impl Connection,
        target: &Target<'_>,
        existing: Option<SecretRecord>,
        value: &Bytes,
        now: Micros,
    ) -> Result<SecretView, Error> {
        let destination = self.record_destination(connection, target, now).await?;
        let (id, version, create_time) = match &existing {
            Some(secret) => (secret.id, secret.current_version + 1, secret.create_time),
            None => (self.new_id(), 1, now),
        };
        let key = self.writing_key(connection, target.scope, now).await?;
        let place = Place {
            scope: target.scope,
            connector: target.connector,
            destination: destination.id,
            secret: id,
            version,
            field: target.field,
        };
        let sealed = self.keyring.seal(&key, &place, value)?;
        let mut secret = SecretRecord {
            id,
            scope: target.scope.clone(),
            connector: target.connector,
            field: target.field.clone(),
            current_version: version,
            destination: destination.id,
            state: SecretState::Active,
            head_mac: Vec::new(),
            create_time,
            update_time: now,
        };
        secret.head_mac = self.keyring.macs().head(&secret);
        let version = VersionRecord {
            secret: id,
            version,
            destination: Some(destination.id),
            data_key: Some(sealed.data_key),
            envelope: Some(sealed.envelope),
            state: VersionState::Active,
            length_bucket: sealed.length_bucket,
            fingerprint: sealed.fingerprint,
            create_time: now,
            destroy_time: None,
        };
        self.store_version(connection, &secret, existing, &version, now)
            .await?;
        Ok(SecretView {
            secret,
            version,
            destination: Some(destination),
        })
    }

    async fn store_version(
        &self,
        connection: &impl Connection,
        secret: &SecretRecord,
        existing: Option<SecretRecord>,
        version: &VersionRecord,
        now: Micros,
    ) -> Result<(), Error> {
        let Some(existing) = existing else {
            secrets::insert(connection, secret).await?;
            return Ok(versions::insert(connection, version).await?);
        };
        versions::insert(connection, version).await?;
        if !secrets::set_head(connection, secret, existing.current_version).await? {
            // The row is locked: only a store that ignores locks can get here.
            return Err(Error::Sealing);
        }
        versions::supersede(connection, secret.id, version.version).await?;
        if let Some(oldest) = versions::newest_beyond(connection, secret.id, KEPT).await? {
            tracing::warn!(secret = %secret.id, version = oldest, "a superseded version was never destroyed: too many are kept");
            versions::destroy_through(connection, secret.id, oldest, now).await?;
        }
        Ok(())
    }

    /// The live secret of the place, locked, its head checked.
    pub(super) async fn lock_target(
        &self,
        connection: &impl Connection,
        target: &Target<'_>,
    ) -> Result<Option<SecretRecord>, Error> {
        let existing =
            secrets::lock_at(connection, target.scope, target.connector, target.field).await?;
        if let Some(secret) = &existing {
            self.check_head(secret)?;
        }
        Ok(existing)
    }

    /// Finds or makes the record of where the value may go: whoever enters a value enters this.
    async fn record_destination(
        &self,
        connection: &impl Connection,
        target: &Target<'_>,
        now: Micros,
    ) -> Result<DestinationRecord, Error> {
        let Target {
            scope,
            connector,
            field: _,
            destinations,
        } = *target;
        if let Some(found) = destinations::find(connection, scope, connector, destinations).await? {
            // The digest column is not in the MAC, so the list itself has to be compared.
            let genuine =
                found.destinations == *destinations && self.keyring.macs().is_destination(&found);
            return if genuine {
                Ok(found)
            } else {
                Err(Error::Unreadable {
                    reason: Reason::DestinationAltered,
                    at: None,
                })
            };
        }
        let mut record = DestinationRecord {
            id: self.new_id(),
            scope: scope.clone(),
            connector,
            destinations: destinations.clone(),
            record_version: 1,
            mac: Vec::new(),
            create_time: now,
        };
        record.mac = self.keyring.macs().destination(&record);
        destinations::insert(connection, &record).await?;
        Ok(record)
    }

    /// The scope's active data key, made now if there is none.
    async fn writing_key(
        &self,
        connection: &impl Connection,
        scope: &ScopeName,
        now: Micros,
    ) -> Result<DataKey, Error> {
        let record = match keys::active_data_key(connection, scope).await? {
            Some(record) => record,
            None => {
                let term = keys::last_term(connection, scope).await? + 1;
                let record = self.keyring.new_data_key(scope, term, now)?;
                keys::insert_data_key(connection, &record).await?;
                record
            }
        };
        Ok(self.keyring.data_key(scope, &record)?)
    }

    /// What the same request was answered with before, if it was.
    pub(super) async fn recall(
        &self,
        connection: &impl Connection,
        caller: &Caller,
        key: &RequestKey,
        now: Micros,
    ) -> Result<Option<Repeat>, Error> {
        let since = now.before(REMEMBERED);
        let remembered =
            requests::recall(connection, &caller.subject, key.request_id, since).await?;
        let Some(remembered) = remembered else {
            return Ok(None);
        };
        if !key.body.contains(&remembered.body_mac) {
            return Err(Error::RequestIdReused);
        }
        if remembered.version == 0 {
            return Ok(Some(Repeat::Deleted));
        }
        let view = self
            .view(connection, remembered.secret, Some(remembered.version))
            .await?;
        Ok(Some(Repeat::Written(Box::new(
            view.ok_or(Error::SecretNotFound)?,
        ))))
    }

    /// Remembers what a request was answered with; version 0 stands for a deletion.
    pub(super) async fn remember(
        &self,
        connection: &impl Connection,
        caller: &Caller,
        key: RequestKey,
        secret: &SecretRecord,
        version: u64,
        now: Micros,
    ) -> Result<(), Error> {
        let remembered = Remembered {
            subject: caller.subject.clone(),
            request_id: key.request_id,
            body_mac: key.body.newest().to_vec(),
            scope: secret.scope.clone(),
            secret: secret.id,
            version,
            create_time: now,
        };
        Ok(requests::remember(connection, &remembered).await?)
    }
}
