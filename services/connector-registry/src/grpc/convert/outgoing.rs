//! Domain values to messages. No secret value can get here: the domain has none.

use contracts::registry::v1 as pb;
use names::{ConnectorName, ConnectorUid, ToolName};
use prost_types::{Duration, Timestamp as PbTimestamp};

use crate::{
    domain::{
        connector::{Connector, Revisions, StoredSecret},
        spec::{
            Field, FieldValue, SecretField, SecretPlace, Source, Spec, Stdio, StreamableHttp,
            Timeouts, Transport,
        },
        state::{Condition, State},
        status::{self, Detail, Status},
        timestamp::Timestamp,
    },
    registry::{Effective, Resolved, ScopeFacts, Shown, ToolRow, Unresolved},
};

const DEFAULT_CONNECT: i64 = 10;
const DEFAULT_CALL: i64 = 60;

/// A connector with its status.
pub(in crate::grpc) fn full(shown: &Shown) -> pb::Connector {
    let Shown {
        connector: shown_connector,
        stale_since,
    } = shown;
    let status = observed_status(shown_connector, *stale_since);
    pb::Connector {
        status: Some(status),
        ..connector(shown_connector)
    }
}

/// A connector for those who only want to know what is desired.
pub(in crate::grpc) fn without_status(shown: &Shown) -> pb::Connector {
    connector(&shown.connector)
}

/// The desired fields of a connector; its status stays empty.
fn connector(connector: &Connector) -> pb::Connector {
    let etag = connector.etag();
    let Connector {
        uid,
        name,
        source,
        spec,
        secrets: _,
        status: _,
        revisions,
        create_time,
        update_time,
    } = connector;
    let Revisions {
        revision,
        desired_revision: _,
        generation,
        policy_generation,
        status_revision,
    } = revisions;
    let Spec {
        display_name,
        description,
        icon_uri,
        labels,
        enabled,
        transport,
        timeouts,
    } = spec;
    pb::Connector {
        name: name.to_string(),
        uid: uid.to_string(),
        display_name: display_name.clone(),
        description: description.clone(),
        icon_uri: icon_uri.clone(),
        transport: self::transport(transport),
        timeouts: self::timeouts(*timeouts),
        labels: labels.clone().into_iter().collect(),
        enabled: Some(*enabled),
        source: self::source(*source).into(),
        etag,
        revision: *revision,
        generation: *generation,
        policy_generation: *policy_generation,
        status_revision: *status_revision,
        create_time: Some(timestamp(*create_time)),
        update_time: Some(timestamp(*update_time)),
        secrets: spec
            .transport
            .secret_fields()
            .map(|field| secret_state(connector, &field))
            .collect(),
        status: None,
    }
}

fn transport(transport: &Transport) -> Option<pb::connector::Transport> {
    match transport {
        Transport::Stdio(Stdio {
            command,
            arguments,
            environment,
            working_directory,
        }) => Some(pb::connector::Transport::Stdio(pb::StdioTransport {
            command: command.clone(),
            arguments: arguments.clone(),
            environment: environment.iter().map(variable).collect(),
            working_directory: working_directory.clone(),
        })),
        Transport::StreamableHttp(StreamableHttp { url, headers }) => Some(
            pb::connector::Transport::StreamableHttp(pb::StreamableHttpTransport {
                url: url.clone(),
                headers: headers.iter().map(variable).collect(),
            }),
        ),
        Transport::Unknown => None,
    }
}

fn variable(
    Field {
        name,
        prefix,
        value,
    }: &Field,
) -> pb::Variable {
    let value = match value {
        FieldValue::Secret => None,
        FieldValue::Plain(value) => Some(pb::variable::Value::Plain(value.clone())),
    };
    pb::Variable {
        name: name.clone(),
        prefix: prefix.clone(),
        value,
    }
}

