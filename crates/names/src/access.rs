//! What each RPC demands of its caller: the vocabulary in which `contracts` states the rules of
//! the `.proto` files and in which `identity` and `rpc` enforce them.
//!
//! Invariant: a method without a rule cannot be called. Not here: principals and their claims, and
//! any decision.

use std::fmt;

/// A role a principal may have. Services have one role each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// Runs the installation.
    Operator,
    /// Uses and manages connectors in the scopes it holds: the orchestration layer.
    Caller,
    /// Reads in the scopes it holds.
    Viewer,
    /// Reads the vault's audit.
    Auditor,
    /// The connector-registry service.
    ConnectorRegistry,
    /// The secret-vault service.
    SecretVault,
    /// The runtime-sync service.
    RuntimeSync,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 7] = [
        Self::Operator,
        Self::Caller,
        Self::Viewer,
        Self::Auditor,
        Self::ConnectorRegistry,
        Self::SecretVault,
        Self::RuntimeSync,
    ];

    /// The role's name in token files, claims and configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Caller => "caller",
            Self::Viewer => "viewer",
            Self::Auditor => "auditor",
            Self::ConnectorRegistry => "connector-registry",
            Self::SecretVault => "secret-vault",
            Self::RuntimeSync => "runtime-sync",
        }
    }

    /// The role with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == name)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a principal wants to do in a scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verb {
    /// Look at connectors, and call their tools.
    Use,
    /// Create, change and delete connectors.
    Manage,
    /// Erase everything a scope owns.
    Purge,
}

impl Verb {
    /// The verb's name in token files and claims.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Use => "use",
            Self::Manage => "manage",
            Self::Purge => "purge",
        }
    }

    /// The verb with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Use, Self::Manage, Self::Purge]
            .into_iter()
            .find(|verb| verb.as_str() == name)
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How a request says which scope it touches, and so how a scope that the caller does not hold is
/// answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScopeSource {
    /// The request names no scope; the role alone decides.
    None,
    /// The request names a resource: a foreign one is NOT_FOUND, with exactly the details of a
    /// missing one.
    Name {
        /// The `ErrorReason` of a missing resource, `CONNECTOR_NOT_FOUND`.
        reason: &'static str,
        /// The resource type of `google.rpc.ResourceInfo`, `patchbay/Connector`.
        resource_type: &'static str,
    },
    /// The request names a parent: a foreign one is PERMISSION_DENIED, before any look-up.
    Parent,
}

/// What one RPC demands, as its `.proto` option declares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MethodRule {
    /// The request path, `/patchbay.registry.v1.ConnectorService/GetConnector`.
    pub path: &'static str,
    /// Roles that may call; nobody else gets past the authentication layer.
    pub roles: &'static [Role],
    /// The verb that must be held on every scope of the request. Service roles need none.
    pub verb: Option<Verb>,
    /// Where the request names its scopes.
    pub scope: ScopeSource,
    /// Whether a client may send the call again without asking.
    pub idempotent: bool,
    /// Whether the client, the server, or both send a stream: such calls use the stream budget.
    pub streaming: bool,
}

/// A request whose RPC has a rule. Generated for every request message from the proto options.
pub trait ScopedRequest {
    /// The rule of the one RPC that takes this request.
    const RULE: MethodRule;

    /// Visits every name in the request that decides about scopes: the field's path and its text,
    /// as it came (a resource name, a scope, or a scope wildcard).
    fn visit_scopes<'a>(&'a self, visit: &mut dyn FnMut(&'static str, &'a str));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_roles_and_verbs_are_read_back() {
        for role in Role::ALL {
            assert_eq!(Role::from_name(role.as_str()), Some(role));
        }
        for verb in [Verb::Use, Verb::Manage, Verb::Purge] {
            assert_eq!(Verb::from_name(verb.as_str()), Some(verb));
        }
        assert_eq!(Role::from_name("root"), None);
        assert_eq!(Verb::from_name("-"), None);
    }
}
