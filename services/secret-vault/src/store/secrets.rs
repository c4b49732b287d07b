//! Secrets and their tombstones.

use names::ScopeName;
use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::Expr;
use sea_orm::{
    ColumnTrait as _, ConnectionTrait, EntityTrait as _, QueryFilter as _, QueryOrder as _,
    QuerySelect as _,
};
use uuid::Uuid;

use super::entity::secrets::secret::{ActiveModel, Column, Entity, Model};
use super::{Error, from_db, scope, to_db};
use crate::domain::{Field, FieldKind, Micros, SecretRecord, SecretState};

/// The secret with this id, a tombstone too.
pub(crate) async fn get(
    connection: &impl ConnectionTrait,
    id: Uuid,
) -> Result<Option<SecretRecord>, Error> {
    Entity::find_by_id(id)
        .one(connection)
        .await?
        .map(record)
        .transpose()
}

/// The same, locked until the transaction ends.
pub(crate) async fn lock(
    connection: &impl ConnectionTrait,
    id: Uuid,
) -> Result<Option<SecretRecord>, Error> {
    let row = Entity::find_by_id(id)
        .lock_exclusive()
        .one(connection)
        .await?;
    row.map(record).transpose()
}

/// The secrets with these ids, in no order, tombstones too.
pub(crate) async fn of(
    connection: &impl ConnectionTrait,
    ids: &[Uuid],
) -> Result<Vec<SecretRecord>, Error> {
    let rows = Entity::find().filter(Column::Id.is_in(ids.iter().copied()));
    rows.all(connection)
        .await?
        .into_iter()
        .map(record)
        .collect()
}

/// The live secret of one place, locked until the transaction ends.
pub(crate) async fn lock_at(
    connection: &impl ConnectionTrait,
    owner: &ScopeName,
    connector: Uuid,
    field: &Field,
) -> Result<Option<SecretRecord>, Error> {
    let row = Entity::find()
        .filter(Column::Scope.eq(owner.to_string()))
        .filter(Column::Connector.eq(connector))
        .filter(Column::Kind.eq(field.kind.code()))
        .filter(Column::FieldName.eq(field.name.as_str()))
        .filter(Column::State.eq(SecretState::Active.as_str()))
        .lock_exclusive()
        .one(connection)
        .await?;
    row.map(record).transpose()
}

/// Live secrets of a scope behind `after`, by id.
pub(crate) async fn page(
    connection: &impl ConnectionTrait,
    owner: &ScopeName,
    connector: Option<Uuid>,
    after: Option<Uuid>,
    limit: u64,
) -> Result<Vec<SecretRecord>, Error> {
    let mut rows = Entity::find()
        .filter(Column::Scope.eq(owner.to_string()))
        .filter(Column::State.eq(SecretState::Active.as_str()))
        .order_by_asc(Column::Id)
        .limit(limit);
    if let Some(connector) = connector {
        rows = rows.filter(Column::Connector.eq(connector));
    }
    if let Some(after) = after {
        rows = rows.filter(Column::Id.gt(after));
    }
    rows.all(connection)
        .await?
        .into_iter()
        .map(record)
        .collect()
}

/// Stores a new secret.
pub(crate) async fn insert(
    connection: &impl ConnectionTrait,
    record: &SecretRecord,
) -> Result<(), Error> {
    let model = ActiveModel {
        id: Set(record.id),
        scope: Set(record.scope.to_string()),
        connector: Set(record.connector),
        kind: Set(record.field.kind.code()),
        field_name: Set(record.field.name.clone()),
        current_version: Set(to_db(record.current_version)),
        destination: Set(record.destination),
        state: Set(record.state.as_str().to_owned()),
        head_mac: Set(record.head_mac.clone()),
        create_time: Set(record.create_time.0),
        update_time: Set(record.update_time.0),
    };
    Entity::insert(model)
        .exec_without_returning(connection)
        .await?;
    Ok(())
}

/// Moves the head from version `expected`; false when somebody else has moved it.
pub(crate) async fn set_head(
    connection: &impl ConnectionTrait,
    record: &SecretRecord,
    expected: u64,
) -> Result<bool, Error> {
    let updated = Entity::update_many()
        .col_expr(
            Column::CurrentVersion,
            Expr::value(to_db(record.current_version)),
        )
        .col_expr(Column::Destination, Expr::value(record.destination))
        .col_expr(Column::State, Expr::value(record.state.as_str()))
        .col_expr(Column::HeadMac, Expr::value(record.head_mac.clone()))
        .col_expr(Column::UpdateTime, Expr::value(record.update_time.0))
        .filter(Column::Id.eq(record.id))
        .filter(Column::CurrentVersion.eq(to_db(expected)))
        .exec(connection)
        .await?;
    Ok(updated.rows_affected == 1)
}

fn record(row: Model) -> Result<SecretRecord, Error> {
    let Model {
        id,
        scope: owner,
        connector,
        kind,
        field_name,
        current_version,
        destination,
        state,
        head_mac,
        create_time,
        update_time,
    } = row;
    let state = [SecretState::Active, SecretState::Deleted]
        .into_iter()
        .find(|s| s.as_str() == state);
    let kind = FieldKind::from_code(kind).ok_or(Error::Impossible("field kind"))?;
    Ok(SecretRecord {
        id,
        scope: scope(&owner)?,
        connector,
        field: Field {
            kind,
            name: field_name,
        },
        current_version: from_db(current_version)?,
        destination,
        state: state.ok_or(Error::Impossible("secret state"))?,
        head_mac,
        create_time: Micros(create_time),
        update_time: Micros(update_time),
    })
}