fn timeouts(Timeouts { connect, call }: Timeouts) -> Option<pb::Timeouts> {
    let duration = |limit: std::time::Duration| Duration {
        seconds: i64::try_from(limit.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(limit.subsec_nanos()).unwrap_or_default(),
    };
    let is_set = connect.is_some() || call.is_some();
    is_set.then(|| pb::Timeouts {
        connect: connect.map(duration),
        call: call.map(duration),
    })
}

fn secret_state(connector: &Connector, field: &SecretField) -> pb::SecretState {
    let stored = connector.secret(field);
    pb::SecretState {
        place: place(field.place).into(),
        name: field.name.clone(),
        set: stored.is_some(),
        update_time: stored.map(|secret| timestamp(secret.update_time)),
        fingerprint: stored
            .map(|secret| secret.location.fingerprint.clone())
            .unwrap_or_default(),
        needs_rebind: stored.is_some_and(|secret| connector.needs_rebind(secret)),
    }
}

fn observed_status(connector: &Connector, stale: Option<Timestamp>) -> pb::ConnectorStatus {
    let reason = connector.reason(stale).to_owned();
    let Status {
        state,
        observed_generation,
        tool_count,
        detail,
    } = &connector.status;
    let Detail {
        reason: own_reason,
        message,
        stage,
        since,
        consecutive_failures,
        last_success,
        next_attempt,
        sync,
        protocol_version,
        server_info,
    } = detail;
    let message = if *own_reason == reason {
        message.clone()
    } else {
        status::message(&reason).to_owned()
    };
    pb::ConnectorStatus {
        state: self::state(*state).into(),
        condition: condition(state.condition()).into(),
        reason,
        message,
        since: since.map(timestamp),
        consecutive_failures: *consecutive_failures,
        last_success_time: last_success.map(timestamp),
        next_attempt_time: next_attempt.map(timestamp),
        observed_generation: *observed_generation,
        tool_count: *tool_count,
        sync_time: sync.map(timestamp),
        protocol_version: protocol_version.clone(),
        server_info: server_info.clone(),
        stale_since: stale.map(timestamp),
        stage: stage.clone(),
    }
}

/// A moment.
pub(in crate::grpc) fn timestamp(time: Timestamp) -> PbTimestamp {
    let micros = time.micros();
    PbTimestamp {
        seconds: micros.div_euclid(1_000_000),
        nanos: i32::try_from(micros.rem_euclid(1_000_000) * 1_000).unwrap_or_default(),
    }
}

fn place(place: SecretPlace) -> pb::SecretPlace {
    match place {
        SecretPlace::Environment => pb::SecretPlace::Environment,
        SecretPlace::Header => pb::SecretPlace::Header,
    }
}

fn source(source: Source) -> pb::Source {
    match source {
        Source::Manual => pb::Source::Manual,
    }
}

fn state(state: State) -> pb::ConnectorState {
    match state {
        State::Pending => pb::ConnectorState::Pending,
        State::Connecting => pb::ConnectorState::Connecting,
        State::Ready => pb::ConnectorState::Ready,
        State::Idle => pb::ConnectorState::Idle,
        State::Degraded => pb::ConnectorState::Degraded,
        State::Unreachable => pb::ConnectorState::Unreachable,
        State::AuthRequired => pb::ConnectorState::AuthRequired,
        State::Misconfigured => pb::ConnectorState::Misconfigured,
        State::Disabled => pb::ConnectorState::Disabled,
    }
}

fn condition(condition: Condition) -> pb::Condition {
    match condition {
        Condition::Connected => pb::Condition::Connected,
        Condition::Error => pb::Condition::Error,
        Condition::Disconnected => pb::Condition::Disconnected,
    }
}

/// A connector that is gone.
pub(in crate::grpc) fn deleted(uid: ConnectorUid, name: &ConnectorName) -> pb::DeletedConnector {
    pb::DeletedConnector {
        name: name.to_string(),
        uid: uid.to_string(),
    }
}

/// A tool.
pub(in crate::grpc) fn tool(row: ToolRow) -> pb::Tool {
    let ToolRow {
        connector,
        name,
        position: _,
        hash,
        title,
        description,
        json,
    } = row;
    let resource = ToolName::new(connector, name.clone());
    pb::Tool {
        name: resource.map(|name| name.to_string()).unwrap_or_default(),
        tool_name: name,
        title,
        description,
        definition_hash: hash,
        definition_json: json,
    }
}

/// The facts about a scope.
pub(in crate::grpc) fn scope(facts: ScopeFacts) -> pb::Scope {
    let ScopeFacts {
        name,
        quota,
        used,
        stdio,
        plain_http,
        private,
    } = facts;
    let seconds = |seconds| Some(Duration { seconds, nanos: 0 });
    let schemes: &[&str] = if plain_http {
        &["https", "http"]
    } else {
        &["https"]
    };
    pb::Scope {
        name: name.to_string(),
        connector_quota: quota.unwrap_or_default(),
        connector_count: u32::try_from(used).unwrap_or(u32::MAX),
        stdio_allowed: stdio,
        url_schemes: schemes.iter().map(|scheme| (*scheme).to_owned()).collect(),
        private_addresses_allowed: private,
        default_timeouts: Some(pb::Timeouts {
            connect: seconds(DEFAULT_CONNECT),
            call: seconds(DEFAULT_CALL),
        }),
    }
}

/// What the runtime needs to connect, or why it cannot.
pub(in crate::grpc) fn resolved(name: &ConnectorName, resolved: Resolved) -> pb::ResolvedConnector {
    use pb::resolved_connector::Outcome;
    let outcome = match resolved {
        Resolved::Effective(effective) => Outcome::Effective(self::effective(*effective)),
        Resolved::Unresolved(Unresolved { reason, message }) => {
            Outcome::Unresolved(pb::Unresolved {
                reason: reason.to_owned(),
                message: message.to_owned(),
            })
        }
    };
    pb::ResolvedConnector {
        name: name.to_string(),
        outcome: Some(outcome),
    }
}

fn effective(
    Effective {
        shown,
        grant,
        destination,
        secrets,
    }: Effective,
) -> pb::EffectiveConnector {
    let mut bindings: Vec<pb::SecretBinding> = Vec::new();
    for secret in secrets {
        let binding = binding(secret);
        // The variables of one connector share one version.
        if !bindings.contains(&binding) {
            bindings.push(binding);
        }
    }
    pb::EffectiveConnector {
        connector: Some(full(&shown)),
        grant_token: grant
            .map(|token| token.expose().to_owned())
            .unwrap_or_default(),
        destination,
        secrets: bindings,
    }
}

fn binding(
    StoredSecret {
        field,
        location,
        destination: _,
        update_time: _,
    }: StoredSecret,
) -> pb::SecretBinding {
    let field_name = match field.place {
        SecretPlace::Environment => String::new(),
        SecretPlace::Header => field.name,
    };
    pb::SecretBinding {
        secret_version: location.secret.version(location.version).to_string(),
        place: place(field.place).into(),
        field_name,
    }
}
