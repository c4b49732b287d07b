//! Applies, undoes and lists migrations, for both databases.
//!
//! Every change runs in one transaction, so a failure leaves the schema as it was, and under one lock, so
//! that replicas which start together apply each migration once: `BEGIN IMMEDIATE` on SQLite, an
//! advisory lock held to the end of the transaction on PostgreSQL.

use std::collections::BTreeSet;

use sea_orm::{
    ConnectionTrait as _, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr,
    SqliteTransactionMode, Statement, TransactionOptions, TransactionTrait as _,
};
use sea_orm_migration::MigratorTrait;

use crate::migrator::{names, tracking_table};

/// Why a schema could not be changed or read. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database holds migrations that this build does not know, so this build may not change it.
    #[error(
        "the database holds migrations that this build does not know ({}); use the release that made them",
        .0.join(", ")
    )]
    Unknown(Vec<String>),
    /// A migration failed, or the database could not be reached.
    #[error("the database refused: {0}")]
    Database(#[from] DbErr),
}

/// Whether the database holds a migration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It is in the database.
    Applied,
    /// This build knows it, the database does not hold it.
    Pending,
    /// The database holds it, this build does not know it.
    Unknown,
}

/// What a run did, by migration name in the order in which it was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The migrations that were applied, or undone.
    pub migrations: Vec<String>,
}

/// Applies every pending migration. Safe to run from several processes at once.
///
/// # Errors
/// [`Error::Unknown`] if something is pending and the database also holds migrations of a newer release.
pub async fn up<M: MigratorTrait>(connection: &DatabaseConnection) -> Result<Change, Error> {
    let transaction = begin::<M>(connection).await?;
    let states = read::<M>(&transaction).await?;
    let pending = by_state(&states, State::Pending);
    if !pending.is_empty() {
        refuse_unknown(&states)?;
        M::up(&transaction, None).await?;
    }
    transaction.commit().await?;
    Ok(Change {
        migrations: pending,
    })
}

/// Undoes the last `steps` applied migrations, newest first. Data that only they can hold is lost.
///
/// # Errors
/// [`Error::Unknown`] if the database holds migrations of a newer release.
pub async fn down<M: MigratorTrait>(
    connection: &DatabaseConnection,
    steps: u32,
) -> Result<Change, Error> {
    let transaction = begin::<M>(connection).await?;
    let states = read::<M>(&transaction).await?;
    refuse_unknown(&states)?;
    let mut applied = by_state(&states, State::Applied);
    applied.reverse();
    applied.truncate(usize::try_from(steps).unwrap_or(usize::MAX));
    if !applied.is_empty() {
        M::down(&transaction, Some(steps)).await?;
    }
    transaction.commit().await?;
    Ok(Change {
        migrations: applied,
    })
}

/// Every migration that this build or the database knows, in order. Changes nothing.
///
/// # Errors
/// [`Error::Database`] if the database cannot be read.
pub async fn status<M: MigratorTrait>(
    connection: &DatabaseConnection,
) -> Result<Vec<(String, State)>, Error> {
    let transaction = connection.begin().await?;
    let states = read::<M>(&transaction).await?;
    transaction.rollback().await?;
    Ok(states)
}

/// Opens the one transaction of a change and takes the lock that keeps other changes of this schema out.
async fn begin<M: MigratorTrait>(
    connection: &DatabaseConnection,
) -> Result<DatabaseTransaction, Error> {
    let options = TransactionOptions {
        sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
        ..TransactionOptions::default()
    };
    let transaction = connection.begin_with_options(options).await?;
    if transaction.get_database_backend() == DbBackend::Postgres {
        // Building an index may take longer than any query of the service is allowed to.
        transaction
            .execute_unprepared("SET LOCAL statement_timeout = 0")
            .await?;
        let lock = Statement::from_sql_and_values(
            DbBackend::Postgres,
            "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))",
            [tracking_table::<M>().into()],
        );
        transaction.execute_raw(lock).await?;
    }
    Ok(transaction)
}

/// Compares what this build knows with what the database holds.
async fn read<M: MigratorTrait>(
    transaction: &DatabaseTransaction,
) -> Result<Vec<(String, State)>, Error> {
    let known: BTreeSet<String> = names::<M>().into_iter().collect();
    let held: BTreeSet<String> = held::<M>(transaction).await?;
    let state = |name: &String| match (known.contains(name), held.contains(name)) {
        (true, true) => State::Applied,
        (true, false) => State::Pending,
        (false, _) => State::Unknown,
    };
    Ok(known
        .union(&held)
        .map(|name| (name.clone(), state(name)))
        .collect())
}

/// The names in the tracking table; none if the table does not exist yet.
async fn held<M: MigratorTrait>(
    transaction: &DatabaseTransaction,
) -> Result<BTreeSet<String>, Error> {
    let table = tracking_table::<M>();
    let backend = transaction.get_database_backend();
    let probe = match backend {
        DbBackend::Postgres => "SELECT 1 WHERE to_regclass($1) IS NOT NULL",
        _ => "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = $1",
    };
    let probe = Statement::from_sql_and_values(backend, probe, [table.as_str().into()]);
    if transaction.query_one_raw(probe).await?.is_none() {
        return Ok(BTreeSet::new());
    }
    let rows = Statement::from_string(backend, format!("SELECT version FROM {table}"));
    let rows = transaction.query_all_raw(rows).await?;
    rows.into_iter()
        .map(|row| Ok(row.try_get("", "version")?))
        .collect()
}

fn by_state(states: &[(String, State)], wanted: State) -> Vec<String> {
    states
        .iter()
        .filter(|(_, state)| *state == wanted)
        .map(|(name, _)| name.clone())
        .collect()
}

fn refuse_unknown(states: &[(String, State)]) -> Result<(), Error> {
    let unknown = by_state(states, State::Unknown);
    if unknown.is_empty() {
        Ok(())
    } else {
        Err(Error::Unknown(unknown))
    }
}
