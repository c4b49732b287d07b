//! Leases. Tokens stand here as keyed digests only.

use names::ScopeName;
use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::Expr;
use sea_orm::{
    ColumnTrait as _, ConnectionTrait, EntityTrait as _, QueryFilter as _, QuerySelect as _,
};
use uuid::Uuid;

use super::entity::releases::lease::{ActiveModel, Column, Entity, Model};
use super::{Error, scope};
use crate::domain::{Holder, LeaseRecord, LeaseState, Micros};

/// Stores a new lease.
pub(crate) async fn insert(
    connection: &impl ConnectionTrait,
    record: &LeaseRecord,
) -> Result<(), Error> {
    let model = ActiveModel {
        id: Set(record.id),
        token_mac: Set(record.token_mac.clone()),
        grant_id: Set(record.grant),
        scope: Set(record.scope.to_string()),
        connector: Set(record.connector),
        subject: Set(record.holder.subject.clone()),
        instance_id: Set(record.holder.instance_id.clone()),
        lease_epoch: Set(record.holder.lease_epoch),
        state: Set(record.state.as_str().to_owned()),
        create_time: Set(record.create_time.0),
        expire_time: Set(record.expire_time.0),
        mac: Set(record.mac.clone()),
    };
    Entity::insert(model)
        .exec_without_returning(connection)
        .await?;
    Ok(())
}

/// The lease with one of these token digests, locked until the transaction ends.
pub(crate) async fn lock(
    connection: &impl ConnectionTrait,
    token_macs: &[Vec<u8>],
) -> Result<Option<LeaseRecord>, Error> {
    let row = Entity::find()
        .filter(Column::TokenMac.is_in(token_macs.iter().map(Vec::as_slice)))
        .lock_exclusive()
        .one(connection)
        .await?;
    row.map(record).transpose()
}

/// The active leases of a connector, locked until the transaction ends.
pub(crate) async fn lock_active(
    connection: &impl ConnectionTrait,
    owner: &ScopeName,
    connector: Uuid,
    now: Micros,
) -> Result<Vec<LeaseRecord>, Error> {
    let rows = Entity::find()
        .filter(Column::Scope.eq(owner.to_string()))
        .filter(Column::Connector.eq(connector))
        .filter(Column::State.eq(LeaseState::Active.as_str()))
        .filter(Column::ExpireTime.gt(now.0))
        .lock_exclusive()
        .all(connection)
        .await?;
    rows.into_iter().map(record).collect()
}

/// Writes state, expiry and MAC of a lease that is locked.
pub(crate) async fn update(
    connection: &impl ConnectionTrait,
    record: &LeaseRecord,
) -> Result<(), Error> {
    Entity::update_many()
        .col_expr(Column::State, Expr::value(record.state.as_str()))
        .col_expr(Column::ExpireTime, Expr::value(record.expire_time.0))
        .col_expr(Column::Mac, Expr::value(record.mac.clone()))
        .filter(Column::Id.eq(record.id))
        .exec(connection)
        .await?;
    Ok(())
}

/// Forgets leases that expired before `before`.
pub(crate) async fn forget(
    connection: &impl ConnectionTrait,
    before: Micros,
) -> Result<u64, Error> {
    let deleted = Entity::delete_many()
        .filter(Column::ExpireTime.lt(before.0))
        .exec(connection)
        .await?;
    Ok(deleted.rows_affected)
}

fn record(row: Model) -> Result<LeaseRecord, Error> {
    let Model {
        id,
        token_mac,
        grant_id,
        scope: owner,
        connector,
        subject,
        instance_id,
        lease_epoch,
        state,
        create_time,
        expire_time,
        mac,
    } = row;
    let state = [
        LeaseState::Active,
        LeaseState::Released,
        LeaseState::Revoked,
    ]
    .into_iter()
    .find(|known| known.as_str() == state);
    Ok(LeaseRecord {
        id,
        token_mac,
        grant: grant_id,
        scope: scope(&owner)?,
        connector,
        holder: Holder {
            subject,
            instance_id,
            lease_epoch,
        },
        state: state.ok_or(Error::Impossible("lease state"))?,
        create_time: Micros(create_time),
        expire_time: Micros(expire_time),
        mac,
    })
}
