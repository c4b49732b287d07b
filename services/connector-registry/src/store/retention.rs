//! What is removed in time: creations that were never finished, remembered requests, tombstones, unused definitions.
//!
//! Invariant: a tombstone is forgotten only together with the positions that would have needed it.

use names::{ConnectorUid, ScopeName};
use sea_orm::{
    ColumnTrait as _, EntityTrait as _, QueryFilter as _, QueryOrder as _, QuerySelect as _,
    QueryTrait as _, sea_query::Expr,
};

use super::{
    Error, FEED, Store,
    create::abandon,
    entity::{connector, definition, feed, request, tombstone, tool},
    row::{ABANDONED, PROVISIONING},
};
use crate::domain::timestamp::Timestamp;

/// A connector that was never published and is to be cleared away.
#[derive(Debug, Clone)]
pub struct Provisioning {
    /// Its uid.
    pub uid: ConnectorUid,
    /// Its owner.
    pub scope: ScopeName,
}

impl Store {
    /// Creations that were given up, or that began before `before` and never ended. From now on none of them can be
    /// published.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn take_unfinished(
        &self,
        before: Timestamp,
        limit: u64,
    ) -> Result<Vec<Provisioning>, Error> {
        let transaction = self.database.begin_write().await?;
        let stuck = connector::Entity::find()
            .filter(connector::Column::Phase.eq(PROVISIONING))
            .filter(connector::Column::CreateTime.lt(before.micros()))
            .limit(limit)
            .all(&*transaction)
            .await?;
        for row in stuck {
            abandon(&*transaction, row.uid).await?;
        }
        let rows = connector::Entity::find()
            .filter(connector::Column::Phase.eq(ABANDONED))
            .order_by_asc(connector::Column::CreateTime)
            .limit(limit)
            .all(&*transaction)
            .await?;
        transaction.commit().await?;
        rows.into_iter()
            .map(|row| {
                let scope = row
                    .scope
                    .parse()
                    .map_err(|_| Error::Corrupt("connectors.scope"))?;
                Ok(Provisioning {
                    uid: ConnectorUid::new(row.uid),
                    scope,
                })
            })
            .collect()
    }

    /// Removes a connector that was given up. Its secrets must be gone already.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn remove_unfinished(&self, uid: ConnectorUid) -> Result<(), Error> {
        connector::Entity::delete_many()
            .filter(connector::Column::Uid.eq(uid.as_uuid()))
            .filter(connector::Column::Phase.eq(ABANDONED))
            .exec(self.database.connection())
            .await?;
        Ok(())
    }

    /// Forgets requests made before `before`.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn forget_requests(&self, before: Timestamp) -> Result<(), Error> {
        request::Entity::delete_many()
            .filter(request::Column::CreateTime.lt(before.micros()))
            .exec(self.database.connection())
            .await?;
        Ok(())
    }

    /// Forgets deletions made before `before`; who stood before them has to start over.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn forget_deletions(&self, before: Timestamp) -> Result<(), Error> {
        let transaction = self.database.begin_write().await?;
        let old = tombstone::Column::DeleteTime.lt(before.micros());
        let newest = tombstone::Entity::find()
            .filter(old.clone())
            .order_by_desc(tombstone::Column::Revision)
            .one(&*transaction)
            .await?;
        let Some(newest) = newest else { return Ok(()) };
        tombstone::Entity::delete_many()
            .filter(tombstone::Column::Revision.lte(newest.revision))
            .exec(&*transaction)
            .await?;
        feed::Entity::update_many()
            .col_expr(feed::Column::OldestRevision, Expr::value(newest.revision))
            .filter(feed::Column::Id.eq(FEED))
            .filter(feed::Column::OldestRevision.lt(newest.revision))
            .exec(&*transaction)
            .await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Removes definitions that no tool has referred to since `before`.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn forget_definitions(&self, before: Timestamp) -> Result<(), Error> {
        let used = tool::Entity::find()
            .select_only()
            .column(tool::Column::DefinitionHash)
            .into_query();
        definition::Entity::delete_many()
            .filter(definition::Column::CreateTime.lt(before.micros()))
            .filter(definition::Column::Hash.not_in_subquery(used))
            .exec(self.database.connection())
            .await?;
        Ok(())
    }
}
