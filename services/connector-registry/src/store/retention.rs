//! What is removed in time: remembered requests, tombstones, unused definitions; and which creations never ended.
//!
//! Invariant: a tombstone is forgotten only together with the positions that would have needed it.

use database::retry;
use names::ConnectorUid;
use sea_orm::{
    ColumnTrait as _, EntityTrait as _, QueryFilter as _, QueryOrder as _, QuerySelect as _,
    QueryTrait as _,
    sea_query::{Expr, ExprTrait as _, Query},
};
use uuid::Uuid;

use super::{
    Error, FEED, Store,
    entity::{connector, definition, feed, request, tombstone, tool},
    row::PROVISIONING,
};
use crate::domain::timestamp::Timestamp;

impl Store {
    /// Creations that began before `before` and never ended, the oldest first.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn unfinished(
        &self,
        before: Timestamp,
        limit: u64,
    ) -> Result<Vec<ConnectorUid>, Error> {
        let rows: Vec<Uuid> = connector::Entity::find()
            .select_only()
            .column(connector::Column::Uid)
            .filter(connector::Column::Phase.eq(PROVISIONING))
            .filter(connector::Column::CreateTime.lt(before.micros()))
            .order_by_asc(connector::Column::CreateTime)
            .limit(limit)
            .into_tuple()
            .all(self.database.connection())
            .await?;
        Ok(rows.into_iter().map(ConnectorUid::new).collect())
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
        retry(|| self.try_forget_deletions(before)).await
    }

    async fn try_forget_deletions(&self, before: Timestamp) -> Result<(), Error> {
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

    /// Removes at most `limit` definitions that no tool refers to and none has since `before`.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn forget_definitions(&self, before: Timestamp, limit: u64) -> Result<(), Error> {
        let unused = || definition::Column::UsedTime.lt(before.micros());
        let user = Query::select()
            .expr(Expr::value(1))
            .from(tool::Entity)
            .and_where(
                Expr::col((tool::Entity, tool::Column::DefinitionHash))
                    .equals((definition::Entity, definition::Column::Hash)),
            )
            .to_owned();
        let oldest = definition::Entity::find()
            .select_only()
            .column(definition::Column::Hash)
            .filter(unused())
            .filter(Expr::not_exists(user))
            .order_by_asc(definition::Column::UsedTime)
            .limit(limit)
            .into_query();
        // The condition stands here again: PostgreSQL looks at it anew when a report has just renewed the note.
        definition::Entity::delete_many()
            .filter(unused())
            .filter(definition::Column::Hash.in_subquery(oldest))
            .exec(self.database.connection())
            .await?;
        Ok(())
    }
}
