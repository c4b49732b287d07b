//! Rows to domain values and back.
//!
//! Invariant: a row written by a newer release never fails a whole query; what this release does not know becomes the
//! unknown variant (see [`Transport::Unknown`]). A row that cannot be read at all is an [`Error::Corrupt`].

use std::collections::{BTreeMap, HashMap};

use names::{ConnectorName, ConnectorUid, ScopeKind, ScopeName};
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, ConnectionTrait, EntityTrait as _, QueryFilter as _,
};
use uuid::Uuid;

use super::{
    Error,
    entity::{connector, label, lease, secret},
};
use crate::domain::{
    connector::{Connector, Revisions, SecretLocation, StoredSecret},
    lease::Lease,
    spec::{SecretField, SecretPlace, Source, Spec, Timeouts, Transport},
    state::State,
    status::{Detail, Status},
    timestamp::Timestamp,
};

/// Not yet published: its secrets are being sealed.
pub(super) const PROVISIONING: &str = "PROVISIONING";
/// Published.
pub(super) const LIVE: &str = "LIVE";

/// The connectors of these rows, in their order, with their secrets.
pub(super) async fn connectors(
    connection: &impl ConnectionTrait,
    rows: Vec<connector::Model>,
) -> Result<Vec<Connector>, Error> {
    let uids: Vec<Uuid> = rows.iter().map(|row| row.uid).collect();
    let mut secrets: HashMap<Uuid, Vec<StoredSecret>> = HashMap::new();
    if !uids.is_empty() {
        let found = secret::Entity::find().filter(secret::Column::ConnectorUid.is_in(uids));
        for row in found.all(connection).await? {
            secrets
                .entry(row.connector_uid)
                .or_default()
                .push(stored_secret(row)?);
        }
    }
    rows.into_iter()
        .map(|row| {
            let secrets = secrets.remove(&row.uid).unwrap_or_default();
            read(row, secrets)
        })
        .collect()
}

fn read(row: connector::Model, secrets: Vec<StoredSecret>) -> Result<Connector, Error> {
    let scope: ScopeName = row
        .scope
        .parse()
        .map_err(|_| Error::Corrupt("connectors.scope"))?;
    let id = row
        .connector_id
        .parse()
        .map_err(|_| Error::Corrupt("connectors.connector_id"))?;
    let status = Status {
        state: State::from_name(&row.state).unwrap_or(State::Pending),
        observed_generation: row.observed_generation,
        tool_count: u32::try_from(row.tool_count).unwrap_or_default(),
        detail: serde_json::from_str(&row.status).unwrap_or_else(|_| Detail::default()),
    };
    let mut connector = Connector {
        uid: ConnectorUid::new(row.uid),
        name: ConnectorName::new(scope, id),
        source: Source::from_name(&row.source).unwrap_or(Source::Manual),
        spec: serde_json::from_str(&row.spec).unwrap_or_else(|_| unknown_spec(&row)),
        secrets,
        status,
        revisions: Revisions {
            revision: row.revision,
            desired_revision: row.desired_revision,
            generation: row.generation,
            policy_generation: row.policy_generation,
            status_revision: row.status_revision,
        },
        create_time: Timestamp::from_micros(row.create_time),
        update_time: Timestamp::from_micros(row.update_time),
    };
    // Whatever was observed, this release cannot make a session of it.
    if connector.spec.transport == Transport::Unknown {
        let generation = connector.revisions.generation;
        let readiness = connector.readiness();
        connector.status =
            connector
                .status
                .after_change(readiness, generation, connector.update_time);
    }
    Ok(connector)
}

/// What the columns tell of a spec that cannot be read.
fn unknown_spec(row: &connector::Model) -> Spec {
    Spec {
        display_name: row.display_name.clone(),
        description: String::new(),
        icon_uri: String::new(),
        labels: BTreeMap::new(),
        enabled: row.enabled,
        transport: Transport::Unknown,
        timeouts: Timeouts::default(),
    }
}

