//! The change feed: a snapshot in pages, and everything after a revision.
//!
//! Invariant: within one read transaction all revisions up to the feed's are visible, since writers commit in their
//! order; so whoever has read up to a revision has missed nothing. A connector that changed twice is told once.

use names::{ConnectorName, ConnectorUid};
use sea_orm::{
    ColumnTrait as _, EntityTrait as _, QueryFilter as _, QueryOrder as _, QuerySelect as _,
};

use super::{
    Error, Selection, Store,
    entity::{connector, tombstone},
    queries::live,
    read_feed, row,
};
use crate::domain::{connector::Connector, feed::Feed};

/// Which changes count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// Changes of what is desired.
    Desired,
    /// All changes.
    Any,
}

/// One change.
#[derive(Debug, Clone)]
pub enum Change {
    /// A connector was created or changed.
    Upserted(Box<Connector>),
    /// A connector was deleted.
    Deleted {
        /// Its uid.
        uid: ConnectorUid,
        /// Its name.
        name: ConnectorName,
    },
}

/// Changes in the order of their revisions.
#[derive(Debug)]
pub struct Changes {
    /// The changes, each with its position.
    pub items: Vec<(i64, Change)>,
    /// Everything up to here was told.
    pub upto: i64,
    /// The feed at that moment.
    pub feed: Feed,
}

impl Store {
    /// Published connectors in the order of their uids.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn snapshot(
        &self,
        selection: &Selection,
        after: Option<ConnectorUid>,
        limit: u64,
    ) -> Result<Vec<Connector>, Error> {
        let transaction = self.database.begin_read().await?;
        let mut select = live()
            .filter(selection.condition(connector::Column::Scope, connector::Column::ScopeKind))
            .order_by_asc(connector::Column::Uid)
            .limit(limit);
        if let Some(after) = after {
            select = select.filter(connector::Column::Uid.gt(after.as_uuid()));
        }
        let rows = select.all(&*transaction).await?;
        row::connectors(&*transaction, rows).await
    }

    /// The first `limit` changes after revision `since`.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn changes(
        &self,
        selection: &Selection,
        key: Key,
        since: i64,
        limit: u64,
    ) -> Result<Changes, Error> {
        let transaction = self.database.begin_read().await?;
        let feed = read_feed(&*transaction).await?;
        let column = match key {
            Key::Desired => connector::Column::DesiredRevision,
            Key::Any => connector::Column::Revision,
        };
        let rows = live()
            .filter(selection.condition(connector::Column::Scope, connector::Column::ScopeKind))
            .filter(column.gt(since))
            .order_by_asc(column)
            .limit(limit)
            .all(&*transaction)
            .await?;
        let deleted = tombstone::Entity::find()
            .filter(selection.condition(tombstone::Column::Scope, tombstone::Column::ScopeKind))
            .filter(tombstone::Column::Revision.gt(since))
            .order_by_asc(tombstone::Column::Revision)
            .limit(limit)
            .all(&*transaction)
            .await?;
        let mut items = Vec::with_capacity(rows.len() + deleted.len());
        for connector in row::connectors(&*transaction, rows).await? {
            let at = match key {
                Key::Desired => connector.revisions.desired_revision,
                Key::Any => connector.revisions.revision,
            };
            items.push((at, Change::Upserted(Box::new(connector))));
        }
        for row in deleted {
            items.push((row.revision, deletion(row)?));
        }
        items.sort_by_key(|(revision, _)| *revision);
        // What lies beyond the limit of either query was not read in full.
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let complete = items.len() < limit;
        items.truncate(limit);
        let upto = if complete {
            feed.revision
        } else {
            items.last().map_or(feed.revision, |(at, _)| *at)
        };
        Ok(Changes { items, upto, feed })
    }
}

fn deletion(row: tombstone::Model) -> Result<Change, Error> {
    let scope = row
        .scope
        .parse()
        .map_err(|_| Error::Corrupt("tombstones.scope"))?;
    let id = row
        .connector_id
        .parse()
        .map_err(|_| Error::Corrupt("tombstones.connector_id"))?;
    Ok(Change::Deleted {
        uid: ConnectorUid::new(row.uid),
        name: ConnectorName::new(scope, id),
    })
}
