//! How many connectors a scope may have. Counting is the store's, inside the transaction that inserts.

use names::ScopeKind;

/// The limits per kind of scope; `system` has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quotas {
    /// Connectors of one user.
    pub user: u32,
    /// Connectors of one project.
    pub project: u32,
}

impl Default for Quotas {
    fn default() -> Self {
        Self {
            user: 10,
            project: 50,
        }
    }
}

impl Quotas {
    /// The limit of a scope of this kind, `None` for no limit.
    #[must_use]
    pub fn limit(&self, kind: ScopeKind) -> Option<u32> {
        match kind {
            ScopeKind::User => Some(self.user),
            ScopeKind::Project => Some(self.project),
            ScopeKind::System => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_have_ten_projects_fifty_and_the_system_no_limit() {
        let quotas = Quotas::default();
        assert_eq!(quotas.limit(ScopeKind::User), Some(10));
        assert_eq!(quotas.limit(ScopeKind::Project), Some(50));
        assert_eq!(quotas.limit(ScopeKind::System), None);
    }
}
