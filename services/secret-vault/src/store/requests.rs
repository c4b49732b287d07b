//! Remembered writes: the same request id answers as the first did.

use sea_orm::ActiveValue::Set;
use sea_orm::{ColumnTrait as _, ConnectionTrait, EntityTrait as _, QueryFilter as _};
use uuid::Uuid;

use super::entity::secrets::request::{ActiveModel, Column, Entity, Model};
use super::{Error, from_db, scope, to_db};
use crate::domain::Micros;

/// A write that was answered.
#[derive(Debug, Clone)]
pub(crate) struct Remembered {
    pub(crate) subject: String,
    pub(crate) request_id: Uuid,
    /// Keyed digest of everything in the request.
    pub(crate) body_mac: Vec<u8>,
    pub(crate) scope: names::ScopeName,
    pub(crate) secret: Uuid,
    /// The version that was written; 0 when the write deleted the secret.
    pub(crate) version: u64,
    pub(crate) create_time: Micros,
}

/// The answered write with this id, if it is not older than `since`. An older one is forgotten.
pub(crate) async fn recall(
    connection: &impl ConnectionTrait,
    subject: &str,
    request_id: Uuid,
    since: Micros,
) -> Result<Option<Remembered>, Error> {
    let row = Entity::find_by_id((subject.to_owned(), request_id))
        .one(connection)
        .await?;
    match row {
        None => Ok(None),
        Some(row) if row.create_time < since.0 => {
            Entity::delete_by_id((subject.to_owned(), request_id))
                .exec(connection)
                .await?;
            Ok(None)
        }
        Some(row) => {
            let Model {
                subject,
                request_id,
                body_mac,
                scope: owner,
                secret,
                version,
                create_time,
            } = row;
            Ok(Some(Remembered {
                subject,
                request_id,
                body_mac,
                scope: scope(&owner)?,
                secret,
                version: from_db(version)?,
                create_time: Micros(create_time),
            }))
        }
    }
}

/// Remembers a write; [`database::Error::Unique`] when it was answered at the same time elsewhere.
pub(crate) async fn remember(
    connection: &impl ConnectionTrait,
    request: &Remembered,
) -> Result<(), Error> {
    let model = ActiveModel {
        subject: Set(request.subject.clone()),
        request_id: Set(request.request_id),
        body_mac: Set(request.body_mac.clone()),
        scope: Set(request.scope.to_string()),
        secret: Set(request.secret),
        version: Set(to_db(request.version)),
        create_time: Set(request.create_time.0),
    };
    Entity::insert(model)
        .exec_without_returning(connection)
        .await?;
    Ok(())
}

/// Forgets what was answered before `before`.
pub(crate) async fn forget(
    connection: &impl ConnectionTrait,
    before: Micros,
) -> Result<u64, Error> {
    let deleted = Entity::delete_many()
        .filter(Column::CreateTime.lt(before.0))
        .exec(connection)
        .await?;
    Ok(deleted.rows_affected)
}
