//! Wrapped keys: the first ones, and the data keys of scopes.

use database::Database;
use names::ScopeName;
use sea_orm::ActiveValue::Set;
use sea_orm::{
    ActiveModelTrait as _, ColumnTrait as _, ConnectionTrait, EntityTrait as _, QueryFilter as _,
    QueryOrder as _, QuerySelect as _,
};
use uuid::Uuid;

use super::entity::keys::{data_key, deployment, root_key, system_key};
use super::entity::secrets::secret;
use super::{Error, from_db, scope, to_db};
use crate::domain::{
    DataKeyRecord, FirstKeys, KeyState, Micros, RootKeyRecord, SystemKeyKind, SystemKeyRecord,
};

const DEPLOYMENT: i16 = 1;
const ACTIVE: &str = "active";

/// The installation's id.
pub(crate) async fn deployment(connection: &impl ConnectionTrait) -> Result<Option<Uuid>, Error> {
    let row = deployment::Entity::find_by_id(DEPLOYMENT)
        .one(connection)
        .await?;
    Ok(row.map(|row| row.deployment_id))
}

/// The active root key.
pub(crate) async fn root(
    connection: &impl ConnectionTrait,
) -> Result<Option<RootKeyRecord>, Error> {
    let row = root_key::Entity::find()
        .filter(root_key::Column::State.eq(ACTIVE))
        .one(connection)
        .await?;
    row.map(|row| {
        let root_key::Model {
            id,
            key_id,
            term,
            provider,
            provider_check,
            wrapped,
            check_value,
            state: _,
            create_time,
        } = row;
        Ok(RootKeyRecord {
            id,
            key_id,
            term: from_db(term)?,
            provider,
            provider_check,
            wrapped,
            check_value,
            create_time: Micros(create_time),
        })
    })
    .transpose()
}

/// Whether anything was ever stored under a root key.
pub(crate) async fn any_data(connection: &impl ConnectionTrait) -> Result<bool, Error> {
    let root = root_key::Entity::find().one(connection).await?.is_some();
    let system = system_key::Entity::find().one(connection).await?.is_some();
    let data = data_key::Entity::find().one(connection).await?.is_some();
    let secret = secret::Entity::find().one(connection).await?.is_some();
    let deployment = deployment::Entity::find().one(connection).await?.is_some();
    Ok(root || system || data || secret || deployment)
}

/// The vault's own keys in all their terms.
pub(crate) async fn system(
    connection: &impl ConnectionTrait,
) -> Result<Vec<SystemKeyRecord>, Error> {
    let rows = system_key::Entity::find().all(connection).await?;
    rows.into_iter()
        .map(|row| {
            let system_key::Model {
                key_id,
                kind,
                term,
                root_key_id,
                wrapped,
                state,
                create_time,
            } = row;
            let kind = SystemKeyKind::ALL
                .into_iter()
                .find(|known| known.as_str() == kind);
            Ok(SystemKeyRecord {
                key_id,
                kind: kind.ok_or(Error::Impossible("system key"))?,
                term: from_db(term)?,
                root_key_id,
                wrapped,
                state: KeyState::parse(&state).ok_or(Error::Impossible("key state"))?,
                create_time: Micros(create_time),
            })
        })
        .collect()
}

/// Stores the first keys in one transaction. Another process that was faster is no error: then
/// nothing is stored.
pub(crate) async fn insert_first(database: &Database, first: &FirstKeys) -> Result<(), Error> {
    let transaction = database.begin_write().await?;
    match insert_all(&*transaction, first).await {
        Ok(()) => Ok(transaction.commit().await?),
        Err(Error::Database(database::Error::Unique(_))) => Ok(transaction.rollback().await?),
        Err(error) => Err(error),
    }
}

