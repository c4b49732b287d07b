//! From what the vault knows to messages.

use std::time::SystemTime;

use contracts::vault::v1 as pb;
use prost_types::Timestamp;

use crate::domain::{FieldKind, Micros, SecretView, VersionState};
use crate::vault::{Released, ReleasedSecret};

pub(super) fn timestamp(at: Micros) -> Timestamp {
    SystemTime::from(at).into()
}

pub(super) fn field_kind(kind: FieldKind) -> pb::FieldKind {
    match kind {
        FieldKind::Environment => pb::FieldKind::Environment,
        FieldKind::Header => pb::FieldKind::Header,
        FieldKind::Query => pb::FieldKind::Query,
        FieldKind::EnvironmentBlob => pb::FieldKind::EnvironmentBlob,
    }
}

fn state(state: VersionState) -> pb::SecretVersionState {
    match state {
        VersionState::Active => pb::SecretVersionState::Active,
        VersionState::Superseded => pb::SecretVersionState::Superseded,
        VersionState::Destroyed => pb::SecretVersionState::Destroyed,
    }
}

/// A secret with the version of the view.
pub(super) fn secret(view: SecretView) -> pb::Secret {
    pb::Secret {
        name: view.secret.name().to_string(),
        connector_uid: view.secret.connector.to_string(),
        field_kind: field_kind(view.secret.field.kind).into(),
        field_name: view.secret.field.name.clone(),
        create_time: Some(timestamp(view.secret.create_time)),
        current_version: Some(version(&view)),
    }
}

/// The version of the view.
pub(super) fn version(view: &SecretView) -> pb::SecretVersion {
    let version = &view.version;
    pb::SecretVersion {
        name: view.secret.name().version(version.version).to_string(),
        state: state(version.state).into(),
        create_time: Some(timestamp(version.create_time)),
        length_bucket: version.length_bucket,
        fingerprint: version
            .told_fingerprint()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect(),
        destinations: view
            .destination
            .as_ref()
            .map(|record| record.destinations.as_slice().to_vec())
            .unwrap_or_default(),
    }
}

/// The answer that releases plaintext: the only copy outside of a buffer that wipes itself, because what
/// prost and tonic encode from cannot be one.
pub(super) fn released(released: Released) -> pb::RedeemGrantResponse {
    let Released {
        secrets,
        lease,
        lease_expire_time,
    } = released;
    let secrets = secrets.into_iter().map(|secret| {
        let ReleasedSecret { name, field, value } = secret;
        pb::ReleasedSecret {
            secret_version: name.to_string(),
            field_kind: field_kind(field.kind).into(),
            field_name: field.name,
            value: value.expose().to_vec(),
        }
    });
    pb::RedeemGrantResponse {
        secrets: secrets.collect(),
        lease_token: lease.expose().to_owned(),
        lease_expire_time: Some(timestamp(lease_expire_time)),
    }
}
