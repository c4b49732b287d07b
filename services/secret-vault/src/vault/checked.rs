//! Reading secrets so that nothing edited behind the vault's back is believed: scope, connector, head MAC,
//! destination record and its MAC, state of the version.

use std::collections::BTreeMap;

use names::ScopeName;
use sensitive::Bytes;
use uuid::Uuid;

use super::{Error, Inner};
use crate::domain::{
    DestinationRecord, Reason, SecretRecord, SecretState, VersionRecord, VersionRef, VersionState,
};
use crate::keyring::Place;
use crate::store::{Connection, destinations, keys, secrets, versions};

/// A version whose records are genuine.
pub(super) struct Checked {
    pub(super) secret: SecretRecord,
    pub(super) version: VersionRecord,
    pub(super) destination: DestinationRecord,
}

impl Inner {
    /// The wanted versions, in the order asked for. All must be this connector's.
    pub(super) async fn find_checked(
        &self,
        connection: &impl Connection,
        scope: &ScopeName,
        connector: Uuid,
        wanted: &[VersionRef],
    ) -> Result<Vec<Checked>, Error> {
        let ids: Vec<Uuid> = wanted.iter().map(|wanted| wanted.secret).collect();
        let secrets: BTreeMap<Uuid, SecretRecord> =
            by(secrets::of(connection, &ids).await?, |secret| secret.id);
        let versions = by(versions::of(connection, wanted).await?, |v| {
            (v.secret, v.version)
        });
        let ids: Vec<Uuid> = versions
            .values()
            .map(|version| version.destination)
            .collect();
        let destinations = by(destinations::of(connection, &ids).await?, |record| {
            record.id
        });
        wanted
            .iter()
            .map(|wanted| {
                let secret = secrets.get(&wanted.secret);
                let version = versions.get(&(wanted.secret, wanted.version));
                let destination =
                    version.and_then(|version| destinations.get(&version.destination));
                self.check(scope, connector, secret, version, destination)
                    .map_err(|error| error.at(*wanted))
            })
            .collect()
    }

    fn check(
        &self,
        scope: &ScopeName,
        connector: Uuid,
        secret: Option<&SecretRecord>,
        version: Option<&VersionRecord>,
        destination: Option<&DestinationRecord>,
    ) -> Result<Checked, Error> {
        let secret = secret
            .filter(|secret| secret.scope == *scope && secret.connector == connector)
            .ok_or(Error::SecretNotFound)?;
        self.check_head(secret)?;
        let version = version.ok_or(Error::SecretNotFound)?;
        match (secret.state, version.state) {
            (SecretState::Deleted, _) | (_, VersionState::Destroyed) => {
                return Err(Error::SecretNotFound);
            }
            (SecretState::Active, VersionState::Active | VersionState::Superseded) => {}
        }
        let is_current = version.version == secret.current_version;
        let is_beyond = version.version > secret.current_version;
        if is_beyond || (is_current && version.destination != secret.destination) {
            return unreadable(Reason::HeadAltered);
        }
        let destination = destination.filter(|record| {
            record.scope == *scope
                && record.connector == connector
                && self.keyring.macs().is_destination(record)
        });
        let Some(destination) = destination else {
            return unreadable(Reason::DestinationAltered);
        };
        Ok(Checked {
            secret: secret.clone(),
            version: version.clone(),
            destination: destination.clone(),
        })
    }

    /// Refuses a secret's row that was edited.
    pub(super) fn check_head(&self, secret: &SecretRecord) -> Result<(), Error> {
        if self.keyring.macs().is_head(secret) {
            return Ok(());
        }
        unreadable(Reason::HeadAltered)
    }

    /// Opens a version. The key is the one its row names, of this scope; it is never searched for.
    pub(super) async fn open_checked(
        &self,
        connection: &impl Connection,
        checked: &Checked,
    ) -> Result<Bytes, Error> {
        let Checked {
            secret,
            version,
            destination,
        } = checked;
        let at = VersionRef {
            secret: secret.id,
            version: version.version,
        };
        let (Some(key_id), Some(envelope)) = (version.data_key, version.envelope.as_deref()) else {
            return unreadable(Reason::EnvelopeAltered).map_err(|error: Error| error.at(at));
        };
        let record = keys::data_key(connection, key_id).await?;
        let Some(record) = record else {
            return unreadable(Reason::KeyUnknown).map_err(|error: Error| error.at(at));
        };
        let place = Place {
            scope: &secret.scope,
            connector: secret.connector,
            destination: destination.id,
            secret: secret.id,
            version: version.version,
            field: &secret.field,
        };
        let key = self.keyring.data_key(&secret.scope, &record);
        let opened = key.and_then(|key| self.keyring.open_value(&key, &place, envelope));
        opened.map_err(|error| Error::from(error).at(at))
    }
}

fn unreadable<T>(reason: Reason) -> Result<T, Error> {
    Err(Error::Unreadable { reason, at: None })
}

fn by<T, K: Ord>(rows: Vec<T>, key: impl Fn(&T) -> K) -> BTreeMap<K, T> {
    rows.into_iter().map(|row| (key(&row), row)).collect()
}
