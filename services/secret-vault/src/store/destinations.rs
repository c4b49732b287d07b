//! Destination records.

use names::ScopeName;
use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::{Expr, Query};
use sea_orm::{
    ColumnTrait as _, ConnectionTrait, EntityTrait as _, ExprTrait as _, QueryFilter as _,
    QuerySelect as _,
};
use uuid::Uuid;

use super::entity::secrets::destination::{ActiveModel, Column, Entity, Model};
use super::entity::secrets::secret_version;
use super::{Error, from_db, scope, to_db};
use crate::domain::{DestinationRecord, Destinations, Micros};

/// The record with this id.
pub(crate) async fn get(
    connection: &impl ConnectionTrait,
    id: Uuid,
) -> Result<Option<DestinationRecord>, Error> {
    Entity::find_by_id(id)
        .one(connection)
        .await?
        .map(record)
        .transpose()
}

/// The records with these ids, in no order.
pub(crate) async fn of(
    connection: &impl ConnectionTrait,
    ids: &[Uuid],
) -> Result<Vec<DestinationRecord>, Error> {
    let rows = Entity::find().filter(Column::Id.is_in(ids.iter().copied()));
    rows.all(connection)
        .await?
        .into_iter()
        .map(record)
        .collect()
}

/// The record of exactly these destinations for a connector, locked against being forgotten until the
/// transaction ends.
pub(crate) async fn find(
    connection: &impl ConnectionTrait,
    owner: &ScopeName,
    connector: Uuid,
    destinations: &Destinations,
) -> Result<Option<DestinationRecord>, Error> {
    let row = Entity::find()
        .filter(Column::Scope.eq(owner.to_string()))
        .filter(Column::Connector.eq(connector))
        .filter(Column::Digest.eq(destinations.digest()))
        .lock_shared()
        .one(connection)
        .await?;
    row.map(record).transpose()
}

/// Stores a new record.
pub(crate) async fn insert(
    connection: &impl ConnectionTrait,
    record: &DestinationRecord,
) -> Result<(), Error> {
    let model = ActiveModel {
        id: Set(record.id),
        scope: Set(record.scope.to_string()),
        connector: Set(record.connector),
        digest: Set(record.destinations.digest()),
        destinations: Set(record.destinations.to_json()),
        record_version: Set(to_db(record.record_version)),
        mac: Set(record.mac.clone()),
        create_time: Set(record.create_time.0),
    };
    Entity::insert(model)
        .exec_without_returning(connection)
        .await?;
    Ok(())
}

/// Forgets records made before `before` that no version needs any more.
pub(crate) async fn forget(
    connection: &impl ConnectionTrait,
    before: Micros,
) -> Result<u64, Error> {
    let needed = Query::select()
        .expr(Expr::val(1))
        .from(secret_version::Entity)
        .and_where(
            Expr::col((secret_version::Entity, secret_version::Column::Destination))
                .equals((Entity, Column::Id)),
        )
        .to_owned();
    let deleted = Entity::delete_many()
        .filter(Column::CreateTime.lt(before.0))
        .filter(Expr::exists(needed).not())
        .exec(connection)
        .await?;
    Ok(deleted.rows_affected)
}

fn record(row: Model) -> Result<DestinationRecord, Error> {
    let Model {
        id,
        scope: owner,
        connector,
        digest: _,
        destinations,
        record_version,
        mac,
        create_time,
    } = row;
    Ok(DestinationRecord {
        id,
        scope: scope(&owner)?,
        connector,
        destinations: Destinations::from_json(&destinations)
            .ok_or(Error::Impossible("destination list"))?,
        record_version: from_db(record_version)?,
        mac,
        create_time: Micros(create_time),
    })
}
