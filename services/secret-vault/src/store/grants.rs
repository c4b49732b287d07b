//! Grants. Tokens stand here as keyed digests only.

use std::time::Duration;

use names::ScopeName;
use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::Expr;
use sea_orm::{
    ColumnTrait as _, ConnectionTrait, EntityTrait as _, ExprTrait as _, QueryFilter as _,
    QuerySelect as _,
};
use uuid::Uuid;

use super::entity::releases::grant::{ActiveModel, Column, Entity, Model};
use super::{Error, scope};
use crate::domain::{GrantRecord, Holder, Micros, VersionRef};

/// Stores a new grant for one use.
pub(crate) async fn insert(
    connection: &impl ConnectionTrait,
    record: &GrantRecord,
) -> Result<(), Error> {
    let model = ActiveModel {
        id: Set(record.id),
        token_mac: Set(record.token_mac.clone()),
        scope: Set(record.scope.to_string()),
        connector: Set(record.connector),
        destination: Set(record.destination.clone()),
        subject: Set(record.holder.subject.clone()),
        instance_id: Set(record.holder.instance_id.clone()),
        lease_epoch: Set(record.holder.lease_epoch),
        secrets: Set(write_secrets(&record.secrets)),
        uses: Set(0),
        max_uses: Set(1),
        create_time: Set(record.create_time.0),
        expire_time: Set(record.expire_time.0),
        mac: Set(record.mac.clone()),
    };
    Entity::insert(model)
        .exec_without_returning(connection)
        .await?;
    Ok(())
}

/// How far the clocks of two replicas may be apart: a grant made by one must be good at the other at once.
const SKEW: Duration = Duration::from_secs(5);

/// A grant that was spent just now.
#[derive(Debug)]
pub(crate) enum Spent {
    /// Its row; whether it is genuine its MAC says.
    Grant(Box<GrantRecord>),
    /// The grant with this id holds what no version of this program writes.
    Impossible(Uuid),
}

/// Spends the grant with one of these token digests if it is this holder's, unspent and in time. One
/// statement, so that of any number of concurrent redemptions one succeeds. A row that makes no sense is
/// spent all the same.
pub(crate) async fn consume(
    connection: &impl ConnectionTrait,
    token_macs: &[Vec<u8>],
    holder: &Holder,
    now: Micros,
) -> Result<Option<Spent>, Error> {
    let Holder {
        subject,
        instance_id,
        lease_epoch,
    } = holder;
    let rows = Entity::update_many()
        .col_expr(Column::Uses, Expr::col(Column::Uses).add(1))
        .filter(Column::TokenMac.is_in(token_macs.iter().map(Vec::as_slice)))
        .filter(Column::Subject.eq(subject.as_str()))
        .filter(Column::InstanceId.eq(instance_id.as_str()))
        .filter(Column::LeaseEpoch.eq(*lease_epoch))
        .filter(Expr::col(Column::Uses).lt(Expr::col(Column::MaxUses)))
        .filter(Column::ExpireTime.gt(now.0))
        .filter(Column::CreateTime.lte(now.after(SKEW).0))
        .exec_with_returning(connection)
        .await?;
    Ok(rows.into_iter().next().map(|row| {
        let id = row.id;
        record(row).map_or(Spent::Impossible(id), |grant| Spent::Grant(Box::new(grant)))
    }))
}

/// The versions named by the grants with these token digests, spent or not; for reading ahead only.
pub(crate) async fn named(
    connection: &impl ConnectionTrait,
    token_macs: &[Vec<u8>],
) -> Result<Vec<VersionRef>, Error> {
    let rows = Entity::find()
        .select_only()
        .column(Column::Secrets)
        .filter(Column::TokenMac.is_in(token_macs.iter().map(Vec::as_slice)))
        .into_tuple::<String>()
        .all(connection)
        .await?;
    Ok(rows
        .iter()
        .filter_map(|text| read_secrets(text))
        .flatten()
        .collect())
}

/// Makes every unspent grant of a connector unusable; says how many there were.
pub(crate) async fn revoke(
    connection: &impl ConnectionTrait,
    owner: &ScopeName,
    connector: Uuid,
    now: Micros,
) -> Result<u64, Error> {
    let updated = Entity::update_many()
        .col_expr(Column::Uses, Expr::col(Column::MaxUses))
        .filter(Column::Scope.eq(owner.to_string()))
        .filter(Column::Connector.eq(connector))
        .filter(Expr::col(Column::Uses).lt(Expr::col(Column::MaxUses)))
        .filter(Column::ExpireTime.gt(now.0))
        .exec(connection)
        .await?;
    Ok(updated.rows_affected)
}

/// Forgets grants that expired before `before`.
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

/// `<secret>/<version>` separated by spaces, in the order the registry named them.
fn write_secrets(secrets: &[VersionRef]) -> String {
    let words: Vec<String> = secrets
        .iter()
        .map(|secret| format!("{}/{}", secret.secret, secret.version))
        .collect();
    words.join(" ")
}

fn read_secrets(text: &str) -> Option<Vec<VersionRef>> {
    text.split(' ')
        .map(|word| {
            let (secret, version) = word.split_once('/')?;
            Some(VersionRef {
                secret: secret.parse().ok()?,
                version: version.parse().ok()?,
            })
        })
        .collect()
}

fn record(row: Model) -> Result<GrantRecord, Error> {
    let Model {
        id,
        token_mac,
        scope: owner,
        connector,
        destination,
        subject,
        instance_id,
        lease_epoch,
        secrets,
        uses: _,
        max_uses: _,
        create_time,
        expire_time,
        mac,
    } = row;
    Ok(GrantRecord {
        id,
        token_mac,
        scope: scope(&owner)?,
        connector,
        destination,
        holder: Holder {
            subject,
            instance_id,
            lease_epoch,
        },
        secrets: read_secrets(&secrets).ok_or(Error::Impossible("grant"))?,
        create_time: Micros(create_time),
        expire_time: Micros(expire_time),
        mac,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_secrets_is_read_back() {
        let secrets = [(1_u128, 1), (2, u64::MAX)].map(|(id, version)| VersionRef {
            secret: Uuid::from_u128(id),
            version,
        });
        assert_eq!(read_secrets(&write_secrets(&secrets)).unwrap(), secrets);
        assert_eq!(read_secrets("x/1"), None);
        assert_eq!(read_secrets(""), None);
    }
}
