//! Keyed digests: what makes a stored record impossible to edit, a token impossible to find in the
//! database, and equal values recognisable without being readable.
//!
//! Every record has a label of its own and every part its length, so that no record can pass for
//! another. Numbers are big-endian. Whatever is stored begins with version and key term
//! (`envelope::MacRing`), so that a key can get another term without a row being touched.

use envelope::{MacRing, ScopeHash, TAG_PREFIX};
use names::ScopeName;
use sensitive::Bytes;
use uuid::Uuid;

use crate::domain::{
    AuditEvent, DestinationRecord, FINGERPRINT, GrantRecord, Holder, LeaseRecord, SecretRecord,
};

/// The three system keys, each in all its terms.
pub(crate) struct Macs {
    pub(super) audit: MacRing,
    pub(super) grant: MacRing,
    pub(super) fingerprint: MacRing,
}

/// Digests of one thing in every term of a key: the newest is stored, any of them finds it again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Digests(Vec<Vec<u8>>);

impl Digests {
    /// What is stored.
    pub(crate) fn newest(&self) -> &[u8] {
        self.0.first().map(Vec::as_slice).unwrap_or_default()
    }

    /// What is looked for.
    pub(crate) fn every(&self) -> &[Vec<u8>] {
        &self.0
    }

    /// Whether `stored` is one of them. The digests are keyed: how long comparing takes tells nothing.
    pub(crate) fn contains(&self, stored: &[u8]) -> bool {
        self.0.iter().any(|digest| digest == stored)
    }
}

impl Macs {
    /// Equal values of one scope have equal fingerprints under one term; across scopes they say nothing.
    pub(crate) fn fingerprint(&self, scope: &ScopeName, value: &Bytes) -> Vec<u8> {
        let scope = ScopeHash::of(&scope.to_string());
        let mut tag = self
            .fingerprint
            .tag("fingerprint", &[scope.as_bytes(), value.expose()]);
        tag.truncate(TAG_PREFIX + FINGERPRINT);
        tag
    }

    /// Recognises a repeated write without keeping what was written.
    pub(crate) fn request(&self, parts: &[&[u8]]) -> Digests {
        Digests(self.fingerprint.every("request", parts))
    }

    /// What the database keeps of a grant token.
    pub(crate) fn grant_token(&self, token: &str) -> Digests {
        Digests(self.grant.every("grant-token", &[token.as_bytes()]))
    }

    /// What the database keeps of a lease token.
    pub(crate) fn lease_token(&self, token: &str) -> Digests {
        Digests(self.grant.every("lease-token", &[token.as_bytes()]))
    }

    pub(crate) fn destination(&self, record: &DestinationRecord) -> Vec<u8> {
        with_destination(record, |parts| self.audit.tag("destination", parts))
    }

    pub(crate) fn is_destination(&self, record: &DestinationRecord) -> bool {
        with_destination(record, |parts| {
            self.audit.verify("destination", parts, &record.mac)
        })
    }

    pub(crate) fn head(&self, record: &SecretRecord) -> Vec<u8> {
        with_head(record, |parts| self.audit.tag("head", parts))
    }

    pub(crate) fn is_head(&self, record: &SecretRecord) -> bool {
        with_head(record, |parts| {
            self.audit.verify("head", parts, &record.head_mac)
        })
    }

    pub(crate) fn grant(&self, record: &GrantRecord) -> Vec<u8> {
        with_grant(record, |parts| self.grant.tag("grant", parts))
    }

    pub(crate) fn is_grant(&self, record: &GrantRecord) -> bool {
        with_grant(record, |parts| {
            self.grant.verify("grant", parts, &record.mac)
        })
    }

    pub(crate) fn lease(&self, record: &LeaseRecord) -> Vec<u8> {
        with_lease(record, |parts| self.grant.tag("lease", parts))
    }

    pub(crate) fn is_lease(&self, record: &LeaseRecord) -> bool {
        with_lease(record, |parts| {
            self.grant.verify("lease", parts, &record.mac)
        })
    }

