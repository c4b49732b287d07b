//! A connector as the registry keeps it: desired fields, references to its secrets, and what was observed.
//!
//! Invariant: nothing here can hold a secret's value. Not here: rows (see the store) and messages (see grpc).

use names::{ConnectorName, ConnectorUid, SecretName};
use sha2::{Digest, Sha256};

use super::{
    lease::Lease,
    spec::{SecretField, Source, Spec, Transport},
    status::{
        RUNTIME_UNREACHABLE, Readiness, SECRET_MISSING, SECRET_NEEDS_REBIND, SPEC_TOO_NEW, Status,
    },
    timestamp::Timestamp,
};

/// A published connector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connector {
    /// Its immutable id.
    pub uid: ConnectorUid,
    /// Its name.
    pub name: ConnectorName,
    /// Where it comes from.
    pub source: Source,
    /// What its owner wants.
    pub spec: Spec,
    /// Its secrets that have a value.
    pub secrets: Vec<StoredSecret>,
    /// What was observed.
    pub status: Status,
    /// What counts its changes.
    pub revisions: Revisions,
    /// When it was created.
    pub create_time: Timestamp,
    /// When its desired fields last changed.
    pub update_time: Timestamp,
}

/// The counters of a connector's changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Revisions {
    /// Position of the last change in the feed.
    pub revision: i64,
    /// Position of the last change of what is desired.
    pub desired_revision: i64,
    /// Changes with whatever a session depends on.
    pub generation: i64,
    /// Changes with tool policy.
    pub policy_generation: i64,
    /// Changes with reports.
    pub status_revision: i64,
}

/// A reference to a value in the vault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSecret {
    /// Which field it is for.
    pub field: SecretField,
    /// Where it is sealed.
    pub location: SecretLocation,
    /// The canonical destination it was entered for.
    pub destination: String,
    /// When it was stored.
    pub update_time: Timestamp,
}

/// A value in the vault. The variables of one connector share one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretLocation {
    /// The secret.
    pub secret: SecretName,
    /// Its version.
    pub version: u64,
    /// The keyed fingerprint that the vault gave.
    pub fingerprint: String,
}

impl Connector {
    /// The reference to the value of `field`, when it has one.
    #[must_use]
    pub fn secret(&self, field: &SecretField) -> Option<&StoredSecret> {
        self.secrets.iter().find(|secret| &secret.field == field)
    }

    /// Whether the connector leads elsewhere than `secret` was entered for.
    #[must_use]
    pub fn needs_rebind(&self, secret: &StoredSecret) -> bool {
        self.spec
            .transport
            .destination()
            .is_ok_and(|here| here.as_str() != secret.destination)
    }

    /// What can be said of it without any runtime.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        readiness(&self.spec, &self.secrets)
    }

    /// The connector with another spec and other secrets. Its generation grows when a session depends on the
    /// difference, and what is known without a runtime becomes its status.
    #[must_use]
    pub fn changed(&self, spec: Spec, secrets: Vec<StoredSecret>, now: Timestamp) -> Self {
        let for_sessions = spec.differs_for_sessions(&self.spec) || secrets != self.secrets;
        let mut changed = Self {
            spec,
            secrets,
            ..self.clone()
        };
        if for_sessions {
            changed.revisions.generation += 1;
            let readiness = changed.readiness();
            changed.status =
                changed
                    .status
                    .after_change(readiness, changed.revisions.generation, now);
        }
        changed
    }

    /// Whether a changed connector leads elsewhere.
    #[must_use]
    pub fn leads_elsewhere(&self, spec: &Spec) -> bool {
        self.spec.transport.destination() != spec.transport.destination()
    }

    /// The fingerprint of the desired fields, quotes included.
    #[must_use]
    pub fn etag(&self) -> String {
        let counted = format!("{}/{}", self.uid, self.revisions.desired_revision);
        let digest = Sha256::digest(counted.as_bytes());
        let hex: String = digest
            .iter()
            .take(12)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        format!("\"{hex}\"")
    }

    /// Since when no runtime has been reporting of this connector; `None` when one does or none is needed.
    #[must_use]
    pub fn stale_since(&self, lease: Option<&Lease>, now: Timestamp) -> Option<Timestamp> {
        match self.readiness() {
            Readiness::Ready => {}
            // What is known without a runtime does not grow old.
            Readiness::Disabled | Readiness::Blocked(_) => return None,
        }
        match lease {
            Some(lease) if lease.is_present(now) => None,
            Some(lease) => Some(lease.expires.max(self.create_time)),
            None => Some(self.create_time),
        }
    }

    /// Whether what was observed has caught up with what is desired, and waiting longer changes nothing by itself.
    #[must_use]
    pub fn is_settled(&self, lease: Option<&Lease>, now: Timestamp) -> bool {
        self.status.observed_generation == self.revisions.generation
            && self.status.state.is_settled()
            && self.stale_since(lease, now).is_none()
    }

    /// The reason to show: that of the status, unless nobody vouches for it any more.
    #[must_use]
    pub fn reason(&self, stale: Option<Timestamp>) -> &str {
        if stale.is_some() {
            RUNTIME_UNREACHABLE
        } else {
            &self.status.detail.reason
        }
    }
}

