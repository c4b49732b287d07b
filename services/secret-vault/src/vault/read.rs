//! What may be told about secrets: everything but their values.

use std::collections::BTreeMap;

use names::{ScopeName, SecretName};
use uuid::Uuid;

use super::{Error, Inner, Vault};
use crate::domain::{SecretState, SecretView, VersionRef};
use crate::store::{Connection, destinations, secrets, versions};

/// Which secrets to list.
#[derive(Debug)]
pub(crate) struct Listing {
    pub(crate) scope: ScopeName,
    pub(crate) connector: Option<Uuid>,
    pub(crate) after: Option<Uuid>,
    pub(crate) limit: usize,
}

/// One page of a list.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) secrets: Vec<SecretView>,
    /// Where the next page begins; `None` on the last one.
    pub(crate) next: Option<Uuid>,
}

impl Vault {
    /// One secret.
    pub(crate) async fn get_secret(&self, name: &SecretName) -> Result<SecretView, Error> {
        let read = self.inner.database.begin_read().await?;
        let view = self.inner.view(&*read, name.id(), None).await?;
        view.filter(|view| view.secret.scope == *name.scope())
            .filter(|view| view.secret.state == SecretState::Active)
            .ok_or(Error::SecretNotFound)
    }

    /// The live secrets of a scope, by id.
    pub(crate) async fn list_secrets(&self, listing: &Listing) -> Result<Page, Error> {
        let Listing {
            scope,
            connector,
            after,
            limit,
        } = listing;
        let read = self.inner.database.begin_read().await?;
        let wanted = u64::try_from(*limit).unwrap_or(u64::MAX).saturating_add(1);
        let mut rows = secrets::page(&*read, scope, *connector, *after, wanted).await?;
        let more = rows.len() > *limit;
        rows.truncate(*limit);
        let next = rows.last().filter(|_| more).map(|last| last.id);
        let mut page = Page {
            secrets: Vec::with_capacity(rows.len()),
            next,
        };
        let heads: Vec<VersionRef> = rows
            .iter()
            .map(|row| VersionRef {
                secret: row.id,
                version: row.current_version,
            })
            .collect();
        let mut found = BTreeMap::new();
        let mut places = BTreeMap::new();
        for heads in heads.chunks(200) {
            for version in versions::of(&*read, heads).await? {
                found.insert(version.secret, version);
            }
        }
        let ids: Vec<Uuid> = found
            .values()
            .filter_map(|version| version.destination)
            .collect();
        for ids in ids.chunks(200) {
            for record in destinations::of(&*read, ids).await? {
                places.insert(record.id, record);
            }
        }
        for secret in rows {
            let Some(version) = found.remove(&secret.id) else {
                continue;
            };
            let destination = version.destination.and_then(|id| places.get(&id)).cloned();
            // A row whose parts are gone is not shown; releasing it fails loudly.
            if destination.is_some() == version.destination.is_some() {
                page.secrets.push(SecretView {
                    secret,
                    version,
                    destination,
                });
            }
        }
        Ok(page)
    }
}

impl Inner {
    /// A secret with one version, the current one if none is named; tombstones too.
    pub(super) async fn view(
        &self,
        connection: &impl Connection,
        id: Uuid,
        version: Option<u64>,
    ) -> Result<Option<SecretView>, Error> {
        let Some(secret) = secrets::get(connection, id).await? else {
            return Ok(None);
        };
        let version = version.unwrap_or(secret.current_version);
        let Some(version) = versions::get(connection, id, version).await? else {
            return Ok(None);
        };
        let destination = match version.destination {
            Some(id) => destinations::get(connection, id).await?,
            None => None,
        };
        if destination.is_some() != version.destination.is_some() {
            return Ok(None);
        }
        Ok(Some(SecretView {
            secret,
            version,
            destination,
        }))
    }
}
