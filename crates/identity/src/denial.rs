//! Why a call was not let in, as a type. Nothing here knows how a denial is told to the caller.

use names::access::{Role, Verb};
use thiserror::Error;

/// Why a call was not let in. Which of these a caller may learn is decided by their order: nobody
/// hears about methods or roles before the token has proved who they are.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Denial {
    /// No `authorization: Bearer …` metadata, or it cannot be read.
    #[error("the call carries no bearer token")]
    TokenMissing,
    /// The token is not one of ours.
    #[error("the bearer token is not known")]
    TokenInvalid,
    /// The caller is known, the method is not.
    #[error("no such method")]
    MethodUnknown,
    /// The caller has none of the roles the method asks for.
    #[error("none of the roles of {subject} may call this method")]
    RoleNotAllowed {
        /// The principal that called.
        subject: String,
        /// The roles that may.
        allowed: &'static [Role],
    },
    /// The caller holds the scope, but not this verb on it.
    #[error("{subject} does not hold '{verb}' on {scope}")]
    VerbNotAllowed {
        /// The principal that called.
        subject: String,
        /// The verb that is missing.
        verb: Verb,
        /// The scope, as the request names it.
        scope: String,
    },
    /// The caller does not hold the scope at all.
    #[error("{subject} does not hold {scope}")]
    ScopeNotAllowed {
        /// The principal that called.
        subject: String,
        /// The scope, as the request names it.
        scope: String,
    },
}
