//! Changing and deleting published connectors: read under a lock, let the caller decide, write with the next revision.
//!
//! Invariant: whatever a decision was based on is still true when it is written. Not here: the decisions.

use names::ConnectorName;
use sea_orm::{
    ActiveModelTrait as _, ActiveValue::Set, ColumnTrait as _, ConnectionTrait, EntityTrait as _,
    QueryFilter as _, QuerySelect as _,
};

use super::{
    Error, NewTask, RequestKey, Store, advance,
    create::{insert_labels, insert_secrets, is_remembered, owe, remember},
    entity::{connector, label, secret, tombstone},
    queries::{find, named},
    row::{self, LIVE},
};
use crate::domain::{connector::Connector, timestamp::Timestamp};

/// A change that was decided on.
#[derive(Debug)]
pub struct Mutation {
    /// The connector after it; the feed's revisions are filled in by the store.
    pub connector: Connector,
    /// What it owes to the vault.
    pub tasks: Vec<NewTask>,
    /// The request, to recognise it again.
    pub request: Option<RequestKey>,
}

/// A connector that was deleted.
#[derive(Debug)]
pub struct Deletion {
    /// Position of the deletion in the feed.
    pub revision: i64,
    /// What was deleted.
    pub connector: Connector,
}

impl Store {
    /// Changes a published connector as `decide` says, which sees it under a lock; `None` leaves it as it is.
    ///
    /// # Errors
    /// Those of `decide`, [`Error::NotFound`], and those of the database.
    pub async fn mutate<E: From<Error>>(
        &self,
        name: &ConnectorName,
        now: Timestamp,
        decide: impl FnOnce(&Connector) -> Result<Option<Mutation>, E>,
    ) -> Result<Connector, E> {
        let transaction = self.database.begin_write().await.map_err(Error::from)?;
        let current = find(&*transaction, named(name).lock_exclusive()).await?;
        let Some(Mutation {
            mut connector,
            tasks,
            request,
        }) = decide(&current)?
        else {
            return Ok(current);
        };
        if let Some(key) = request {
            if is_remembered(&*transaction, &key).await? {
                return Ok(current);
            }
            remember(&*transaction, key, current.uid, now).await?;
        }
        let revision = write(&*transaction, &current, &mut connector, now).await?;
        owe(&*transaction, &connector, tasks, now).await?;
        transaction.commit().await.map_err(Error::from)?;
        self.announce(revision);
        Ok(connector)
    }

    /// Deletes a published connector and leaves a tombstone, when `decide` agrees, which sees it under a lock.
    ///
    /// # Errors
    /// Those of `decide`, [`Error::NotFound`], and those of the database.
    pub async fn delete<E: From<Error>>(
        &self,
        name: &ConnectorName,
        now: Timestamp,
        decide: impl FnOnce(&Connector) -> Result<Vec<NewTask>, E>,
    ) -> Result<Deletion, E> {
        let transaction = self.database.begin_write().await.map_err(Error::from)?;
        let connector = find(&*transaction, named(name).lock_exclusive()).await?;
        let tasks = decide(&connector)?;
        owe(&*transaction, &connector, tasks, now).await?;
        connector::Entity::delete_by_id(connector.uid.as_uuid())
            .exec(&*transaction)
            .await
            .map_err(Error::from)?;
        let revision = advance(&*transaction, 1).await?;
        let tombstone = tombstone::ActiveModel {
            uid: Set(connector.uid.as_uuid()),
            scope: Set(name.scope().to_string()),
            scope_kind: Set(row::scope_kind(name.scope().kind()).to_owned()),
            connector_id: Set(name.id().to_string()),
            revision: Set(revision),
            delete_time: Set(now.micros()),
        };
        tombstone.insert(&*transaction).await.map_err(Error::from)?;
        transaction.commit().await.map_err(Error::from)?;
        self.announce(revision);
        Ok(Deletion {
            revision,
            connector,
        })
    }
}

/// Writes a changed connector with the next revision; the feed's lock is taken last.
async fn write(
    transaction: &impl ConnectionTrait,
    current: &Connector,
    changed: &mut Connector,
    now: Timestamp,
) -> Result<i64, Error> {
    let uid = current.uid.as_uuid();
    if changed.spec.labels != current.spec.labels {
        label::Entity::delete_many()
            .filter(label::Column::ConnectorUid.eq(uid))
            .exec(transaction)
            .await?;
        insert_labels(transaction, changed).await?;
    }
    // References that did not change are left alone: the outbox moves them without taking the connector's lock.
    if changed.secrets != current.secrets {
        secret::Entity::delete_many()
            .filter(secret::Column::ConnectorUid.eq(uid))
            .exec(transaction)
            .await?;
        insert_secrets(transaction, changed).await?;
    }
    let revision = advance(transaction, 1).await?;
    changed.revisions.revision = revision;
    changed.revisions.desired_revision = revision;
    changed.update_time = now;
    row::connector_row(changed, LIVE)?
        .update(transaction)
        .await?;
    Ok(revision)
}
