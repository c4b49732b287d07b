//! Principals and their claims: pure data and one question, [`Principal::may`].

use std::{collections::BTreeSet, fmt};

use names::{
    ScopeSelector,
    access::{MethodRule, Role, Verb},
};

use crate::Denial;

/// A right on a scope, or on all scopes of a kind (`users/-`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Where.
    pub scope: ScopeSelector,
    /// What may be done there.
    pub verbs: BTreeSet<Verb>,
}

/// An authenticated caller. Made only from a verified credential, never from what a request says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// Who, stable over tokens: the name in audits and logs.
    pub subject: String,
    /// What kind of caller.
    pub roles: BTreeSet<Role>,
    /// Which scopes it may act for.
    pub claims: Vec<Claim>,
    /// The user on whose behalf it acts, if its credential says so.
    pub acting_user: Option<String>,
}

impl Principal {
    /// Whether every scope that `scope` selects is held with `verb`. One claim has to cover it.
    #[must_use]
    pub fn may(&self, verb: Verb, scope: &ScopeSelector) -> bool {
        self.claims
            .iter()
            .any(|claim| claim.verbs.contains(&verb) && claim.scope.covers(scope))
    }

    /// Whether every scope that `scope` selects is held with any verb at all.
    #[must_use]
    pub fn holds(&self, scope: &ScopeSelector) -> bool {
        self.claims
            .iter()
            .any(|claim| !claim.verbs.is_empty() && claim.scope.covers(scope))
    }

    /// Whether it has this role.
    #[must_use]
    pub fn has_role(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }

    /// Whether `rule` lets it in as a service of the suite, for which scopes are not asked.
    #[must_use]
    pub fn is_service_for(&self, rule: &MethodRule) -> bool {
        rule.roles
            .iter()
            .any(|role| is_service(*role) && self.has_role(*role))
    }

    /// Whether one of its roles may call the method at all.
    ///
    /// # Errors
    /// [`Denial::RoleNotAllowed`].
    pub fn check_role(&self, rule: &MethodRule) -> Result<(), Denial> {
        if rule.roles.iter().any(|role| self.has_role(*role)) {
            return Ok(());
        }
        Err(Denial::RoleNotAllowed {
            subject: self.subject.clone(),
            allowed: rule.roles,
        })
    }

    /// Whether it may do what `rule` is about in `scope`.
    ///
    /// # Errors
    /// [`Denial::ScopeNotAllowed`] when it does not hold the scope, [`Denial::VerbNotAllowed`]
    /// when it does, but without the verb.
    pub fn check_scope(&self, rule: &MethodRule, scope: &ScopeSelector) -> Result<(), Denial> {
        if self.is_service_for(rule) {
            return Ok(());
        }
        let allowed = rule
            .verb
            .map_or_else(|| self.holds(scope), |verb| self.may(verb, scope));
        let (subject, text) = (self.subject.clone(), scope.to_string());
        match rule.verb {
            _ if allowed => Ok(()),
            Some(verb) if self.holds(scope) => Err(Denial::VerbNotAllowed {
                subject,
                verb,
                scope: text,
            }),
            Some(_) | None => Err(Denial::ScopeNotAllowed {
                subject,
                scope: text,
            }),
        }
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.subject)
    }
}

fn is_service(role: Role) -> bool {
    match role {
        Role::ConnectorRegistry | Role::SecretVault | Role::RuntimeSync => true,
        Role::Operator | Role::Caller | Role::Viewer | Role::Auditor => false,
    }
}

#[cfg(test)]
mod tests {
    use names::access::ScopeSource;

    use super::*;

    const RULE: MethodRule = MethodRule {
        path: "/test.v1.TestService/Get",
        roles: &[Role::Caller, Role::RuntimeSync],
        verb: Some(Verb::Manage),
        scope: ScopeSource::Parent,
        idempotent: true,
        streaming: false,
    };

    fn principal(role: Role, claims: &[(&str, &[Verb])]) -> Principal {
        let claim = |(scope, verbs): &(&str, &[Verb])| Claim {
            scope: scope.parse().expect("selector"),
            verbs: verbs.iter().copied().collect(),
        };
        Principal {
            subject: "test".into(),
            roles: [role].into(),
            claims: claims.iter().map(claim).collect(),
            acting_user: None,
        }
    }

    fn scope(name: &str) -> ScopeSelector {
        name.parse().expect("selector")
    }

    #[test]
    fn a_claim_holds_for_its_own_scope_and_verb_only() {
        let ada = principal(Role::Caller, &[("users/ada", &[Verb::Use])]);
        assert!(ada.may(Verb::Use, &scope("users/ada")));
        assert!(!ada.may(Verb::Manage, &scope("users/ada")));
        assert!(!ada.may(Verb::Use, &scope("users/adam")));
        assert!(!ada.may(Verb::Use, &scope("projects/ada")));
        assert!(!ada.may(Verb::Use, &scope("users/-")));
    }

    #[test]
    fn the_dash_stands_for_every_scope_of_its_kind_and_for_nothing_else() {
        let all = principal(Role::Caller, &[("users/-", &[Verb::Use])]);
        assert!(all.may(Verb::Use, &scope("users/ada")));
        assert!(all.may(Verb::Use, &scope("users/-")));
        assert!(!all.may(Verb::Use, &scope("projects/-")));
        assert!(!all.may(Verb::Use, &scope("system")));
        // A star is an ordinary, and invalid, id.
        assert!("users/*".parse::<ScopeSelector>().is_err());
    }

    #[test]
    fn a_missing_verb_and_a_missing_scope_are_told_apart() {
        let ada = principal(Role::Caller, &[("users/ada", &[Verb::Use])]);
        let verb = ada.check_scope(&RULE, &scope("users/ada"));
        assert!(matches!(
            verb,
            Err(Denial::VerbNotAllowed {
                verb: Verb::Manage,
                ..
            })
        ));
        let foreign = ada.check_scope(&RULE, &scope("users/bob"));
        assert!(matches!(foreign, Err(Denial::ScopeNotAllowed { .. })));
    }

    #[test]
    fn a_service_needs_no_claim_but_only_where_its_role_is_named() {
        let runtime = principal(Role::RuntimeSync, &[]);
        assert_eq!(runtime.check_scope(&RULE, &scope("users/ada")), Ok(()));
        let vault = principal(Role::SecretVault, &[]);
        assert!(vault.check_role(&RULE).is_err());
        assert!(vault.check_scope(&RULE, &scope("users/ada")).is_err());
    }

    #[test]
    fn an_operator_is_not_exempt_from_claims() {
        let operator = principal(Role::Operator, &[]);
        assert!(operator.check_role(&RULE).is_err());
        assert!(operator.check_scope(&RULE, &scope("system")).is_err());
    }
}
