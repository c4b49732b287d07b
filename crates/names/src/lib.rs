//! Resource names and ids as types: parsed once at the edge, printed in one canonical spelling.
//!
//! Invariant: a value of any of these types is valid, and `parse(x).to_string() == x`. Comparison
//! is byte for byte. Not here: whether a named thing exists, and who may touch it.

mod connector;
mod id;
mod scope;
mod secret;

pub mod access;

pub use connector::{ConnectorId, ConnectorName, ConnectorUid, ToolName};
pub use id::InvalidName;
pub use scope::{ScopeKind, ScopeName, ScopeSelector};
pub use secret::{SecretName, SecretVersionName};
