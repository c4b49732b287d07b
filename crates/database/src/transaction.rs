//! Transactions: one kind that writes, one that reads a consistent picture, and savepoints inside them.
//!
//! Dropping a transaction rolls it back, also when the future that holds it is cancelled. A future that is
//! cancelled while it begins one leaves nothing behind either: see [`Database::begin`].

use std::ops::Deref;

use sea_orm::{
    AccessMode, DatabaseTransaction, IsolationLevel, SqliteTransactionMode, TransactionOptions,
    TransactionTrait as _,
};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::connect::WAIT;
use crate::{Database, Engine, Error};

/// A transaction that may write. Use it as a connection by `&*transaction`.
#[derive(Debug)]
#[must_use = "a transaction that is dropped is rolled back"]
pub struct WriteTransaction {
    transaction: DatabaseTransaction,
    // After the transaction: the next writer starts when this one has let go.
    _turn: Option<OwnedSemaphorePermit>,
}

/// A transaction that sees one state of the database from its first read to its end, and cannot write on
/// PostgreSQL. Use it as a connection by `&*transaction`.
#[derive(Debug)]
pub struct ReadTransaction(DatabaseTransaction);

/// A part of a [`WriteTransaction`] that can be undone alone. Use it as a connection by `&*savepoint`;
/// while it lives, use nothing else of the transaction.
#[derive(Debug)]
#[must_use = "a savepoint that is dropped is undone"]
pub struct Savepoint(DatabaseTransaction);

impl Database {
    /// Starts a transaction that may write: `BEGIN IMMEDIATE` on SQLite, where it waits at most 5 s for
    /// its turn; READ COMMITTED on PostgreSQL. Cancel safe.
    ///
    /// # Errors
    /// [`Error::Busy`] if other writers did not finish in time.
    pub async fn begin_write(&self) -> Result<WriteTransaction, Error> {
        let turn = match &self.writer {
            Some(writer) => {
                let turn = tokio::time::timeout(WAIT, writer.clone().acquire_owned());
                Some(
                    turn.await
                        .map_err(Error::busy)?
                        .map_err(Error::unavailable)?,
                )
            }
            None => None,
        };
        let options = TransactionOptions {
            sqlite_transaction_mode: match self.engine() {
                Engine::Sqlite => Some(SqliteTransactionMode::Immediate),
                Engine::Postgres => None,
            },
            ..TransactionOptions::default()
        };
        let begun = self.begin(options, turn).await?;
        Ok(WriteTransaction {
            transaction: begun.transaction,
            _turn: begun.turn,
        })
    }

    /// Starts a transaction that reads one consistent state: REPEATABLE READ, READ ONLY on PostgreSQL, a
    /// snapshot on SQLite. Never waits for writers. Cancel safe.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if no connection is free within 5 s.
    pub async fn begin_read(&self) -> Result<ReadTransaction, Error> {
        let options = match self.engine() {
            Engine::Sqlite => TransactionOptions {
                sqlite_transaction_mode: Some(SqliteTransactionMode::Deferred),
                ..TransactionOptions::default()
            },
            Engine::Postgres => TransactionOptions {
                isolation_level: Some(IsolationLevel::RepeatableRead),
                access_mode: Some(AccessMode::ReadOnly),
                ..TransactionOptions::default()
            },
        };
        Ok(ReadTransaction(
            self.begin(options, None).await?.transaction,
        ))
    }

    /// Begins in a task of its own, which goes on when the caller is cancelled. sqlx forgets a BEGIN that
    /// is dropped on its way: the pool would hand out a connection with a transaction open that nobody
    /// commits, and the next statement on it would be lost. A transaction that has begun and whose caller
    /// is gone is dropped whole, and so rolled back.
    async fn begin(
        &self,
        options: TransactionOptions,
        turn: Option<OwnedSemaphorePermit>,
    ) -> Result<Begun, Error> {
        let connection = self.connection.clone();
        let (give, taken) = oneshot::channel();
        self.beginning.spawn_job("begin", async move {
            let begun = connection.begin_with_options(options).await;
            let begun = begun.map(|transaction| Begun { transaction, turn });
            let _caller_gone = give.send(begun);
        });
        Ok(taken.await.map_err(Error::unavailable)??)
    }
}

/// A transaction that has begun, and on SQLite the writer's turn, in the order in which they must go.
struct Begun {
    transaction: DatabaseTransaction,
    turn: Option<OwnedSemaphorePermit>,
}

impl WriteTransaction {
    /// Makes everything durable.
    ///
    /// # Errors
    /// After [`Error::Unavailable`] it is not known whether the transaction took effect.
    pub async fn commit(self) -> Result<(), Error> {
        Ok(self.transaction.commit().await?)
    }

    /// Undoes everything. The same as dropping, but has happened when it returns.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if the connection broke; the database then undoes it by itself.
    pub async fn rollback(self) -> Result<(), Error> {
        Ok(self.transaction.rollback().await?)
    }

    /// Marks a point to which the transaction can return. On PostgreSQL a statement that fails makes the
    /// whole transaction unusable unless it ran inside a savepoint.
    ///
    /// Not cancel safe: whoever drops this future must drop the transaction, too.
    ///
    /// # Errors
    /// Those of any statement.
    pub async fn savepoint(&self) -> Result<Savepoint, Error> {
        Ok(Savepoint(self.transaction.begin().await?))
    }
}

impl ReadTransaction {
    /// Ends the transaction. The same as dropping, but has happened when it returns.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if the connection broke.
    pub async fn end(self) -> Result<(), Error> {
        Ok(self.0.rollback().await?)
    }
}

impl Savepoint {
    /// Keeps what was done since, as part of the transaction.
    ///
    /// # Errors
    /// Those of any statement.
    pub async fn release(self) -> Result<(), Error> {
        Ok(self.0.commit().await?)
    }

    /// Undoes what was done since; the transaction goes on.
    ///
    /// # Errors
    /// Those of any statement.
    pub async fn rollback(self) -> Result<(), Error> {
        Ok(self.0.rollback().await?)
    }
}

impl Deref for WriteTransaction {
    type Target = DatabaseTransaction;

    fn deref(&self) -> &DatabaseTransaction {
        &self.transaction
    }
}

impl Deref for ReadTransaction {
    type Target = DatabaseTransaction;

    fn deref(&self) -> &DatabaseTransaction {
        &self.0
    }
}

impl Deref for Savepoint {
    type Target = DatabaseTransaction;

    fn deref(&self) -> &DatabaseTransaction {
        &self.0
    }
}
