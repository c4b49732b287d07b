//! Creating connectors: a row that nobody sees yet, then its publication.
//!
//! Invariants: the scope's row is locked from counting to inserting, so that concurrent creates never pass a quota and a
//! derived id is free when it is used; a request id is remembered in the same transaction as what it made.

use std::collections::HashSet;

use database::retry;
use names::{ConnectorId, ConnectorName, ConnectorUid, ScopeName};
use sea_orm::{
    ActiveModelTrait as _, ActiveValue::Set, ColumnTrait as _, Condition, ConnectionTrait,
    EntityTrait as _, QueryFilter as _, QuerySelect as _, sea_query::OnConflict,
};
use uuid::Uuid;

use super::{
    Error, NewTask, Store, advance,
    entity::{connector, label, request, scope, secret},
    outbox,
    queries::{count, find, live},
    row::{self, LIVE, PROVISIONING},
};
use crate::domain::{
    connector::{Connector, Revisions, StoredSecret, readiness},
    request::RequestHash,
    spec::{Source, Spec},
    status::{Readiness, Status},
    timestamp::Timestamp,
};

/// A request that is not to be done twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestKey {
    /// Who asked.
    pub principal: String,
    /// The parent or resource it was about.
    pub target: String,
    /// The caller's own id.
    pub id: Uuid,
    /// What was asked.
    pub hash: RequestHash,
}

/// A connector to create.
#[derive(Debug, Clone)]
pub struct NewConnector {
    /// Its owner.
    pub scope: ScopeName,
    /// The id that was asked for; `None` takes the first free one after `derived`.
    pub id: Option<ConnectorId>,
    /// The id to derive others from.
    pub derived: ConnectorId,
    /// What its owner wants.
    pub spec: Spec,
    /// Whether secrets are to be sealed before it is published.
    pub has_secrets: bool,
    /// How many connectors the scope may have.
    pub quota: Option<u32>,
    /// The request, to recognise it again.
    pub request: Option<RequestKey>,
    /// When.
    pub now: Timestamp,
}

/// What a creation came to.
#[derive(Debug)]
pub enum Begun {
    /// It is published; or it was, by the same request.
    Published(Box<Connector>),
    /// It is there, unseen, until its secrets are sealed.
    Provisioning(Box<Connector>),
    /// The request id was used for another request.
    Reused,
}

impl Store {
    /// Creates a connector, published at once when it has no secrets to seal. With `validate_only` use
    /// [`Store::rehearse`].
    ///
    /// # Errors
    /// [`Error::Exists`], [`Error::Quota`], [`Error::NotFound`] when the same request made a connector that was deleted
    /// since, and those of the database.
    pub async fn begin_create(&self, new: NewConnector) -> Result<Begun, Error> {
        retry(|| self.try_begin_create(&new)).await
    }

    async fn try_begin_create(&self, new: &NewConnector) -> Result<Begun, Error> {
        let transaction = self.database.begin_write().await?;
        lock_scope(&*transaction, &new.scope, new.now).await?;
        if let Some(begun) = replay(&*transaction, new.request.as_ref()).await? {
            return Ok(begun);
        }
        let mut connector = prepare(&*transaction, new).await?;
        let phase = if new.has_secrets { PROVISIONING } else { LIVE };
        if !new.has_secrets {
            let revision = advance(&*transaction, 1).await?;
            connector.revisions.revision = revision;
            connector.revisions.desired_revision = revision;
        }
        row::connector_row(&connector, phase)?
            .insert(&*transaction)
            .await?;
        insert_labels(&*transaction, &connector).await?;
        if let Some(key) = new.request.clone() {
            remember(&*transaction, key, connector.uid, new.now).await?;
        }
        transaction.commit().await?;
        self.announce(connector.revisions.revision);
        let connector = Box::new(connector);
        Ok(if new.has_secrets {
            Begun::Provisioning(connector)
        } else {
            Begun::Published(connector)
        })
    }

    /// What [`Store::begin_create`] would create, without creating it.
    ///
    /// # Errors
    /// As there.
    pub async fn rehearse(&self, new: &NewConnector) -> Result<Connector, Error> {
        let transaction = self.database.begin_read().await?;
        prepare(&*transaction, new).await
    }

    /// Publishes a connector whose secrets are sealed. Doing it again changes nothing.
    ///
    /// # Errors
    /// [`Error::NotFound`] when it was given up in the meantime, and those of the database.
    pub async fn publish(
        &self,
        uid: ConnectorUid,
        secrets: Vec<StoredSecret>,
        now: Timestamp,
    ) -> Result<Connector, Error> {
        retry(|| self.try_publish(uid, &secrets, now)).await
    }