/// What can be said of a spec with these secrets, without any runtime.
#[must_use]
pub fn readiness(spec: &Spec, secrets: &[StoredSecret]) -> Readiness {
    if !spec.enabled {
        return Readiness::Disabled;
    }
    if spec.transport == Transport::Unknown {
        return Readiness::Blocked(SPEC_TOO_NEW);
    }
    let destination = spec.transport.destination();
    let mut rebind = false;
    for field in spec.transport.secret_fields() {
        match secrets.iter().find(|secret| secret.field == field) {
            None => return Readiness::Blocked(SECRET_MISSING),
            Some(secret) => {
                rebind |= destination
                    .as_ref()
                    .is_ok_and(|here| here.as_str() != secret.destination);
            }
        }
    }
    if rebind {
        Readiness::Blocked(SECRET_NEEDS_REBIND)
    } else {
        Readiness::Ready
    }
}

/// The references that a changed spec no longer names.
#[must_use]
pub fn dropped_secrets(spec: &Spec, secrets: &[StoredSecret]) -> Vec<StoredSecret> {
    let named: Vec<SecretField> = spec.transport.secret_fields().collect();
    secrets
        .iter()
        .filter(|secret| !named.contains(&secret.field))
        .cloned()
        .collect()
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, time::Duration};

    use super::*;
    use crate::domain::{
        lease,
        spec::{Field, FieldValue, SecretPlace, StreamableHttp, Timeouts},
        state::State,
    };

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    fn spec(url: &str) -> Spec {
        let key = Field {
            name: "X-Key".into(),
            prefix: String::new(),
            value: FieldValue::Secret,
        };
        Spec {
            display_name: String::new(),
            description: String::new(),
            icon_uri: String::new(),
            labels: BTreeMap::new(),
            enabled: true,
            transport: Transport::StreamableHttp(StreamableHttp {
                url: url.into(),
                headers: vec![key],
            }),
            timeouts: Timeouts::default(),
        }
    }

    fn secret(name: &str, destination: &str) -> StoredSecret {
        let id = "01932d3c-7a00-7000-8000-000000000001";
        StoredSecret {
            field: SecretField::new(SecretPlace::Header, name),
            location: SecretLocation {
                secret: format!("users/ada/secrets/{id}").parse().expect("name"),
                version: 1,
                fingerprint: "aa".into(),
            },
            destination: destination.into(),
            update_time: at(1),
        }
    }

    fn connector() -> Connector {
        Connector {
            uid: "01932d3c-7a00-7000-8000-000000000002".parse().expect("uid"),
            name: "users/ada/connectors/x".parse().expect("name"),
            source: Source::Manual,
            spec: spec("https://mcp.example/a"),
            secrets: vec![secret("x-key", "https://mcp.example:443")],
            status: Status::first(Readiness::Ready, 1, at(1)),
            revisions: Revisions {
                generation: 1,
                ..Revisions::default()
            },
            create_time: at(1),
            update_time: at(1),
        }
    }

    #[test]
    fn a_secret_is_missing_until_it_is_set_and_bound_to_its_destination() {
        let set = [secret("x-key", "https://mcp.example:443")];
        assert_eq!(
            readiness(&spec("https://mcp.example/a"), &[]),
            Readiness::Blocked(SECRET_MISSING)
        );
        assert_eq!(
            readiness(&spec("https://mcp.example/a"), &set),
            Readiness::Ready
        );
        assert_eq!(
            readiness(&spec("https://mcp.example/b?c"), &set),
            Readiness::Ready
        );
        let elsewhere = spec("https://evil.example/a");
        assert_eq!(
            readiness(&elsewhere, &set),
            Readiness::Blocked(SECRET_NEEDS_REBIND)
        );
        let disabled = Spec {
            enabled: false,
            ..elsewhere
        };
        assert_eq!(readiness(&disabled, &set), Readiness::Disabled);
    }

    #[test]
    fn secrets_the_spec_no_longer_names_are_dropped() {
        let stored = [secret("x-key", "d"), secret("x-old", "d")];
        let dropped = dropped_secrets(&spec("https://mcp.example/"), &stored);
        assert_eq!(dropped, [secret("x-old", "d")]);
    }

    #[test]
    fn the_etag_follows_desired_changes_only() {
        let before = connector();
        let mut after = connector();
        after.revisions.revision += 5;
        after.revisions.status_revision += 1;
        assert_eq!(before.etag(), after.etag());
        after.revisions.desired_revision += 1;
        assert_ne!(before.etag(), after.etag());
        assert!(before.etag().starts_with('"') && before.etag().ends_with('"'));
    }

    #[test]
    fn only_what_sessions_depend_on_makes_a_new_generation() {
        let before = connector();
        let renamed = Spec {
            display_name: "New".into(),
            ..before.spec.clone()
        };
        assert_eq!(
            before
                .changed(renamed, before.secrets.clone(), at(9))
                .revisions
                .generation,
            1
        );
        let moved = before.changed(
            spec("https://other.example/"),
            before.secrets.clone(),
            at(9),
        );
        assert_eq!(moved.revisions.generation, 2);
        assert_eq!(moved.status.detail.reason, SECRET_NEEDS_REBIND);
        assert!(before.leads_elsewhere(&moved.spec));
        let unset = before.changed(before.spec.clone(), vec![], at(9));
        assert_eq!(
            (unset.revisions.generation, unset.reason(None)),
            (2, SECRET_MISSING)
        );
        assert!(!before.leads_elsewhere(&spec("https://mcp.example/other")));
    }

    #[test]
    fn a_silent_runtime_makes_a_status_stale() {
        let lease =
            lease::after_report(None, "a", 0, at(10), Duration::from_secs(30)).expect("free");
        let connector = connector();
        assert_eq!(connector.stale_since(Some(&lease), at(39)), None);
        assert_eq!(connector.stale_since(Some(&lease), at(41)), Some(at(40)));
        assert_eq!(connector.stale_since(None, at(41)), Some(at(1)));
        assert_eq!(connector.reason(Some(at(40))), RUNTIME_UNREACHABLE);
        let disabled = Spec {
            enabled: false,
            ..connector.spec.clone()
        };
        assert_eq!(
            connector
                .changed(disabled, connector.secrets.clone(), at(9))
                .stale_since(None, at(41)),
            None
        );
        let blocked = connector.changed(connector.spec.clone(), vec![], at(9));
        assert_eq!(
            (blocked.stale_since(None, at(41)), blocked.reason(None)),
            (None, SECRET_MISSING)
        );
    }

    #[test]
    fn settled_means_caught_up_decided_and_vouched_for() {
        let lease =
            lease::after_report(None, "a", 0, at(10), Duration::from_secs(30)).expect("free");
        let mut connector = connector();
        assert!(!connector.is_settled(Some(&lease), at(11)));
        connector.status.state = State::Ready;
        connector.status.observed_generation = 1;
        assert!(connector.is_settled(Some(&lease), at(11)));
        assert!(!connector.is_settled(Some(&lease), at(41)));
        connector.revisions.generation = 2;
        assert!(!connector.is_settled(Some(&lease), at(11)));
    }
}