async fn insert_all(connection: &impl ConnectionTrait, first: &FirstKeys) -> Result<(), Error> {
    let FirstKeys {
        deployment,
        root,
        system,
    } = first;
    let deployment = deployment::ActiveModel {
        id: Set(DEPLOYMENT),
        deployment_id: Set(*deployment),
        create_time: Set(root.create_time.0),
    };
    deployment::Entity::insert(deployment)
        .exec_without_returning(connection)
        .await?;
    let root = root_key::ActiveModel {
        id: Set(root.id),
        key_id: Set(root.key_id),
        term: Set(to_db(root.term)),
        provider: Set(root.provider.clone()),
        provider_check: Set(root.provider_check.clone()),
        wrapped: Set(root.wrapped.clone()),
        check_value: Set(root.check_value.clone()),
        state: Set(ACTIVE.to_owned()),
        create_time: Set(root.create_time.0),
    };
    root_key::Entity::insert(root)
        .exec_without_returning(connection)
        .await?;
    for key in system {
        insert_system_key(connection, key).await?;
    }
    Ok(())
}

/// Stores one of the vault's own keys.
pub(crate) async fn insert_system_key(
    connection: &impl ConnectionTrait,
    key: &SystemKeyRecord,
) -> Result<(), Error> {
    let model = system_key::ActiveModel {
        key_id: Set(key.key_id),
        kind: Set(key.kind.as_str().to_owned()),
        term: Set(to_db(key.term)),
        root_key_id: Set(key.root_key_id),
        wrapped: Set(key.wrapped.clone()),
        state: Set(key.state.as_str().to_owned()),
        create_time: Set(key.create_time.0),
    };
    system_key::Entity::insert(model)
        .exec_without_returning(connection)
        .await?;
    Ok(())
}

/// The key that seals new values of `owner`, locked against retirement until the transaction ends (on
/// SQLite the write transaction itself is the lock).
pub(crate) async fn active_data_key(
    connection: &impl ConnectionTrait,
    owner: &ScopeName,
) -> Result<Option<DataKeyRecord>, Error> {
    let row = data_key::Entity::find()
        .filter(data_key::Column::Scope.eq(owner.to_string()))
        .filter(data_key::Column::State.eq(ACTIVE))
        .lock_shared()
        .one(connection)
        .await?;
    row.map(record).transpose()
}

/// The data keys with exactly these ids, in no order.
pub(crate) async fn of(
    connection: &impl ConnectionTrait,
    ids: &[Uuid],
) -> Result<Vec<DataKeyRecord>, Error> {
    let rows = data_key::Entity::find().filter(data_key::Column::KeyId.is_in(ids.iter().copied()));
    rows.all(connection)
        .await?
        .into_iter()
        .map(record)
        .collect()
}

/// The last term that a scope's data keys have reached; 0 when it has none.
pub(crate) async fn last_term(
    connection: &impl ConnectionTrait,
    owner: &ScopeName,
) -> Result<u64, Error> {
    let row = data_key::Entity::find()
        .filter(data_key::Column::Scope.eq(owner.to_string()))
        .order_by_desc(data_key::Column::Term)
        .one(connection)
        .await?;
    row.map_or(Ok(0), |row| from_db(row.term))
}

/// Stores a new data key; [`database::Error::Unique`] when the scope has an active one already.
pub(crate) async fn insert_data_key(
    connection: &impl ConnectionTrait,
    key: &DataKeyRecord,
) -> Result<(), Error> {
    let model = data_key::ActiveModel {
        key_id: Set(key.key_id),
        scope: Set(key.scope.to_string()),
        term: Set(to_db(key.term)),
        root_key_id: Set(key.root_key_id),
        wrapped: Set(key.wrapped.clone()),
        state: Set(key.state.as_str().to_owned()),
        create_time: Set(key.create_time.0),
    };
    model.insert(connection).await?;
    Ok(())
}

fn record(row: data_key::Model) -> Result<DataKeyRecord, Error> {
    let data_key::Model {
        key_id,
        scope: owner,
        term,
        root_key_id,
        wrapped,
        state,
        create_time,
    } = row;
    Ok(DataKeyRecord {
        key_id,
        scope: scope(&owner)?,
        term: from_db(term)?,
        root_key_id,
        wrapped,
        state: KeyState::parse(&state).ok_or(Error::Impossible("key state"))?,
        create_time: Micros(create_time),
    })
}
