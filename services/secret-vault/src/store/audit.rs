//! The audit chains: rows are only ever appended, each by moving the head of its chain.

use names::ScopeName;
use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::{Expr, OnConflict};
use sea_orm::{
    ColumnTrait as _, ConnectionTrait, EntityTrait as _, QueryFilter as _, QuerySelect as _,
    TryInsertResult,
};

use super::entity::releases::{audit_event, audit_head};
use super::{Error, from_db, to_db};
use crate::domain::AuditEvent;

/// Rows in one statement: both databases limit the number of bound values.
const ROWS: usize = 500;

/// The end of a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    /// Number of the last row; 0 when there is none.
    pub(crate) seq: u64,
    /// MAC of the last row; empty when there is none.
    pub(crate) mac: Vec<u8>,
}

/// One linked row.
#[derive(Debug, Clone)]
pub(crate) struct Link {
    pub(crate) event: AuditEvent,
    pub(crate) seq: u64,
    pub(crate) prev: Vec<u8>,
    pub(crate) mac: Vec<u8>,
}

/// The end of the chain of `scope`, locked until the transaction ends; starts the chain if need be.
pub(crate) async fn lock_head(
    connection: &impl ConnectionTrait,
    scope: &ScopeName,
) -> Result<Head, Error> {
    let find = || audit_head::Entity::find_by_id(scope.to_string()).lock_exclusive();
    if let Some(row) = find().one(connection).await? {
        return Ok(Head {
            seq: from_db(row.seq)?,
            mac: row.mac,
        });
    }
    let start = audit_head::ActiveModel {
        scope: Set(scope.to_string()),
        seq: Set(0),
        mac: Set(Vec::new()),
    };
    let inserted = audit_head::Entity::insert(start)
        .on_conflict(
            OnConflict::column(audit_head::Column::Scope)
                .do_nothing()
                .to_owned(),
        )
        .try_insert()
        .exec_without_returning(connection)
        .await?;
    match inserted {
        TryInsertResult::Inserted(_) | TryInsertResult::Conflicted | TryInsertResult::Empty => {}
    }
    let row = find()
        .one(connection)
        .await?
        .ok_or(Error::Impossible("missing chain"))?;
    Ok(Head {
        seq: from_db(row.seq)?,
        mac: row.mac,
    })
}

/// Appends rows and moves the head from `from` to the last of them; false when somebody else moved it.
pub(crate) async fn append(
    connection: &impl ConnectionTrait,
    scope: &ScopeName,
    from: &Head,
    links: &[Link],
) -> Result<bool, Error> {
    let Some(last) = links.last() else {
        return Ok(true);
    };
    let moved = audit_head::Entity::update_many()
        .col_expr(audit_head::Column::Seq, Expr::value(to_db(last.seq)))
        .col_expr(audit_head::Column::Mac, Expr::value(last.mac.clone()))
        .filter(audit_head::Column::Scope.eq(scope.to_string()))
        .filter(audit_head::Column::Seq.eq(to_db(from.seq)))
        .exec(connection)
        .await?;
    if moved.rows_affected != 1 {
        return Ok(false);
    }
    for links in links.chunks(ROWS) {
        audit_event::Entity::insert_many(links.iter().map(model))
            .exec_without_returning(connection)
            .await?;
    }
    Ok(true)
}

fn model(link: &Link) -> audit_event::ActiveModel {
    let AuditEvent {
        scope,
        time,
        actor,
        acting_user,
        method,
        connector,
        secret,
        version,
        grant,
        lease,
        decision,
        reason,
        request_id,
    } = &link.event;
    audit_event::ActiveModel {
        scope: Set(scope.to_string()),
        seq: Set(to_db(link.seq)),
        time: Set(time.0),
        actor: Set(actor.clone()),
        acting_user: Set(acting_user.clone()),
        method: Set(method.as_str().to_owned()),
        connector: Set(*connector),
        secret: Set(*secret),
        version: Set(version.map(to_db)),
        grant_id: Set(*grant),
        lease_id: Set(*lease),
        decision: Set(decision.as_str().to_owned()),
        reason: Set(reason.as_str().to_owned()),
        request_id: Set(request_id.map(|id| id.to_string())),
        prev: Set(link.prev.clone()),
        mac: Set(link.mac.clone()),
    }
}
