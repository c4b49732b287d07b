//! Creating connectors: a row that nobody sees yet, then its publication.
//!
//! Invariants: the scope's row is locked from counting to inserting, so that concurrent creates never pass a quota and a
//! derived id is free when it is used; a request id is remembered in the same transaction as what it made.

use names::{ConnectorId, ConnectorName, ConnectorUid, ScopeName};
use sea_orm::{
    ActiveModelTrait as _, ActiveValue::Set, ColumnTrait as _, ConnectionTrait, EntityTrait as _,
    PaginatorTrait as _, QueryFilter as _, QuerySelect as _, sea_query::OnConflict,
};
use uuid::Uuid;

use super::{
    Error, NewTask, Store, advance,
    entity::{connector, label, request, scope, secret},
    outbox,
    queries::{count, find, live},
    row::{self, ABANDONED, LIVE, PROVISIONING},
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
        let transaction = self.database.begin_write().await?;
        lock_scope(&*transaction, &new.scope, new.now).await?;
        if let Some(begun) = replay(&*transaction, new.request.as_ref()).await? {
            return Ok(begun);
        }
        let mut connector = prepare(&*transaction, &new).await?;
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
        if let Some(key) = new.request {
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
        connector.secrets = secrets;
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

    /// Gives up a connector that was not published: from then on it cannot be, its id and its place in the quota are
    /// free, and the request that made it is forgotten.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn abandon(&self, uid: ConnectorUid) -> Result<(), Error> {
        let transaction = self.database.begin_write().await?;
        abandon(&*transaction, uid.as_uuid()).await?;
        transaction.commit().await?;
        Ok(())
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

/// See [`Store::abandon`].
pub(super) async fn abandon(transaction: &impl ConnectionTrait, uid: Uuid) -> Result<(), Error> {
    let given_up = connector::ActiveModel {
        phase: Set(ABANDONED.to_owned()),
        // No connector id begins like this.
        connector_id: Set(format!("!{uid}")),
        ..Default::default()
    };
    let updated = connector::Entity::update_many()
        .set(given_up)
        .filter(connector::Column::Uid.eq(uid))
        .filter(connector::Column::Phase.eq(PROVISIONING))
        .exec(transaction)
        .await?;
    if updated.rows_affected > 0 {
        request::Entity::delete_many()
            .filter(request::Column::ConnectorUid.eq(uid))
            .exec(transaction)
            .await?;
    }
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

async fn free_id(
    transaction: &impl ConnectionTrait,
    new: &NewConnector,
) -> Result<ConnectorId, Error> {
    if let Some(id) = &new.id {
        return if is_taken(transaction, &new.scope, id).await? {
            Err(Error::Exists)
        } else {
            Ok(id.clone())
        };
    }
    let mut id = new.derived.clone();
    let mut number = 1;
    while is_taken(transaction, &new.scope, &id).await? {
        number += 1;
        id = new.derived.with_suffix(number);
    }
    Ok(id)
}

async fn is_taken(
    transaction: &impl ConnectionTrait,
    scope: &ScopeName,
    id: &ConnectorId,
) -> Result<bool, Error> {
    let same = connector::Entity::find()
        .filter(connector::Column::Scope.eq(scope.to_string()))
        .filter(connector::Column::ConnectorId.eq(id.as_str()));
    Ok(same.count(transaction).await? > 0)
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
