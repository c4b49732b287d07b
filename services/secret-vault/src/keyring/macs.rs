//! Keyed digests: what makes a stored record impossible to edit, a token impossible to find in the
//! database, and equal values recognisable without being readable.
//!
//! Every record has a label of its own and every part its length, so that no record can pass for
//! another. Numbers are big-endian.

use envelope::{MacKey, ScopeHash};
use names::ScopeName;
use sensitive::Bytes;
use uuid::Uuid;

use crate::domain::{
    AuditEvent, DestinationRecord, GrantRecord, Holder, LeaseRecord, SecretRecord,
};

/// Bytes of a fingerprint that are kept.
const FINGERPRINT: usize = 8;

/// The three system keys.
pub(crate) struct Macs {
    pub(super) audit: MacKey,
    pub(super) grant: MacKey,
    pub(super) fingerprint: MacKey,
}

impl Macs {
    /// Equal values of one scope have equal fingerprints; across scopes they say nothing.
    pub(crate) fn fingerprint(&self, scope: &ScopeName, value: &Bytes) -> Vec<u8> {
        let scope = ScopeHash::of(&scope.to_string());
        let tag = self
            .fingerprint
            .tag("fingerprint", &[scope.as_bytes(), value.expose()]);
        tag[..FINGERPRINT].to_vec()
    }

    /// Recognises a repeated write without keeping what was written.
    pub(crate) fn request(&self, parts: &[&[u8]]) -> Vec<u8> {
        self.fingerprint.tag("request", parts).to_vec()
    }

    /// What the database keeps of a grant token.
    pub(crate) fn grant_token(&self, token: &str) -> Vec<u8> {
        self.grant.tag("grant-token", &[token.as_bytes()]).to_vec()
    }

    /// What the database keeps of a lease token.
    pub(crate) fn lease_token(&self, token: &str) -> Vec<u8> {
        self.grant.tag("lease-token", &[token.as_bytes()]).to_vec()
    }

    pub(crate) fn destination(&self, record: &DestinationRecord) -> Vec<u8> {
        self.with_destination(record, |parts| {
            self.audit.tag("destination", parts).to_vec()
        })
    }

    pub(crate) fn is_destination(&self, record: &DestinationRecord) -> bool {
        self.with_destination(record, |parts| {
            self.audit.verify("destination", parts, &record.mac)
        })
    }

    fn with_destination<T>(
        &self,
        record: &DestinationRecord,
        then: impl FnOnce(&[&[u8]]) -> T,
    ) -> T {
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

    pub(crate) fn head(&self, record: &SecretRecord) -> Vec<u8> {
        with_head(record, |parts| self.audit.tag("head", parts).to_vec())
    }

    pub(crate) fn is_head(&self, record: &SecretRecord) -> bool {
        with_head(record, |parts| {
            self.audit.verify("head", parts, &record.head_mac)
        })
    }

    pub(crate) fn grant(&self, record: &GrantRecord) -> Vec<u8> {
        with_grant(record, |parts| self.grant.tag("grant", parts).to_vec())
    }

    pub(crate) fn is_grant(&self, record: &GrantRecord) -> bool {
        with_grant(record, |parts| {
            self.grant.verify("grant", parts, &record.mac)
        })
    }

    pub(crate) fn lease(&self, record: &LeaseRecord) -> Vec<u8> {
        with_lease(record, |parts| self.grant.tag("lease", parts).to_vec())
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
        self.audit
            .tag(
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
            .to_vec()
    }
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