    async fn try_publish(
        &self,
        uid: ConnectorUid,
        secrets: &[StoredSecret],
        now: Timestamp,
    ) -> Result<Connector, Error> {
        let transaction = self.database.begin_write().await?;
        let query = connector::Entity::find_by_id(uid.as_uuid()).lock_exclusive();
        let found = query.one(&*transaction).await?.ok_or(Error::NotFound)?;
        match found.phase.as_str() {
            PROVISIONING => {}
            LIVE => {
                return find(
                    &*transaction,
                    live().filter(connector::Column::Uid.eq(uid.as_uuid())),
                )
                .await;
            }
            _ => return Err(Error::NotFound),
        }
        let mut connector =
            find(&*transaction, connector::Entity::find_by_id(uid.as_uuid())).await?;
        connector.secrets = secrets.to_vec();
        connector.status =
            Status::first(connector.readiness(), connector.revisions.generation, now);
        let revision = advance(&*transaction, 1).await?;
        connector.revisions.revision = revision;
        connector.revisions.desired_revision = revision;
        row::connector_row(&connector, LIVE)?
            .update(&*transaction)
            .await?;
        insert_secrets(&*transaction, &connector).await?;
        transaction.commit().await?;
        self.announce(revision);
        Ok(connector)
    }

    /// Gives up a connector that was not published: its row goes, with its id, its place in the quota and the request
    /// that made it, and `task` is owed instead. Does nothing when it was published or given up already.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn abandon(
        &self,
        uid: ConnectorUid,
        task: NewTask,
        now: Timestamp,
    ) -> Result<(), Error> {
        retry(|| self.try_abandon(uid, task.clone(), now)).await
    }

    async fn try_abandon(
        &self,
        uid: ConnectorUid,
        task: NewTask,
        now: Timestamp,
    ) -> Result<(), Error> {
        let transaction = self.database.begin_write().await?;
        let unseen = connector::Entity::find_by_id(uid.as_uuid())
            .filter(connector::Column::Phase.eq(PROVISIONING))
            .lock_exclusive();
        let connector = match find(&*transaction, unseen).await {
            Err(Error::NotFound) => return Ok(()),
            found => found?,
        };
        outbox::insert(&*transaction, &connector.name, uid, task, now).await?;
        request::Entity::delete_many()
            .filter(request::Column::ConnectorUid.eq(uid.as_uuid()))
            .exec(&*transaction)
            .await?;
        connector::Entity::delete_by_id(uid.as_uuid())
            .exec(&*transaction)
            .await?;
        Ok(transaction.commit().await?)
    }

    /// Whether this request was done already.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn recall(&self, key: &RequestKey) -> Result<Option<RequestHash>, Error> {
        Ok(recalled(self.database.connection(), key)
            .await?
            .and_then(|row| row.request_hash.try_into().ok()))
    }
}

/// The scope's row, made when its life begins, locked until the transaction ends.
async fn lock_scope(
    transaction: &impl ConnectionTrait,
    name: &ScopeName,
    now: Timestamp,
) -> Result<(), Error> {
    let row = scope::ActiveModel {
        scope: Set(name.to_string()),
        scope_uid: Set(Uuid::now_v7()),
        create_time: Set(now.micros()),
    };
    scope::Entity::insert(row)
        .on_conflict(
            OnConflict::column(scope::Column::Scope)
                .do_nothing()
                .to_owned(),
        )
        .exec_without_returning(transaction)
        .await?;
    scope::Entity::find_by_id(name.to_string())
        .lock_exclusive()
        .one(transaction)
        .await?;
    Ok(())
}

async fn replay(
    transaction: &impl ConnectionTrait,
    key: Option<&RequestKey>,
) -> Result<Option<Begun>, Error> {
    let Some(key) = key else { return Ok(None) };
    let Some(row) = recalled(transaction, key).await? else {
        return Ok(None);
    };
    if row.request_hash != key.hash {
        return Ok(Some(Begun::Reused));
    }
    let made = connector::Entity::find_by_id(row.connector_uid);
    let phase = made
        .clone()
        .one(transaction)
        .await?
        .ok_or(Error::NotFound)?
        .phase;
    let connector = Box::new(find(transaction, made).await?);
    Ok(Some(match phase.as_str() {
        LIVE => Begun::Published(connector),
        _ => Begun::Provisioning(connector),
    }))
}