    /// The link of the audit chain for `event` at `seq` behind a row with MAC `prev`.
    pub(crate) fn audit(&self, event: &AuditEvent, seq: u64, prev: &[u8]) -> Vec<u8> {
        let AuditEvent {
            scope,
            time,
            actor,
            acting_user,
            method,
            connector,
            secret,
            version,
            grant,
            lease,
            decision,
            reason,
            request_id,
        } = event;
        let id = |id: &Option<Uuid>| optional(id.as_ref().map(|id| id.as_bytes().as_slice()));
        let version = version.map(u64::to_be_bytes);
        self.audit.tag(
            "audit",
            &[
                scope.to_string().as_bytes(),
                &seq.to_be_bytes(),
                &time.0.to_be_bytes(),
                actor.as_bytes(),
                &optional(acting_user.as_ref().map(String::as_bytes)),
                method.as_str().as_bytes(),
                &id(connector),
                &id(secret),
                &optional(version.as_ref().map(<[u8; 8]>::as_slice)),
                &id(grant),
                &id(lease),
                decision.as_str().as_bytes(),
                reason.as_str().as_bytes(),
                &id(request_id),
                prev,
            ],
        )
    }
}

fn with_destination<T>(record: &DestinationRecord, then: impl FnOnce(&[&[u8]]) -> T) -> T {
    let DestinationRecord {
        id,
        scope,
        connector,
        destinations,
        record_version,
        mac: _,
        create_time,
    } = record;
    then(&[
        id.as_bytes(),
        scope.to_string().as_bytes(),
        connector.as_bytes(),
        destinations.to_json().as_bytes(),
        &record_version.to_be_bytes(),
        &create_time.0.to_be_bytes(),
    ])
}

fn with_head<T>(record: &SecretRecord, then: impl FnOnce(&[&[u8]]) -> T) -> T {
    let SecretRecord {
        id,
        scope,
        connector,
        field,
        current_version,
        destination,
        state,
        head_mac: _,
        create_time: _,
        update_time: _,
    } = record;
    then(&[
        id.as_bytes(),
        scope.to_string().as_bytes(),
        connector.as_bytes(),
        &field.kind.code().to_be_bytes(),
        field.name.as_bytes(),
        &current_version.to_be_bytes(),
        destination.as_bytes(),
        state.as_str().as_bytes(),
    ])
}

fn with_grant<T>(record: &GrantRecord, then: impl FnOnce(&[&[u8]]) -> T) -> T {
    let GrantRecord {
        id,
        token_mac,
        scope,
        connector,
        destination,
        holder:
            Holder {
                subject,
                instance_id,
                lease_epoch,
            },
        secrets,
        create_time,
        expire_time,
        mac: _,
    } = record;
    let secrets: Vec<u8> = secrets
        .iter()
        .flat_map(|secret| {
            secret
                .secret
                .as_bytes()
                .iter()
                .copied()
                .chain(secret.version.to_be_bytes())
        })
        .collect();
    then(&[
        id.as_bytes(),
        token_mac,
        scope.to_string().as_bytes(),
        connector.as_bytes(),
        destination.as_bytes(),
        subject.as_bytes(),
        instance_id.as_bytes(),
        &lease_epoch.to_be_bytes(),
        &secrets,
        &create_time.0.to_be_bytes(),
        &expire_time.0.to_be_bytes(),
    ])
}

fn with_lease<T>(record: &LeaseRecord, then: impl FnOnce(&[&[u8]]) -> T) -> T {
    let LeaseRecord {
        id,
        token_mac,
        grant,
        scope,
        connector,
        holder:
            Holder {
                subject,
                instance_id,
                lease_epoch,
            },
        state,
        create_time,
        expire_time,
        mac: _,
    } = record;
    then(&[
        id.as_bytes(),
        token_mac,
        grant.as_bytes(),
        scope.to_string().as_bytes(),
        connector.as_bytes(),
        subject.as_bytes(),
        instance_id.as_bytes(),
        &lease_epoch.to_be_bytes(),
        state.as_str().as_bytes(),
        &create_time.0.to_be_bytes(),
        &expire_time.0.to_be_bytes(),
    ])
}

/// Tells an absent part from an empty one.
fn optional(part: Option<&[u8]>) -> Vec<u8> {
    match part {
        None => vec![0],
        Some(part) => [&[1], part].concat(),
    }
}
