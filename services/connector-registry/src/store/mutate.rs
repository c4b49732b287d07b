//! Changing and deleting published connectors: read under a lock, let the caller decide, write with the next revision.
//!
//! Invariant: whatever a decision was based on is still true when it is written; a decision whose transaction lost against
//! another one is made anew. Not here: the decisions.

use database::retry;
use names::ConnectorName;
use sea_orm::{
    ActiveModelTrait as _, ActiveValue::Set, ColumnTrait as _, ConnectionTrait, EntityTrait as _,
    QueryFilter as _, QuerySelect as _,
};

use super::{
    Error, NewTask, RequestKey, Store, advance,
    create::{insert_labels, insert_secrets, is_remembered, owe, remember},
    entity::{connector, label, request, secret, tombstone},
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
        decide: impl Fn(&Connector) -> Result<Option<Mutation>, E>,
    ) -> Result<Connector, E> {
        retry(|| self.try_mutate(name, now, &decide)).await?
    }

    /// The outer result is the database's, the inner one the decision's.
    async fn try_mutate<E>(
        &self,
        name: &ConnectorName,
        now: Timestamp,
        decide: &impl Fn(&Connector) -> Result<Option<Mutation>, E>,
    ) -> Result<Result<Connector, E>, Error> {
        let transaction = self.database.begin_write().await?;
        let current = find(&*transaction, named(name).lock_exclusive()).await?;
        let decided = match decide(&current) {
            Ok(decided) => decided,
            Err(refused) => return Ok(Err(refused)),
        };
        let Some(Mutation {
            mut connector,
            tasks,
            request,
        }) = decided
        else {
            return Ok(Ok(current));
        };
        if let Some(key) = request {
            if is_remembered(&*transaction, &key).await? {
                return Ok(Ok(current));
            }
            remember(&*transaction, key, current.uid, now).await?;
        }
        let revision = write(&*transaction, &current, &mut connector, now).await?;
        owe(&*transaction, &connector, tasks, now).await?;
        transaction.commit().await?;
        self.announce(revision);
        Ok(Ok(connector))
    }

    /// Deletes a published connector and leaves a tombstone, when `decide` agrees, which sees it under a lock.
    ///
    /// # Errors
    /// Those of `decide`, [`Error::NotFound`], and those of the database.
    pub async fn delete<E: From<Error>>(
        &self,
        name: &ConnectorName,
        now: Timestamp,
        decide: impl Fn(&Connector) -> Result<Vec<NewTask>, E>,
    ) -> Result<Deletion, E> {
        retry(|| self.try_delete(name, now, &decide)).await?
    }

    /// As [`Store::try_mutate`].
    async fn try_delete<E>(
        &self,
        name: &ConnectorName,
        now: Timestamp,
        decide: &impl Fn(&Connector) -> Result<Vec<NewTask>, E>,
    ) -> Result<Result<Deletion, E>, Error> {
        let transaction = self.database.begin_write().await?;
        let connector = find(&*transaction, named(name).lock_exclusive()).await?;
        let tasks = match decide(&connector) {
            Ok(tasks) => tasks,
            Err(refused) => return Ok(Err(refused)),
        };
        owe(&*transaction, &connector, tasks, now).await?;
        connector::Entity::delete_by_id(connector.uid.as_uuid())
            .exec(&*transaction)
            .await?;
        // Requests about the connector itself; the one that made it is remembered for its time.
        request::Entity::delete_many()
            .filter(request::Column::ConnectorUid.eq(connector.uid.as_uuid()))
            .filter(request::Column::Target.eq(connector.uid.to_string()))
            .exec(&*transaction)
            .await?;
        let revision = advance(&*transaction, 1).await?;
        let tombstone = tombstone::ActiveModel {
            uid: Set(connector.uid.as_uuid()),
            scope: Set(name.scope().to_string()),
            scope_kind: Set(row::scope_kind(name.scope().kind()).to_owned()),
            connector_id: Set(name.id().to_string()),
            revision: Set(revision),
            delete_time: Set(now.micros()),
        };
        tombstone.insert(&*transaction).await?;
        transaction.commit().await?;
        self.announce(revision);
        Ok(Ok(Deletion {
            revision,
            connector,
        }))
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
