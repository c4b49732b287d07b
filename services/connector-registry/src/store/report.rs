//! Taking the runtime's reports: the lease, the statuses, the tools, in one transaction.
//!
//! Invariants: nothing of a report is written unless its sender holds the sessions at that moment; a report about
//! another generation than the current one changes nothing.

use std::{collections::BTreeSet, time::Duration};

use database::retry;
use names::ConnectorUid;
use sea_orm::{
    ActiveModelTrait as _,
    ActiveValue::Set,
    ColumnTrait as _, ConnectionTrait, EntityTrait as _, QueryFilter as _, QueryOrder as _,
    QuerySelect as _,
    sea_query::{Expr, OnConflict},
};
use uuid::Uuid;

use super::{
    Error, Store, advance,
    entity::{connector, definition, lease, tool},
    queries::live,
    row,
};
use crate::domain::{
    definition::DefinitionHash,
    lease::{Lease, after_report},
    state::State,
    status::Detail,
    timestamp::Timestamp,
};

/// The lease's only row.
const LEASE: i16 = 1;
/// Rows per INSERT: SQLite binds at most 32,766 values.
const BATCH: usize = 1_000;
/// A definition counts as used for this long before the note of it is renewed; well below the time after which unused
/// ones are removed, since every renewal writes the whole row.
const REFRESH: Duration = Duration::from_secs(30 * 60);

/// Who reports.
#[derive(Debug, Clone, Copy)]
pub struct Reporter<'a> {
    /// The instance's configured name.
    pub name: &'a str,
    /// The instance.
    pub id: Uuid,
    /// The epoch it believes to have; 0 asks for one.
    pub epoch: i64,
}

/// What was observed of one connector.
#[derive(Debug, Clone)]
pub struct Observed {
    /// The connector.
    pub uid: ConnectorUid,
    /// The generation this was observed at.
    pub generation: i64,
    /// The state of its session.
    pub state: State,
    /// The rest.
    pub detail: Detail,
    /// Its tools, when they were synchronised.
    pub tools: Option<Vec<ObservedTool>>,
}

/// A tool that was observed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObservedTool {
    /// Its own name.
    pub name: String,
    /// Its definition.
    pub hash: DefinitionHash,
}

/// What a report came to.
#[derive(Debug)]
pub struct Reported {
    /// The sender's lease from now on.
    pub lease: Lease,
    /// Definitions that are not stored.
    pub missing: BTreeSet<DefinitionHash>,
    /// Connectors that are gone or of another generation.
    pub ignored: Vec<ConnectorUid>,
}

impl Store {
    /// Takes a report.
    ///
    /// # Errors
    /// [`Error::Lease`] when the sender does not hold the sessions, and those of the database.
    pub async fn report(
        &self,
        reporter: Reporter<'_>,
        mut observed: Vec<Observed>,
        now: Timestamp,
        presence: Duration,
    ) -> Result<Reported, Error> {
        // One order for all reports, so that two never wait for each other.
        observed.sort_by_key(|one| one.uid);
        retry(|| self.try_report(reporter, &observed, now, presence)).await
    }

    async fn try_report(
        &self,
        reporter: Reporter<'_>,
        observed: &[Observed],
        now: Timestamp,
        presence: Duration,
    ) -> Result<Reported, Error> {
        let transaction = self.database.begin_write().await?;
        let lease = renew(&*transaction, reporter, now, presence).await?;
        let mut reported = Reported {
            lease,
            missing: BTreeSet::new(),
            ignored: Vec::new(),
        };
        let mut changed = Vec::new();
        for one in observed {
            match take(&*transaction, one, now, &mut reported.missing).await? {
                Taken::Changed(row) => changed.push(*row),
                Taken::Same => {}
                Taken::Ignored(uid) => reported.ignored.push(uid),
            }
        }
        let revision = write(&*transaction, changed).await?;
        transaction.commit().await?;
        self.announce(revision);
        Ok(reported)
    }

    /// Whether this runtime holds the sessions now.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn holds_sessions(
        &self,
        reporter: Reporter<'_>,
        now: Timestamp,
    ) -> Result<bool, Error> {
        let row = lease::Entity::find_by_id(LEASE)
            .one(self.database.connection())
            .await?;
        Ok(row.is_some_and(|row| row::lease(row).is_held_by(reporter.name, reporter.epoch, now)))
    }
}

async fn renew(
    transaction: &impl ConnectionTrait,
    reporter: Reporter<'_>,
    now: Timestamp,
    presence: Duration,
) -> Result<Lease, Error> {
    // The row is made first, so that there is one to lock.
    let first = lease::ActiveModel {
        id: Set(LEASE),
        instance: Set(String::new()),
        instance_id: Set(String::new()),
        epoch: Set(0),
        expire_time: Set(0),
    };
    lease::Entity::insert(first)
        .on_conflict(
            OnConflict::column(lease::Column::Id)
                .do_nothing()
                .to_owned(),
        )
        .exec_without_returning(transaction)
        .await?;
    let row = lease::Entity::find_by_id(LEASE)
        .lock_exclusive()
        .one(transaction)
        .await?;
    let current = row.filter(|row| row.epoch > 0).map(row::lease);
    let lease = after_report(
        current.as_ref(),
        reporter.name,
        reporter.epoch,
        now,
        presence,
    )?;
    let row = lease::ActiveModel {
        id: Set(LEASE),
        instance: Set(lease.instance.clone()),
        instance_id: Set(reporter.id.to_string()),
        epoch: Set(lease.epoch),
        expire_time: Set(lease.expires.micros()),
    };
    row.update(transaction).await?;
    Ok(lease)
}

