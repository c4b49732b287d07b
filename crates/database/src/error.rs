//! What went wrong, in the classes that callers treat differently.
//!
//! The texts of the database stay in `source`: they may quote values and are for the log of the place that
//! handles the error, never for an answer to a caller.

use std::error::Error as StdError;
use std::sync::Arc;

use sea_orm::{ConnAcquireErr, DbErr, RuntimeErr, SqlErr, sqlx};

type Source = Arc<dyn StdError + Send + Sync>;

/// A failed use of the database.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// A row with this key is there already.
    #[error("a unique constraint was violated")]
    Unique(#[source] Source),
    /// A row that another refers to is missing, or one that is referred to was to go.
    #[error("a foreign key constraint was violated")]
    ForeignKey(#[source] Source),
    /// Another transaction was in the way; the whole transaction may be tried again.
    #[error("the database is busy")]
    Busy(#[source] Source),
    /// The database cannot be reached, is shutting down, is full, or took too long.
    #[error("the database is unavailable")]
    Unavailable(#[source] Source),
    /// Everything else: a mistake of ours, or a damaged database.
    #[error("the database failed")]
    Other(#[source] Source),
}

impl Error {
    pub(crate) fn unavailable(source: impl StdError + Send + Sync + 'static) -> Self {
        Self::Unavailable(Arc::new(source))
    }

    pub(crate) fn busy(source: impl StdError + Send + Sync + 'static) -> Self {
        Self::Busy(Arc::new(source))
    }

    pub(crate) fn other(source: impl StdError + Send + Sync + 'static) -> Self {
        Self::Other(Arc::new(source))
    }
}

impl From<DbErr> for Error {
    fn from(error: DbErr) -> Self {
        match classify(&error) {
            Class::Unique => Self::Unique(Arc::new(error)),
            Class::ForeignKey => Self::ForeignKey(Arc::new(error)),
            Class::Busy => Self::Busy(Arc::new(error)),
            Class::Unavailable => Self::Unavailable(Arc::new(error)),
            Class::Other => Self::Other(Arc::new(error)),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Unique,
    ForeignKey,
    Busy,
    Unavailable,
    Other,
}

fn classify(error: &DbErr) -> Class {
    match error.sql_err() {
        Some(SqlErr::UniqueConstraintViolation(_)) => return Class::Unique,
        Some(SqlErr::ForeignKeyConstraintViolation(_)) => return Class::ForeignKey,
        // `SqlErr` is open: what it learns to tell later is read from the driver's error below.
        _ => {}
    }
    match error {
        DbErr::ConnectionAcquire(ConnAcquireErr::Timeout | ConnAcquireErr::ConnectionClosed) => {
            Class::Unavailable
        }
        DbErr::Conn(RuntimeErr::SqlxError(error))
        | DbErr::Exec(RuntimeErr::SqlxError(error))
        | DbErr::Query(RuntimeErr::SqlxError(error)) => classify_driver(error),
        DbErr::Conn(RuntimeErr::Internal(_)) => Class::Unavailable,
        // `DbErr` is open and has two dozen variants, all of them mistakes of ours.
        _ => Class::Other,
    }
}

fn classify_driver(error: &sqlx::Error) -> Class {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => Class::Unavailable,
        sqlx::Error::Database(error) => {
            let code = error.code().unwrap_or_default();
            if error
                .try_downcast_ref::<sqlx::sqlite::SqliteError>()
                .is_some()
            {
                code.parse().map_or(Class::Other, sqlite_class)
            } else {
                postgres_class(&code)
            }
        }
        _ => Class::Other,
    }
}

/// <https://www.sqlite.org/rescode.html>; the low byte is the primary code.
fn sqlite_class(code: i32) -> Class {
    match code & 0xff {
        5 | 6 => Class::Busy,               // BUSY, LOCKED
        10 | 13 | 14 => Class::Unavailable, // IOERR, FULL, CANTOPEN
        _ => Class::Other,
    }
}

/// <https://www.postgresql.org/docs/current/errcodes-appendix.html>
fn postgres_class(code: &str) -> Class {
    match code {
        // serialization_failure, deadlock_detected, lock_not_available
        "40001" | "40P01" | "55P03" => Class::Busy,
        // query_canceled: the statement's time limit
        "57014" => Class::Unavailable,
        // connection exceptions, insufficient resources, operator intervention, system error, and an
        // authentication or database that is not there
        _ if ["08", "53", "57P", "58", "28", "3D"]
            .iter()
            .any(|class| code.starts_with(class)) =>
        {
            Class::Unavailable
        }
        _ => Class::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contention_may_be_tried_again() {
        for code in [5, 6, 261, 262, 517] {
            assert_eq!(sqlite_class(code), Class::Busy, "{code}");
        }
        for code in ["40001", "40P01", "55P03"] {
            assert_eq!(postgres_class(code), Class::Busy, "{code}");
        }
    }

    #[test]
    fn what_an_operator_must_mend_is_unavailable() {
        for code in [10, 13, 14, 778] {
            assert_eq!(sqlite_class(code), Class::Unavailable, "{code}");
        }
        for code in [
            "08006", "53100", "53300", "57014", "57P01", "57P03", "58030", "28P01", "3D000",
        ] {
            assert_eq!(postgres_class(code), Class::Unavailable, "{code}");
        }
    }

    #[test]
    fn mistakes_of_ours_are_neither() {
        assert_eq!(sqlite_class(1), Class::Other);
        assert_eq!(sqlite_class(11), Class::Other);
        assert_eq!(postgres_class("42P01"), Class::Other);
        assert_eq!(postgres_class("23514"), Class::Other);
        assert_eq!(classify(&DbErr::Custom("x".into())), Class::Other);
    }

    #[test]
    fn the_text_of_an_error_quotes_no_value() {
        let error = Error::from(DbErr::Custom("Key (id)=(s3cret) already exists".into()));
        assert!(!error.to_string().contains("s3cret"));
    }
}
