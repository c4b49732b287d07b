//! Sealed versions of secrets.

use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::Expr;
use sea_orm::{
    ColumnTrait as _, Condition, ConnectionTrait, EntityTrait as _, QueryFilter as _,
    QueryOrder as _, QuerySelect as _,
};
use uuid::Uuid;

use super::entity::secrets::secret_version::{ActiveModel, Column, Entity, Model};
use super::{Error, from_db, to_db};
use crate::domain::{Micros, VersionRecord, VersionRef, VersionState};

/// One version.
pub(crate) async fn get(
    connection: &impl ConnectionTrait,
    secret: Uuid,
    version: u64,
) -> Result<Option<VersionRecord>, Error> {
    let row = Entity::find_by_id((secret, to_db(version)))
        .one(connection)
        .await?;
    row.map(record).transpose()
}

/// Several versions, in no order.
pub(crate) async fn of(
    connection: &impl ConnectionTrait,
    versions: &[VersionRef],
) -> Result<Vec<VersionRecord>, Error> {
    let any = versions.iter().fold(Condition::any(), |any, wanted| {
        any.add(
            Condition::all()
                .add(Column::Secret.eq(wanted.secret))
                .add(Column::Version.eq(to_db(wanted.version))),
        )
    });
    let rows = Entity::find().filter(any).all(connection).await?;
    rows.into_iter().map(record).collect()
}

/// Stores a new version.
pub(crate) async fn insert(
    connection: &impl ConnectionTrait,
    record: &VersionRecord,
) -> Result<(), Error> {
    let length_bucket =
        i32::try_from(record.length_bucket).map_err(|_| Error::Impossible("length bucket"))?;
    let model = ActiveModel {
        secret: Set(record.secret),
        version: Set(to_db(record.version)),
        destination: Set(record.destination),
        data_key: Set(record.data_key),
        envelope: Set(record.envelope.clone()),
        state: Set(record.state.as_str().to_owned()),
        length_bucket: Set(length_bucket),
        fingerprint: Set(record.fingerprint.clone()),
        create_time: Set(record.create_time.0),
        destroy_time: Set(record.destroy_time.map(|time| time.0)),
    };
    Entity::insert(model)
        .exec_without_returning(connection)
        .await?;
    Ok(())
}

/// Marks every active version of `secret` below `current` as replaced.
pub(crate) async fn supersede(
    connection: &impl ConnectionTrait,
    secret: Uuid,
    current: u64,
) -> Result<(), Error> {
    Entity::update_many()
        .col_expr(
            Column::State,
            Expr::value(VersionState::Superseded.as_str()),
        )
        .filter(Column::Secret.eq(secret))
        .filter(Column::Version.lt(to_db(current)))
        .filter(Column::State.eq(VersionState::Active.as_str()))
        .exec(connection)
        .await?;
    Ok(())
}

/// The newest version of `secret` that is one too many when `kept` are kept undestroyed.
pub(crate) async fn newest_beyond(
    connection: &impl ConnectionTrait,
    secret: Uuid,
    kept: u64,
) -> Result<Option<u64>, Error> {
    let row = Entity::find()
        .select_only()
        .column(Column::Version)
        .filter(Column::Secret.eq(secret))
        .filter(Column::State.ne(VersionState::Destroyed.as_str()))
        .order_by_desc(Column::Version)
        .offset(kept)
        .limit(1)
        .into_tuple::<i64>()
        .one(connection)
        .await?;
    row.map(from_db).transpose()
}

/// Overwrites the envelopes of the versions of `secret` up to and including `last` with nothing.
pub(crate) async fn destroy_through(
    connection: &impl ConnectionTrait,
    secret: Uuid,
    last: u64,
    now: Micros,
) -> Result<(), Error> {
    let upto = Condition::all()
        .add(Column::Secret.eq(secret))
        .add(Column::Version.lte(to_db(last)));
    destroy(connection, upto, now).await
}

/// Overwrites the envelope of one version with nothing.
pub(crate) async fn destroy_one(
    connection: &impl ConnectionTrait,
    secret: Uuid,
    version: u64,
    now: Micros,
) -> Result<(), Error> {
    let one = Condition::all()
        .add(Column::Secret.eq(secret))
        .add(Column::Version.eq(to_db(version)));
    destroy(connection, one, now).await
}

async fn destroy(
    connection: &impl ConnectionTrait,
    which: Condition,
    now: Micros,
) -> Result<(), Error> {
    Entity::update_many()
        .col_expr(Column::Envelope, Expr::value(None::<Vec<u8>>))
        .col_expr(Column::DataKey, Expr::value(None::<Uuid>))
        .col_expr(Column::Destination, Expr::value(None::<Uuid>))
        .col_expr(Column::State, Expr::value(VersionState::Destroyed.as_str()))
        .col_expr(Column::DestroyTime, Expr::value(now.0))
        .filter(which)
        .filter(Column::State.ne(VersionState::Destroyed.as_str()))
        .exec(connection)
        .await?;
    Ok(())
}

fn record(row: Model) -> Result<VersionRecord, Error> {
    let Model {
        secret,
        version,
        destination,
        data_key,
        envelope,
        state,
        length_bucket,
        fingerprint,
        create_time,
        destroy_time,
    } = row;
    let state = [
        VersionState::Active,
        VersionState::Superseded,
        VersionState::Destroyed,
    ]
    .into_iter()
    .find(|known| known.as_str() == state);
    Ok(VersionRecord {
        secret,
        version: from_db(version)?,
        destination,
        data_key,
        envelope,
        state: state.ok_or(Error::Impossible("version state"))?,
        length_bucket: u32::try_from(length_bucket)
            .map_err(|_| Error::Impossible("length bucket"))?,
        fingerprint,
        create_time: Micros(create_time),
        destroy_time: destroy_time.map(Micros),
    })
}
