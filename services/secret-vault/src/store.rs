//! Rows and queries of the vault, the same on SQLite and PostgreSQL.
//!
//! Functions take the transaction or connection they run in. Nothing here decides whether something is
//! allowed, checks a MAC, or sees a key or a plaintext: it stores ciphertext and digests.

#[expect(unreachable_pub, reason = "sea-orm's derive macros write `pub` items")]
mod entity;

pub(crate) mod audit;
pub(crate) mod destinations;
pub(crate) mod grants;
pub(crate) mod keys;
pub(crate) mod leases;
pub(crate) mod requests;
pub(crate) mod secrets;
pub(crate) mod versions;

use names::ScopeName;
use sea_orm::DbErr;

/// What a query runs in: a connection, a transaction or a savepoint.
pub(crate) use sea_orm::ConnectionTrait as Connection;

/// A failed use of the store.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The database refused or cannot be reached.
    #[error(transparent)]
    Database(#[from] database::Error),
    /// A row holds what no version of this program writes.
    #[error("the database holds an impossible {0}")]
    Impossible(&'static str),
}

impl From<DbErr> for Error {
    fn from(error: DbErr) -> Self {
        Self::Database(error.into())
    }
}

/// Numbers are `u64` outside and `i64` in the database; both ends are far away.
fn to_db(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn from_db(number: i64) -> Result<u64, Error> {
    u64::try_from(number).map_err(|_| Error::Impossible("negative number"))
}

fn scope(name: &str) -> Result<ScopeName, Error> {
    name.parse().map_err(|_| Error::Impossible("scope"))
}
