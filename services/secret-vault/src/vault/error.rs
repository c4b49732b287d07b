//! What can go wrong in a use case, in the classes that callers are told apart by.

use std::time::Duration;

use crate::domain::{Invalid, Reason, VersionRef};
use crate::keyring::KeyError;
use crate::store;

/// A use case that did not happen. No text here repeats what a caller or the database holds.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A field of the request.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// Missing, deleted, or another scope's.
    #[error("no such secret")]
    SecretNotFound,
    /// The request id came with another request before.
    #[error("the request id was used for another request")]
    RequestIdReused,
    /// The destination is not the one the value was entered for.
    #[error("the destination is not the one the values were entered for")]
    NeedsRebind,
    /// Missing, spent, expired, or somebody else's.
    #[error("no such grant")]
    GrantNotFound,
    /// Missing, ended, or somebody else's.
    #[error("no such lease")]
    LeaseNotFound,
    /// Too many grants.
    #[error("too many grants in too short a time")]
    RateExceeded {
        /// When the next one will be made.
        retry_after: Duration,
    },
    /// Too much is waiting to be written.
    #[error("too much work is waiting")]
    Overloaded,
    /// Stored data is damaged or was tampered with. `reason` and `at` are for the audit alone.
    #[error("the secret cannot be read")]
    Unreadable {
        /// What exactly was found.
        reason: Reason,
        /// In which version, if it is one version's fault.
        at: Option<VersionRef>,
    },
    /// Somebody else wrote at the same time; the whole use case may be tried again.
    #[error("somebody else wrote at the same time")]
    Contention(#[source] database::Error),
    /// The database cannot be reached.
    #[error("the database cannot be reached")]
    Unavailable(#[source] database::Error),
    /// The vault is stopping.
    #[error("the vault is stopping")]
    Stopping,
    /// Our own fault.
    #[error("the vault failed")]
    Internal(#[source] database::Error),
    /// Our own fault, before the database was touched.
    #[error("sealing failed")]
    Sealing,
}

impl Error {
    /// The unreadable version that the error is about.
    pub(super) fn at(self, at: VersionRef) -> Self {
        match self {
            Self::Unreadable { reason, at: None } => Self::Unreadable {
                reason,
                at: Some(at),
            },
            other => other,
        }
    }
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        match error {
            store::Error::Database(error) => error.into(),
            store::Error::Impossible(what) => {
                tracing::error!(what, "the database holds an impossible row");
                Self::Unreadable {
                    reason: Reason::RowImpossible,
                    at: None,
                }
            }
        }
    }
}

impl From<database::Error> for Error {
    fn from(error: database::Error) -> Self {
        match error {
            database::Error::Unique(_) | database::Error::Busy(_) => Self::Contention(error),
            database::Error::Unavailable(_) => Self::Unavailable(error),
            database::Error::ForeignKey(_) | database::Error::Other(_) => Self::Internal(error),
        }
    }
}

impl From<KeyError> for Error {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::Unreadable(reason) => Self::Unreadable { reason, at: None },
            KeyError::Internal => Self::Sealing,
        }
    }
}

/// Counts how often a use case was tried that lost against another one.
#[derive(Debug, Default)]
pub(super) struct Attempts(u32);

impl Attempts {
    /// How often a use case is tried before its caller hears of the contention.
    const MOST: u32 = 5;

    /// Whether `outcome` is worth another attempt.
    pub(super) fn again<T>(&mut self, outcome: &Result<T, Error>) -> bool {
        self.0 += 1;
        matches!(outcome, Err(Error::Contention(_))) && self.0 < Self::MOST
    }
}
