//! The runtime's two peers: the registry, which says what is wanted and hears what was observed, and the vault, which
//! gives out secrets.
//!
//! Neither is ever asked on the path of a tool call. What their answers mean for a session is decided elsewhere.

pub mod registry;
pub mod vault;

use rpc::error::ErrorView;
use tonic::{Code, Status};

/// A peer that did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    /// It cannot be reached, is too busy, or broke: ask again later.
    #[error("the peer cannot be reached ({0:?})")]
    Unreachable(Code),
    /// It did not answer in time.
    #[error("the peer did not answer in time")]
    TimedOut,
    /// It understood and refused.
    #[error("the peer refused: {code:?} {reason}")]
    Refused {
        /// The status code.
        code: Code,
        /// The stable reason, empty when it gave none.
        reason: String,
    },
    /// Its answer makes no sense to this release.
    #[error("the peer's answer cannot be read")]
    Malformed,
    /// This instance does not hold the sessions.
    #[error("this instance holds no lease")]
    NoLease,
    /// This runtime is shutting down.
    #[error("the runtime is shutting down")]
    Stopped,
}

impl PeerError {
    /// The stable reason of a refusal; empty when there is none.
    #[must_use]
    pub fn reason(&self) -> &str {
        match self {
            Self::Refused { reason, .. } => reason,
            Self::Unreachable(_)
            | Self::TimedOut
            | Self::Malformed
            | Self::NoLease
            | Self::Stopped => "",
        }
    }
}

impl From<&Status> for PeerError {
    fn from(status: &Status) -> Self {
        let code = status.code();
        match code {
            Code::Ok
            | Code::Cancelled
            | Code::Unknown
            | Code::DeadlineExceeded
            | Code::ResourceExhausted
            | Code::Aborted
            | Code::Internal
            | Code::Unavailable => Self::Unreachable(code),
            Code::InvalidArgument
            | Code::NotFound
            | Code::AlreadyExists
            | Code::PermissionDenied
            | Code::FailedPrecondition
            | Code::OutOfRange
            | Code::Unimplemented
            | Code::DataLoss
            | Code::Unauthenticated => Self::Refused {
                code,
                reason: ErrorView::reason_of(status).unwrap_or_default(),
            },
        }
    }
}