/// The reference of a row.
pub(super) fn stored_secret(row: secret::Model) -> Result<StoredSecret, Error> {
    let place =
        SecretPlace::from_name(&row.kind).ok_or(Error::Corrupt("connector_secrets.kind"))?;
    Ok(StoredSecret {
        field: SecretField::new(place, &row.field),
        location: SecretLocation {
            secret: row
                .secret_name
                .parse()
                .map_err(|_| Error::Corrupt("connector_secrets.secret_name"))?,
            version: u64::try_from(row.version)
                .map_err(|_| Error::Corrupt("connector_secrets.version"))?,
            fingerprint: row.fingerprint,
        },
        destination: row.destination,
        update_time: Timestamp::from_micros(row.update_time),
    })
}

/// The row of a connector in this phase.
pub(super) fn connector_row(
    connector: &Connector,
    phase: &str,
) -> Result<connector::ActiveModel, Error> {
    let Connector {
        uid,
        name,
        source,
        spec,
        secrets: _,
        status,
        revisions,
        create_time,
        update_time,
    } = connector;
    Ok(connector::ActiveModel {
        uid: Set(uid.as_uuid()),
        scope: Set(name.scope().to_string()),
        scope_kind: Set(scope_kind(name.scope().kind()).to_owned()),
        connector_id: Set(name.id().to_string()),
        phase: Set(phase.to_owned()),
        source: Set(source.as_str().to_owned()),
        transport: Set(spec.transport.kind().as_str().to_owned()),
        enabled: Set(spec.enabled),
        display_name: Set(spec.display_name.clone()),
        spec: Set(serde_json::to_string(spec).map_err(Error::Json)?),
        state: Set(status.state.as_str().to_owned()),
        status: Set(serde_json::to_string(&status.detail).map_err(Error::Json)?),
        tool_count: Set(i32::try_from(status.tool_count).unwrap_or(i32::MAX)),
        observed_generation: Set(status.observed_generation),
        generation: Set(revisions.generation),
        policy_generation: Set(revisions.policy_generation),
        status_revision: Set(revisions.status_revision),
        desired_revision: Set(revisions.desired_revision),
        revision: Set(revisions.revision),
        create_time: Set(create_time.micros()),
        update_time: Set(update_time.micros()),
    })
}

/// The rows of a connector's labels.
pub(super) fn label_rows(connector: &Connector) -> impl Iterator<Item = label::ActiveModel> {
    let uid = connector.uid.as_uuid();
    connector
        .spec
        .labels
        .iter()
        .map(move |(key, value)| label::ActiveModel {
            connector_uid: Set(uid),
            label_key: Set(key.clone()),
            label_value: Set(value.clone()),
        })
}

/// The rows of a connector's secrets.
pub(super) fn secret_rows(connector: &Connector) -> Result<Vec<secret::ActiveModel>, Error> {
    let uid = connector.uid.as_uuid();
    connector
        .secrets
        .iter()
        .map(|stored| {
            let StoredSecret {
                field,
                location,
                destination,
                update_time,
            } = stored;
            Ok(secret::ActiveModel {
                connector_uid: Set(uid),
                kind: Set(field.place.as_str().to_owned()),
                field: Set(field.name.clone()),
                secret_name: Set(location.secret.to_string()),
                version: Set(i64::try_from(location.version)
                    .map_err(|_| Error::Corrupt("connector_secrets.version"))?),
                fingerprint: Set(location.fingerprint.clone()),
                destination: Set(destination.clone()),
                update_time: Set(update_time.micros()),
            })
        })
        .collect()
}

/// The lease of a row.
pub(super) fn lease(row: lease::Model) -> Lease {
    Lease {
        instance: row.instance,
        epoch: row.epoch,
        expires: Timestamp::from_micros(row.expire_time),
    }
}

/// The text that stands for a kind of scope in a column.
pub(super) fn scope_kind(kind: ScopeKind) -> &'static str {
    match kind {
        ScopeKind::User => "USER",
        ScopeKind::Project => "PROJECT",
        ScopeKind::System => "SYSTEM",
    }
}
