//! What the registry wants of this runtime: every connector it may know of, by name, at one position of the feed.
//!
//! A value of [`Desired`] is a whole: readers see one revision or the next, never half of both. Keeping it up to date
//! is `upstream::registry`'s, acting on it the supervisor's.

use std::{collections::BTreeMap, ops::Bound, sync::Arc};

use names::{ConnectorName, ConnectorUid, ScopeSelector};

use crate::domain::SessionSpec;

/// One connector as its owner wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredConnector {
    /// Its immutable identity.
    pub uid: ConnectorUid,
    /// Its name.
    pub name: ConnectorName,
    /// Changes with whatever a session depends on.
    pub generation: i64,
    /// What is to become of it.
    pub plan: Plan,
}

/// What is to become of a connector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// It is to have a session of this spec.
    Session(Arc<SessionSpec>),
    /// Its owner switched it off.
    Disabled,
    /// Its spec holds something this release does not know; nothing is done rather than half of it.
    TooNew,
}

/// All connectors at one revision of the feed.
#[derive(Clone, Debug, Default)]
pub struct Desired {
    revision: Option<i64>,
    connectors: BTreeMap<ConnectorName, Arc<DesiredConnector>>,
}

impl Desired {
    /// The feed's position; `None` until a first snapshot was complete.
    #[must_use]
    pub fn revision(&self) -> Option<i64> {
        self.revision
    }

    /// Takes note of the feed's position.
    pub fn advance(&mut self, revision: i64) {
        self.revision = Some(revision);
    }

    /// Puts a connector in, in place of whatever had its name.
    pub fn upsert(&mut self, connector: DesiredConnector) {
        self.connectors
            .insert(connector.name.clone(), Arc::new(connector));
    }

    /// Takes a connector out. Another life of the same name stays.
    pub fn remove(&mut self, name: &ConnectorName, uid: ConnectorUid) {
        if self.get(name).is_some_and(|found| found.uid == uid) {
            self.connectors.remove(name);
        }
    }

    /// The connector of that name.
    #[must_use]
    pub fn get(&self, name: &ConnectorName) -> Option<&Arc<DesiredConnector>> {
        self.connectors.get(name)
    }

    /// All connectors, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<DesiredConnector>> {
        self.connectors.values()
    }

    /// The connectors of a scope or of all scopes of a kind, by name, beginning after a name.
    pub fn select<'a>(
        &'a self,
        scopes: &'a ScopeSelector,
        after: Option<&ConnectorName>,
    ) -> impl Iterator<Item = &'a Arc<DesiredConnector>> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.connectors
            .range((from, Bound::Unbounded))
            .filter(|(name, _)| scopes.contains(name.scope()))
            .map(|(_, connector)| connector)
    }

    /// How many connectors there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.connectors.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.connectors.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn connector(name: &str, uid: u128) -> DesiredConnector {
        DesiredConnector {
            uid: ConnectorUid::new(Uuid::from_u128(uid)),
            name: name.parse().unwrap(),
            generation: 1,
            plan: Plan::Disabled,
        }
    }

    #[test]
    fn a_deletion_that_comes_late_leaves_the_next_life_of_the_name() {
        let mut desired = Desired::default();
        let old = connector("users/ada/connectors/a", 1);
        desired.upsert(connector("users/ada/connectors/a", 2));
        desired.remove(&old.name, old.uid);
        assert_eq!(desired.len(), 1);
        desired.remove(&old.name, ConnectorUid::new(Uuid::from_u128(2)));
        assert!(desired.is_empty());
    }

    #[test]
    fn a_page_goes_on_after_a_name_even_when_that_one_is_gone() {
        let mut desired = Desired::default();
        for id in ["a", "b", "d"] {
            desired.upsert(connector(&format!("users/ada/connectors/{id}"), 1));
        }
        desired.upsert(connector("users/bob/connectors/z", 9));
        let after = "users/ada/connectors/c".parse().unwrap();
        let ada = "users/ada".parse().unwrap();
        let page: Vec<_> = desired
            .select(&ada, Some(&after))
            .map(|found| found.name.to_string())
            .collect();
        assert_eq!(page, ["users/ada/connectors/d"]);
        assert_eq!(desired.select(&ScopeSelector::AllUsers, None).count(), 4);
        assert_eq!(desired.select(&ScopeSelector::AllProjects, None).count(), 0);
    }
}
