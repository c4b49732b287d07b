//! Scopes: the owners of connectors and secrets.

use std::{fmt, str::FromStr};

use crate::id::{InvalidName, check_owner_id};

/// The kind of a scope, without its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ScopeKind {
    /// A person: `users/{user}`.
    User,
    /// A group of people working together: `projects/{project}`.
    Project,
    /// The suite's own: `system`.
    System,
}

/// The owner of connectors and secrets: `users/{user}`, `projects/{project}` or `system`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ScopeName {
    /// `users/{user}`.
    User(OwnerId),
    /// `projects/{project}`.
    Project(OwnerId),
    /// `system`.
    System,
}

/// A user or project id that was checked.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OwnerId(String);

impl OwnerId {
    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for OwnerId {
    type Err = InvalidName;

    fn from_str(id: &str) -> Result<Self, InvalidName> {
        check_owner_id(id)?;
        Ok(Self(id.to_owned()))
    }
}

impl ScopeName {
    /// The kind of this scope.
    #[must_use]
    pub fn kind(&self) -> ScopeKind {
        match self {
            Self::User(_) => ScopeKind::User,
            Self::Project(_) => ScopeKind::Project,
            Self::System => ScopeKind::System,
        }
    }
}

impl fmt::Display for ScopeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(id) => write!(f, "users/{}", id.0),
            Self::Project(id) => write!(f, "projects/{}", id.0),
            Self::System => f.write_str("system"),
        }
    }
}

impl FromStr for ScopeName {
    type Err = InvalidName;

    fn from_str(name: &str) -> Result<Self, InvalidName> {
        match name.split_once('/') {
            Some(("users", id)) => id.parse().map(Self::User),
            Some(("projects", id)) => id.parse().map(Self::Project),
            None if name == "system" => Ok(Self::System),
            _ => Err(InvalidName(
                "a scope is 'users/{user}', 'projects/{project}' or 'system'",
            )),
        }
    }
}

/// One scope, or all scopes of a kind (`users/-`, `projects/-`). `-` is the only wildcard.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ScopeSelector {
    /// Exactly this scope.
    One(ScopeName),
    /// Every user: `users/-`.
    AllUsers,
    /// Every project: `projects/-`.
    AllProjects,
}

impl ScopeSelector {
    /// Whether `scope` is among the selected ones.
    #[must_use]
    pub fn contains(&self, scope: &ScopeName) -> bool {
        match self {
            Self::One(one) => one == scope,
            Self::AllUsers => scope.kind() == ScopeKind::User,
            Self::AllProjects => scope.kind() == ScopeKind::Project,
        }
    }

    /// Whether everything `other` selects is selected by `self` too.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        match other {
            Self::One(scope) => self.contains(scope),
            Self::AllUsers | Self::AllProjects => self == other,
        }
    }
}

impl fmt::Display for ScopeSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(scope) => scope.fmt(f),
            Self::AllUsers => f.write_str("users/-"),
            Self::AllProjects => f.write_str("projects/-"),
        }
    }
}

impl FromStr for ScopeSelector {
    type Err = InvalidName;

    fn from_str(name: &str) -> Result<Self, InvalidName> {
        match name {
            "users/-" => Ok(Self::AllUsers),
            "projects/-" => Ok(Self::AllProjects),
            name => name.parse().map(Self::One),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn scopes_parse_and_print_alike() {
        for name in [
            "users/ada",
            "projects/Apollo.11",
            "users/a~b@c:d-e_f",
            "system",
        ] {
            let scope: ScopeName = name.parse().expect(name);
            assert_eq!(scope.to_string(), name);
        }
    }

    #[test]
    fn other_spellings_are_refused() {
        for name in [
            "",
            "users",
            "users/",
            "users/-",
            "users/.",
            "users/..",
            "users/a/b",
            "system/",
            "Users/ada",
            "users/a b",
        ] {
            assert!(
                name.parse::<ScopeName>().is_err(),
                "{name:?} must be refused"
            );
        }
        assert!(
            format!("users/{}", "a".repeat(129))
                .parse::<ScopeName>()
                .is_err()
        );
    }

    #[test]
    fn a_wildcard_selects_its_own_kind_only() {
        let all: ScopeSelector = "users/-".parse().expect("selector");
        assert!(all.contains(&"users/ada".parse().expect("scope")));
        assert!(!all.contains(&"projects/ada".parse().expect("scope")));
        assert!(!all.contains(&ScopeName::System));
        assert!(all.covers(&"users/ada".parse().expect("selector")));
        assert!(!all.covers(&ScopeSelector::AllProjects));
    }

    proptest! {
        #[test]
        fn whatever_parses_prints_as_it_was_written(name in "\\PC{0,40}") {
            if let Ok(scope) = name.parse::<ScopeName>() {
                prop_assert_eq!(scope.to_string(), name);
            }
        }
    }
}