enum Taken {
    Changed(Box<connector::ActiveModel>),
    Same,
    Ignored(ConnectorUid),
}

async fn take(
    transaction: &impl ConnectionTrait,
    observed: &Observed,
    now: Timestamp,
    missing: &mut BTreeSet<DefinitionHash>,
) -> Result<Taken, Error> {
    let Observed {
        uid,
        generation,
        state,
        detail,
        tools,
    } = observed;
    let (uid, generation) = (*uid, *generation);
    let query = live()
        .filter(connector::Column::Uid.eq(uid.as_uuid()))
        .lock_exclusive();
    let current = match query.one(transaction).await? {
        Some(current) if current.generation == generation => current,
        Some(_) | None => return Ok(Taken::Ignored(uid)),
    };
    let tool_count = match tools {
        Some(tools) => {
            missing.extend(missing_definitions(transaction, tools, now).await?);
            replace_tools(transaction, uid, tools).await?;
            i32::try_from(tools.len()).unwrap_or(i32::MAX)
        }
        None => current.tool_count,
    };
    let status = serde_json::to_string(detail).map_err(Error::Json)?;
    let same = current.state == state.as_str()
        && current.status == status
        && current.observed_generation == generation
        && current.tool_count == tool_count;
    if same {
        return Ok(Taken::Same);
    }
    let changed = connector::ActiveModel {
        uid: Set(uid.as_uuid()),
        state: Set(state.as_str().to_owned()),
        status: Set(status),
        observed_generation: Set(generation),
        tool_count: Set(tool_count),
        status_revision: Set(current.status_revision + 1),
        ..Default::default()
    };
    Ok(Taken::Changed(Box::new(changed)))
}

/// Gives every changed row its own revision; the feed's lock is taken last.
async fn write(
    transaction: &impl ConnectionTrait,
    changed: Vec<connector::ActiveModel>,
) -> Result<i64, Error> {
    let count = i64::try_from(changed.len()).unwrap_or(i64::MAX);
    if count == 0 {
        return Ok(0);
    }
    let last = advance(transaction, count).await?;
    for (row, revision) in changed.into_iter().zip(last - count + 1..) {
        connector::ActiveModel {
            revision: Set(revision),
            ..row
        }
        .update(transaction)
        .await?;
    }
    Ok(last)
}

/// The hashes that are not stored; those that are count as used, so that the sweeper leaves them alone.
async fn missing_definitions(
    transaction: &impl ConnectionTrait,
    tools: &[ObservedTool],
    now: Timestamp,
) -> Result<BTreeSet<DefinitionHash>, Error> {
    let mut missing: BTreeSet<DefinitionHash> =
        tools.iter().map(|tool| tool.hash.clone()).collect();
    let wanted: Vec<String> = missing
        .iter()
        .map(|hash| hash.as_str().to_owned())
        .collect();
    for hashes in wanted.chunks(BATCH) {
        // Before the look: what the sweeper has just removed is then missing, and what is found stays.
        definition::Entity::update_many()
            .col_expr(definition::Column::UsedTime, Expr::value(now.micros()))
            .filter(definition::Column::Hash.is_in(hashes))
            .filter(definition::Column::UsedTime.lt(now.before(REFRESH).micros()))
            .exec(transaction)
            .await?;
        let stored: Vec<String> = definition::Entity::find()
            .select_only()
            .column(definition::Column::Hash)
            .filter(definition::Column::Hash.is_in(hashes))
            .into_tuple()
            .all(transaction)
            .await?;
        missing.retain(|hash| !stored.iter().any(|known| known == hash.as_str()));
    }
    Ok(missing)
}

/// Writes a connector's tools, unless they are what is written already.
async fn replace_tools(
    transaction: &impl ConnectionTrait,
    uid: ConnectorUid,
    tools: &[ObservedTool],
) -> Result<(), Error> {
    let own = tool::Column::ConnectorUid.eq(uid.as_uuid());
    let written = tool::Entity::find()
        .filter(own.clone())
        .order_by_asc(tool::Column::Position)
        .all(transaction)
        .await?;
    let same = |(row, tool): (&tool::Model, &ObservedTool)| {
        row.name == tool.name && row.definition_hash == tool.hash.as_str()
    };
    if written.len() == tools.len() && written.iter().zip(tools).all(same) {
        return Ok(());
    }
    tool::Entity::delete_many()
        .filter(own)
        .exec(transaction)
        .await?;
    let rows: Vec<tool::ActiveModel> = (0..)
        .zip(tools)
        .map(|(position, tool)| tool::ActiveModel {
            connector_uid: Set(uid.as_uuid()),
            name: Set(tool.name.clone()),
            position: Set(position),
            definition_hash: Set(tool.hash.as_str().to_owned()),
        })
        .collect();
    for batch in rows.chunks(BATCH) {
        tool::Entity::insert_many(batch.to_vec())
            .exec_without_returning(transaction)
            .await?;
    }
    Ok(())
}
