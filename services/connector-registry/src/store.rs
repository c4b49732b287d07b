//! The registry's database: every query there is, and the transactions that keep the rules which only a database can
//! keep (unique ids, quotas, compare-and-set, the order of revisions).
//!
//! Invariants: every query about connectors names its scopes; whoever changes a connector takes the feed's row lock last
//! and so commits in the order of revisions. Not here: whether a change is allowed (see `domain`), and gRPC.

mod changes;
mod create;
mod entity;
mod filters;
mod mutate;
mod outbox;
mod queries;
mod report;
mod retention;
mod row;
#[cfg(test)]
mod tests;
mod tools;

use database::Database;
use sea_orm::{
    ActiveValue::Set,
    ColumnTrait as _, ConnectionTrait, DbErr, EntityTrait as _, ExprTrait as _, QueryFilter as _,
    sea_query::{Expr, OnConflict},
};
use tokio::sync::watch;
use uuid::Uuid;

pub use self::{
    changes::{Change, Changes, Key},
    create::{Begun, NewConnector, RequestKey},
    filters::Selection,
    mutate::{Deletion, Mutation},
    outbox::{Action, Claimed, NewTask, Superseded, Tasks},
    queries::ListQuery,
    report::{Observed, ObservedTool, Reported, Reporter},
    tools::{ToolCursor, ToolDetail, ToolRow, ToolScope},
};
use crate::domain::{feed::Feed, lease::Refused};

/// The registry's database. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    database: Database,
    newest: watch::Sender<i64>,
}

/// Why the database did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database itself.
    #[error(transparent)]
    Database(#[from] database::Error),
    /// A row that this program cannot have written.
    #[error("the column {0} holds something unexpected")]
    Corrupt(&'static str),
    /// A document that cannot be written.
    #[error("a document cannot be written as JSON")]
    Json(#[source] serde_json::Error),
    /// No published connector of this name.
    #[error("the connector is not there")]
    NotFound,
    /// The scope has a connector of this id.
    #[error("the id is taken")]
    Exists,
    /// The scope has as many connectors as it may have.
    #[error("the quota of {limit} connectors is used up")]
    Quota {
        /// The limit.
        limit: u32,
    },
    /// Somebody else holds the sessions, or took them over.
    #[error(transparent)]
    Lease(#[from] Refused),
}

impl From<DbErr> for Error {
    fn from(error: DbErr) -> Self {
        Self::Database(error.into())
    }
}

impl database::Contended for Error {
    fn is_contention(&self) -> bool {
        match self {
            Self::Database(error) => error.is_contention(),
            Self::Corrupt(_)
            | Self::Json(_)
            | Self::NotFound
            | Self::Exists
            | Self::Quota { .. }
            | Self::Lease(_) => false,
        }
    }
}

/// The feed's only row.
const FEED: i16 = 1;

impl Store {
    /// Uses `database`, whose schema was checked, and gives a new one its feed.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn open(database: Database) -> Result<Self, Error> {
        let row = entity::feed::ActiveModel {
            id: Set(FEED),
            feed_id: Set(Uuid::now_v7()),
            revision: Set(0),
            oldest_revision: Set(0),
        };
        let insert = entity::feed::Entity::insert(row).on_conflict(
            OnConflict::column(entity::feed::Column::Id)
                .do_nothing()
                .to_owned(),
        );
        let transaction = database.begin_write().await?;
        insert.exec_without_returning(&*transaction).await?;
        transaction.commit().await?;
        let store = Self {
            database,
            newest: watch::Sender::new(0),
        };
        store.refresh().await?;
        Ok(store)
    }

    /// The newest revision that is known to this process; changes when there is a newer one.
    #[must_use]
    pub fn newest(&self) -> watch::Receiver<i64> {
        self.newest.subscribe()
    }

    /// Looks for revisions of other processes.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn refresh(&self) -> Result<(), Error> {
        let feed = self.feed().await?;
        self.announce(feed.revision);
        Ok(())
    }

    /// The feed as it stands.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn feed(&self) -> Result<Feed, Error> {
        read_feed(self.database.connection()).await
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn ping(&self) -> Result<(), Error> {
        Ok(self.database.ping().await?)
    }

    /// Waits for what is running and closes the database.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn close(&self) -> Result<(), Error> {
        Ok(self.database.close().await?)
    }

    fn announce(&self, revision: i64) {
        self.newest.send_if_modified(|newest| {
            let newer = revision > *newest;
            if newer {
                *newest = revision;
            }
            newer
        });
    }
}

async fn read_feed(connection: &impl ConnectionTrait) -> Result<Feed, Error> {
    let row = entity::feed::Entity::find_by_id(FEED)
        .one(connection)
        .await?;
    let row = row.ok_or(Error::Corrupt("feed"))?;
    Ok(Feed {
        id: row.feed_id,
        revision: row.revision,
        oldest: row.oldest_revision,
    })
}

/// Takes the next `count` revisions and the feed's lock until the transaction ends; answers with the last of them.
async fn advance(transaction: &impl ConnectionTrait, count: i64) -> Result<i64, Error> {
    use entity::feed::{Column, Entity};
    let rows = Entity::update_many()
        .col_expr(Column::Revision, Expr::col(Column::Revision).add(count))
        .filter(Column::Id.eq(FEED))
        .exec_with_returning(transaction)
        .await?;
    rows.first()
        .map(|row| row.revision)
        .ok_or(Error::Corrupt("feed"))
}
