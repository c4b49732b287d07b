//! Reading secrets so that nothing edited behind the vault's back is believed: scope, connector, head MAC,
//! destination record and its MAC, state of the version.

use names::ScopeName;
use sensitive::Bytes;
use uuid::Uuid;

use super::known::Known;
use super::{Error, Inner};
use crate::domain::{
    DataKeyRecord, DestinationRecord, Reason, SecretRecord, SecretState, VersionRecord, VersionRef,
    VersionState,
};
use crate::keyring::Place;
use crate::store::Connection;

/// A version whose records are genuine.
pub(super) struct Checked {
    pub(super) secret: SecretRecord,
    pub(super) version: VersionRecord,
    pub(super) destination: DestinationRecord,
    /// The key its row names, if there is one; checked when it is used.
    key: Option<DataKeyRecord>,
}

impl Inner {
    /// The wanted versions, in the order asked for. All must be this connector's. Rows are taken from
    /// `known` if all are there, else read now.
    pub(super) async fn find_checked(
        &self,
        connection: &impl Connection,
        known: &Known,
        (scope, connector): (&ScopeName, Uuid),
        wanted: &[VersionRef],
    ) -> Result<Vec<Checked>, Error> {
        let read;
        let known = if known.has(wanted) {
            known
        } else {
            read = Known::read(connection, wanted).await?;
            &read
        };
        wanted
            .iter()
            .map(|wanted| {
                let secret = known.secrets.get(&wanted.secret);
                let version = known.versions.get(&(wanted.secret, wanted.version));
                let destination = version
                    .and_then(|version| version.destination)
                    .and_then(|id| known.destinations.get(&id));
                let (secret, version, destination) = self
                    .check(scope, connector, secret, version, destination)
                    .map_err(|error| error.at(*wanted))?;
                let key = version.data_key.and_then(|id| known.keys.get(&id));
                Ok(Checked {
                    secret: secret.clone(),
                    version: version.clone(),
                    destination: destination.clone(),
                    key: key.cloned(),
                })
            })
            .collect()
    }

    fn check<'a>(
        &self,
        scope: &ScopeName,
        connector: Uuid,
        secret: Option<&'a SecretRecord>,
        version: Option<&'a VersionRecord>,
        destination: Option<&'a DestinationRecord>,
    ) -> Result<(&'a SecretRecord, &'a VersionRecord, &'a DestinationRecord), Error> {
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
        if is_beyond || (is_current && version.destination != Some(secret.destination)) {
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
        Ok((secret, version, destination))
    }

    /// Refuses a secret's row that was edited.
    pub(super) fn check_head(&self, secret: &SecretRecord) -> Result<(), Error> {
        if self.keyring.macs().is_head(secret) {
            return Ok(());
        }
        unreadable(Reason::HeadAltered)
    }

    /// Opens a version. The key is the one its row names, of this scope; it is never searched for.
    pub(super) fn open_checked(&self, checked: &Checked) -> Result<Bytes, Error> {
        let Checked {
            secret,
            version,
            destination,
            key,
        } = checked;
        let at = VersionRef {
            secret: secret.id,
            version: version.version,
        };
        let (Some(_), Some(envelope)) = (version.data_key, version.envelope.as_deref()) else {
            return unreadable(Reason::EnvelopeAltered).map_err(|error: Error| error.at(at));
        };
        let Some(record) = key else {
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
        let key = self.keyring.data_key(&secret.scope, record);
        let opened = key.and_then(|key| self.keyring.open_value(&key, &place, envelope));
        opened.map_err(|error| Error::from(error).at(at))
    }
}

fn unreadable<T>(reason: Reason) -> Result<T, Error> {
    Err(Error::Unreadable { reason, at: None })
}
