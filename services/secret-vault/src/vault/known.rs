//! The rows behind secret versions: read for one request, or for a whole batch of them in one query each.
//!
//! What was read for a batch is a shortcut and decides nothing: it was read after every request of the batch
//! had come in, it is checked like anything else (`checked`), and what it lacks is read on the spot. Nothing
//! that a batch executes changes these rows.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::writer::Command;
use super::{Error, Inner};
use crate::domain::{DataKeyRecord, DestinationRecord, SecretRecord, VersionRecord, VersionRef};
use crate::store::{self, Connection, destinations, grants, keys, secrets, versions};

/// Versions that are read together at most, so that a batch of large values stays small in memory.
const MOST: usize = 512;
/// Versions in one query: both databases limit the size of a statement.
const IN_ONE_QUERY: usize = 128;

/// Rows by their ids. Nothing in here has been checked.
#[derive(Default)]
pub(super) struct Known {
    pub(super) secrets: BTreeMap<Uuid, SecretRecord>,
    pub(super) versions: BTreeMap<(Uuid, u64), VersionRecord>,
    pub(super) destinations: BTreeMap<Uuid, DestinationRecord>,
    pub(super) keys: BTreeMap<Uuid, DataKeyRecord>,
}

impl Known {
    /// Reads everything behind the wanted versions.
    pub(super) async fn read(
        connection: &impl Connection,
        wanted: &[VersionRef],
    ) -> Result<Self, store::Error> {
        let mut known = Self::default();
        for wanted in wanted.chunks(IN_ONE_QUERY) {
            known.add(connection, wanted).await?;
        }
        Ok(known)
    }

    async fn add(
        &mut self,
        connection: &impl Connection,
        wanted: &[VersionRef],
    ) -> Result<(), store::Error> {
        let ids: Vec<Uuid> = wanted.iter().map(|wanted| wanted.secret).collect();
        let rows = secrets::of(connection, &ids).await?;
        self.secrets
            .extend(rows.into_iter().map(|row| (row.id, row)));
        let rows = versions::of(connection, wanted).await?;
        let missing =
            |id: Option<Uuid>, is_known: &dyn Fn(&Uuid) -> bool| id.filter(|id| !is_known(id));
        let places = rows.iter().map(|row| row.destination);
        let places: Vec<Uuid> = places
            .filter_map(|id| missing(id, &|id| self.destinations.contains_key(id)))
            .collect();
        let sealed_by = rows.iter().map(|row| row.data_key);
        let sealed_by: Vec<Uuid> = sealed_by
            .filter_map(|id| missing(id, &|id| self.keys.contains_key(id)))
            .collect();
        let by_version = rows.into_iter().map(|row| ((row.secret, row.version), row));
        self.versions.extend(by_version);
        if !places.is_empty() {
            let rows = destinations::of(connection, &places).await?;
            self.destinations
                .extend(rows.into_iter().map(|row| (row.id, row)));
        }
        if !sealed_by.is_empty() {
            let rows = keys::of(connection, &sealed_by).await?;
            self.keys
                .extend(rows.into_iter().map(|row| (row.key_id, row)));
        }
        Ok(())
    }

    /// Whether all of the wanted versions were found.
    pub(super) fn has(&self, wanted: &[VersionRef]) -> bool {
        wanted
            .iter()
            .all(|wanted| self.versions.contains_key(&(wanted.secret, wanted.version)))
    }
}

impl Inner {
    /// What the commands of a batch will read. An impossible row is left to the one request that it
    /// concerns.
    pub(super) async fn read_ahead(
        &self,
        connection: &impl Connection,
        commands: &[Command],
    ) -> Result<Known, Error> {
        if commands.len() < 2 {
            return Ok(Known::default());
        }
        let mut wanted = Vec::new();
        let mut token_macs = Vec::new();
        for command in commands {
            match command {
                Command::Grant(_, request) => wanted.extend_from_slice(&request.secrets),
                Command::Redeem(_, request) => {
                    let digests = self.keyring.macs().grant_token(request.token.expose());
                    token_macs.extend_from_slice(digests.every());
                }
                Command::Renew(..) | Command::Release(..) => {}
            }
        }
        if !token_macs.is_empty() {
            wanted.extend(grants::named(connection, &token_macs).await?);
        }
        wanted.sort_unstable_by_key(|wanted| (wanted.secret, wanted.version));
        wanted.dedup();
        wanted.truncate(MOST);
        match Known::read(connection, &wanted).await {
            Err(store::Error::Impossible(_)) => Ok(Known::default()),
            known => Ok(known?),
        }
    }
}
