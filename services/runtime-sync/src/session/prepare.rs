//! What a session is given before each connection: where to connect to, with the secrets merged in.
//!
//! The session asks and does not know whom: resolving the spec and redeeming grants belongs to the control plane. What
//! comes back lives no longer than the one connection it was prepared for.

use std::{any::Any, fmt, sync::Arc};

use futures_util::future::BoxFuture;
use lifecycle::CancellationToken;

use crate::{
    domain::{Reason, SessionSpec},
    transport::{OpenOptions, Target},
};

/// Prepares one connection. Called before every attempt; may take as long as the prepare timeout.
pub type Prepare =
    Arc<dyn Fn(SessionSpec) -> BoxFuture<'static, Result<Prepared, PrepareError>> + Send + Sync>;

/// Everything one connection needs.
pub struct Prepared {
    /// Where to connect to.
    pub target: Target,
    /// How.
    pub options: OpenOptions,
    /// Fired when the permission to use the secrets is withdrawn: the link is closed at once.
    pub revoked: CancellationToken,
    /// Whatever has to live as long as the link, such as the lease on the secrets; dropped with it.
    pub lease: Option<Box<dyn Any + Send + Sync>>,
}

impl fmt::Debug for Prepared {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Prepared")
            .field("target", &self.target)
            .finish_non_exhaustive()
    }
}

/// A connection could not be prepared. The reason says which state that leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the connection could not be prepared: {}", .0.as_str())]
pub struct PrepareError(pub Reason);
