//! Why a use case did not do what it was asked for. What becomes of it on the wire is decided in `grpc::status`.

use names::{ConnectorName, ScopeName};

use crate::{
    domain::{feed::Unresumable, lease::Refused, spec::SecretField, violation::Violations},
    store,
    upstream::vault,
};

/// A use case's error.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Fields of the request are wrong.
    #[error(transparent)]
    Invalid(#[from] Violations),
    /// No such connector.
    #[error("the connector does not exist")]
    NotFound(ConnectorName),
    /// The scope has a connector of this id.
    #[error("the connector exists")]
    Exists(ConnectorName),
    /// The etag is not the current one.
    #[error("the etag is not the current one")]
    EtagMismatch(ConnectorName),
    /// The request id was used for another request.
    #[error("the request id was used for another request")]
    RequestReused,
    /// The scope has as many connectors as it may have.
    #[error("the scope's quota of {limit} connectors is used up")]
    Quota {
        /// Whose quota.
        scope: ScopeName,
        /// The quota.
        limit: u32,
    },
    /// The installation's policy does not allow this.
    #[error("the policy does not allow this")]
    Policy {
        /// Which field it is about.
        field: &'static str,
        /// Which rule.
        #[source]
        refusal: policy::Refusal,
    },
    /// A watcher has to start over.
    #[error("the watch cannot be resumed")]
    Unresumable(#[source] Unresumable),
    /// The runtime does not hold the sessions.
    #[error("the runtime does not hold the sessions")]
    Lease(#[source] Refused),
    /// Secrets were entered for another destination.
    #[error("secrets were entered for another destination")]
    NeedsRebind {
        /// The connector.
        connector: ConnectorName,
        /// The secrets that have to be entered again.
        fields: Vec<SecretField>,
    },
    /// The vault did not do its part; nothing was changed.
    #[error("the vault did not do its part")]
    Vault(#[source] vault::Error),
    /// The creation took so long that it was given up.
    #[error("the creation was given up")]
    GivenUp,
    /// The registry stopped while it was at work; what was begun may have been done.
    #[error("the registry stopped while it was at work")]
    Interrupted,
    /// The service is about to stop, and does not wait any more.
    #[error("the service is shutting down")]
    Draining,
    /// As many callers wait as may.
    #[error("too many callers wait")]
    TooManyWaits,
    /// The database cannot be reached or is too busy.
    #[error("the database cannot be reached or is too busy")]
    DatabaseUnavailable(#[source] database::Error),
    /// A mistake of ours, or a damaged database.
    #[error("the database did something unexpected")]
    Internal(#[source] store::Error),
    /// Secrets changed while others were being written.
    #[error("the connector was changed at the same time")]
    Conflict(ConnectorName),
}

/// The outcome of a use case.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// The error of a store operation about one connector.
    pub(crate) fn about(name: &ConnectorName) -> impl FnOnce(store::Error) -> Self {
        let name = name.clone();
        move |error| match error {
            store::Error::NotFound => Self::NotFound(name),
            store::Error::Exists => Self::Exists(name),
            store::Error::Quota { limit } => Self::Quota {
                scope: name.scope().clone(),
                limit,
            },
            other @ (store::Error::Database(_)
            | store::Error::Corrupt(_)
            | store::Error::Json(_)
            | store::Error::Lease(_)) => other.into(),
        }
    }
}

impl From<store::Error> for Error {
    /// The error of a store operation that names no connector.
    fn from(error: store::Error) -> Self {
        match error {
            store::Error::Database(
                error @ (database::Error::Busy(_) | database::Error::Unavailable(_)),
            ) => Self::DatabaseUnavailable(error),
            store::Error::Lease(refused) => Self::Lease(refused),
            other @ (store::Error::Database(
                database::Error::Unique(_)
                | database::Error::ForeignKey(_)
                | database::Error::Other(_),
            )
            | store::Error::Corrupt(_)
            | store::Error::Json(_)
            | store::Error::NotFound
            | store::Error::Exists
            | store::Error::Quota { .. }) => Self::Internal(other),
        }
    }
}