/// The connector as it would be, after checking what only the database knows.
async fn prepare(
    transaction: &impl ConnectionTrait,
    new: &NewConnector,
) -> Result<Connector, Error> {
    let id = free_id(transaction, new).await?;
    let used = count(transaction, &new.scope).await?;
    if let Some(limit) = new.quota
        && used >= u64::from(limit)
    {
        return Err(Error::Quota { limit });
    }
    let readiness = if new.has_secrets {
        Readiness::Ready
    } else {
        readiness(&new.spec, &[])
    };
    let revisions = Revisions {
        generation: 1,
        policy_generation: 1,
        ..Revisions::default()
    };
    Ok(Connector {
        uid: ConnectorUid::new(Uuid::now_v7()),
        name: ConnectorName::new(new.scope.clone(), id),
        source: Source::Manual,
        spec: new.spec.clone(),
        secrets: Vec::new(),
        status: Status::first(readiness, revisions.generation, new.now),
        revisions,
        create_time: new.now,
        update_time: new.now,
    })
}

/// The id that was asked for, or the first free one after the derived one.
async fn free_id(
    transaction: &impl ConnectionTrait,
    new: &NewConnector,
) -> Result<ConnectorId, Error> {
    let wanted = new.id.as_ref().unwrap_or(&new.derived);
    let mut alike = Condition::any().add(connector::Column::ConnectorId.eq(wanted.as_str()));
    if new.id.is_none() {
        // An id has no character that means something in a pattern.
        alike = alike.add(connector::Column::ConnectorId.like(format!("{wanted}-%")));
    }
    let taken: HashSet<String> = connector::Entity::find()
        .select_only()
        .column(connector::Column::ConnectorId)
        .filter(connector::Column::Scope.eq(new.scope.to_string()))
        .filter(alike)
        .into_tuple::<String>()
        .all(transaction)
        .await?
        .into_iter()
        .collect();
    if !taken.contains(wanted.as_str()) {
        return Ok(wanted.clone());
    }
    if new.id.is_some() {
        return Err(Error::Exists);
    }
    (2..)
        .map(|number| wanted.with_suffix(number))
        .find(|id| !taken.contains(id.as_str()))
        .ok_or(Error::Exists)
}

async fn recalled(
    connection: &impl ConnectionTrait,
    key: &RequestKey,
) -> Result<Option<request::Model>, Error> {
    let id = (
        key.principal.clone(),
        key.target.clone(),
        key.id.to_string(),
    );
    Ok(request::Entity::find_by_id(id).one(connection).await?)
}

/// Notes that this request was done.
pub(super) async fn remember(
    transaction: &impl ConnectionTrait,
    key: RequestKey,
    uid: ConnectorUid,
    now: Timestamp,
) -> Result<(), Error> {
    let row = request::ActiveModel {
        principal: Set(key.principal),
        target: Set(key.target),
        request_id: Set(key.id.to_string()),
        request_hash: Set(key.hash.to_vec()),
        connector_uid: Set(uid.as_uuid()),
        create_time: Set(now.micros()),
    };
    row.insert(transaction).await?;
    Ok(())
}

/// Whether this request was done, as seen by a transaction.
pub(super) async fn is_remembered(
    transaction: &impl ConnectionTrait,
    key: &RequestKey,
) -> Result<bool, Error> {
    Ok(recalled(transaction, key).await?.is_some())
}

/// Writes a connector's labels, which must have no rows yet.
pub(super) async fn insert_labels(
    transaction: &impl ConnectionTrait,
    connector: &Connector,
) -> Result<(), Error> {
    if !connector.spec.labels.is_empty() {
        label::Entity::insert_many(row::label_rows(connector))
            .exec_without_returning(transaction)
            .await?;
    }
    Ok(())
}

/// Writes references to a connector's secrets, which must have no rows yet.
pub(super) async fn insert_secrets(
    transaction: &impl ConnectionTrait,
    connector: &Connector,
) -> Result<(), Error> {
    if !connector.secrets.is_empty() {
        let rows = row::secret_rows(connector)?;
        secret::Entity::insert_many(rows)
            .exec_without_returning(transaction)
            .await?;
    }
    Ok(())
}

/// Queues work that a change owes to the vault.
pub(super) async fn owe(
    transaction: &impl ConnectionTrait,
    connector: &Connector,
    tasks: Vec<NewTask>,
    now: Timestamp,
) -> Result<(), Error> {
    for task in tasks {
        outbox::insert(transaction, &connector.name, connector.uid, task, now).await?;
    }
    Ok(())
}
