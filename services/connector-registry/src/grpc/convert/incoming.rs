//! Messages to domain values, parsed once. What is wrong is collected and named by its path in the message.

use std::{fmt::Display, str::FromStr, time::Duration};

use contracts::registry::v1 as pb;
use names::{ConnectorName, ScopeName, ScopeSelector};
use sensitive::Text;
use uuid::Uuid;

use crate::{
    domain::{
        draft::{Draft, FieldDraft, SecretValue, TransportDraft, ValueDraft},
        feed::Position,
        filter::Filter,
        order::{Cursor, Order},
        spec::{SecretField, SecretPlace, Timeouts},
        violation::{Findings, Violations},
    },
    registry::{CreateRequest, ListRequest, Selection, SetSecretsRequest, ToolDetail, ToolScope},
};

const MAX_PARENTS: usize = 100;

/// A name in a field.
pub(in crate::grpc) fn parse_name<T>(field: &str, text: &str) -> Result<T, Violations>
where
    T: FromStr,
    T::Err: Display,
{
    text.parse()
        .map_err(|error: T::Err| Violations::one(field, error.to_string()))
}

/// A connector's name in the field `name`.
pub(in crate::grpc) fn connector_name(text: &str) -> Result<ConnectorName, Violations> {
    parse_name("name", text)
}

/// A UUID in a field; an empty field is none.
pub(in crate::grpc) fn uuid_field(field: &str, text: &str) -> Result<Option<Uuid>, Violations> {
    if text.is_empty() {
        return Ok(None);
    }
    // `try_parse` knows several spellings; a request id has one.
    match Uuid::try_parse(text) {
        Ok(uuid) if uuid.hyphenated().to_string() == text => Ok(Some(uuid)),
        Ok(_) | Err(_) => Err(Violations::one(
            field,
            "is a UUID in lower case with hyphens",
        )),
    }
}

/// A duration in a field. A negative one becomes zero, which every range check refuses.
pub(in crate::grpc) fn duration(duration: &prost_types::Duration) -> Duration {
    match (
        u64::try_from(duration.seconds),
        u32::try_from(duration.nanos),
    ) {
        (Ok(seconds), Ok(nanos)) if nanos < 1_000_000_000 => Duration::new(seconds, nanos),
        _ => Duration::ZERO,
    }
}

/// A request to create a connector.
pub(in crate::grpc) fn create_request(
    principal: &str,
    request: pb::CreateConnectorRequest,
) -> Result<CreateRequest, Violations> {
    let pb::CreateConnectorRequest {
        parent,
        connector_id,
        connector,
        request_id,
        validate_only,
    } = request;
    let id = match connector_id.as_str() {
        "" => None,
        id => Some(parse_name("connector_id", id)?),
    };
    let connector = connector.ok_or_else(|| Violations::one("connector", "is required"))?;
    Ok(CreateRequest {
        principal: principal.to_owned(),
        scope: parse_name("parent", &parent)?,
        id,
        draft: draft(connector),
        request_id: uuid_field("request_id", &request_id)?,
        validate_only,
    })
}

/// A connector as a caller wrote it. Output fields are ignored, as AIP-203 asks.
pub(in crate::grpc) fn draft(connector: pb::Connector) -> Draft {
    let pb::Connector {
        name: _,
        uid: _,
        display_name,
        description,
        icon_uri,
        transport,
        timeouts,
        labels,
        enabled,
        source: _,
        etag: _,
        revision: _,
        generation: _,
        policy_generation: _,
        status_revision: _,
        create_time: _,
        update_time: _,
        secrets: _,
        status: _,
    } = connector;
    Draft {
        display_name,
        description,
        icon_uri,
        labels: labels.into_iter().collect(),
        enabled,
        transport: transport.map(transport_draft),
        timeouts: timeouts.map(|pb::Timeouts { connect, call }| Timeouts {
            connect: connect.as_ref().map(duration),
            call: call.as_ref().map(duration),
        }),
    }
}

fn transport_draft(transport: pb::connector::Transport) -> TransportDraft {
    match transport {
        pb::connector::Transport::Stdio(pb::StdioTransport {
            command,
            arguments,
            environment,
            working_directory,
        }) => TransportDraft::Stdio {
            command,
            arguments,
            environment: environment.into_iter().map(field_draft).collect(),
            working_directory,
        },
        pb::connector::Transport::StreamableHttp(pb::StreamableHttpTransport { url, headers }) => {
            TransportDraft::StreamableHttp {
                url,
                headers: headers.into_iter().map(field_draft).collect(),
            }
        }
    }
}

fn field_draft(
    pb::Variable {
        name,
        prefix,
        value,
    }: pb::Variable,
) -> FieldDraft {
    let value = match value {
        None => ValueDraft::Declared,
        Some(pb::variable::Value::Secret(value)) => ValueDraft::Secret(Text::new(value)),
        Some(pb::variable::Value::Plain(value)) => ValueDraft::Plain(value),
    };
    FieldDraft {
        name,
        prefix,
        value,
    }
}

/// A request to set and remove values of secrets.
pub(in crate::grpc) fn secrets_request(
    principal: &str,
    request: pb::SetConnectorSecretsRequest,
) -> Result<SetSecretsRequest, Violations> {
    let pb::SetConnectorSecretsRequest {
        name,
        values,
        unset,
        etag,
        request_id,
    } = request;
    let mut findings = Findings::under("");
    let mut set = Vec::with_capacity(values.len());
    for (at, pb::SecretValue { place, name, value }) in values.into_iter().enumerate() {
        let value = Text::new(value);
        match secret_field(place, &name) {
            Some(field) => set.push(SecretValue { field, value }),
            None => findings.add(&format!("values[{at}].place"), "is ENVIRONMENT or HEADER"),
        }
    }
    let mut gone = Vec::with_capacity(unset.len());
    for (at, pb::SecretReference { place, name }) in unset.into_iter().enumerate() {
        match secret_field(place, &name) {
            Some(field) => gone.push(field),
            None => findings.add(&format!("unset[{at}].place"), "is ENVIRONMENT or HEADER"),
        }
    }
    findings.finish(())?;
    Ok(SetSecretsRequest {
        principal: principal.to_owned(),
        name: connector_name(&name)?,
        set,
        unset: gone,
        etag: (!etag.is_empty()).then_some(etag),
        request_id: uuid_field("request_id", &request_id)?,
    })
}

fn secret_field(place: i32, name: &str) -> Option<SecretField> {
    let place = match pb::SecretPlace::try_from(place).ok()? {
        pb::SecretPlace::Environment => SecretPlace::Environment,
        pb::SecretPlace::Header => SecretPlace::Header,
        pb::SecretPlace::Unspecified => return None,
    };
    Some(SecretField::new(place, name))
}

/// A page of connectors to read; its size and position were read already.
pub(in crate::grpc) fn list_request(
    parent: &str,
    filter: &str,
    order_by: &str,
    after: Option<Cursor>,
    limit: u32,
) -> Result<ListRequest, Violations> {
    let selector: ScopeSelector = parse_name("parent", parent)?;
    Ok(ListRequest {
        selection: Selection::Scopes(vec![selector]),
        filter: parse_name::<Filter>("filter", filter)?,
        order: parse_name::<Order>("order_by", order_by)?,
        after,
        limit,
    })
}

/// Whose tools: those of a connector, or of `{scope}/connectors/-`.
pub(in crate::grpc) fn tool_scope(parent: &str) -> Result<ToolScope, Violations> {
    match parent.strip_suffix("/connectors/-") {
        Some(scope) => Ok(ToolScope::Scope(parse_name::<ScopeName>("parent", scope)?)),
        None => Ok(ToolScope::Connector(parse_name("parent", parent)?)),
    }
}

/// How much of each tool a view shows.
pub(in crate::grpc) fn tool_detail(view: pb::ToolView) -> ToolDetail {
    match view {
        pb::ToolView::Full => ToolDetail::Full,
        pb::ToolView::Basic | pb::ToolView::Unspecified => ToolDetail::Basic,
    }
}

/// What a watch is about; no parents means everything, which was authorised before.
pub(in crate::grpc) fn selection(parents: &[String]) -> Result<Selection, Violations> {
    if parents.is_empty() {
        return Ok(Selection::Everything);
    }
    let mut findings = Findings::under("");
    if parents.len() > MAX_PARENTS {
        findings.add("parents", "at most 100 are allowed");
    }
    let mut selectors = Vec::new();
    for (at, parent) in parents.iter().enumerate().take(MAX_PARENTS) {
        match parent.parse::<ScopeSelector>() {
            Ok(selector) => selectors.push(selector),
            Err(error) => findings.add(&format!("parents[{at}]"), error.to_string()),
        }
    }
    findings.finish(Selection::Scopes(selectors))
}

/// Where a watch goes on; an empty token begins with a snapshot.
pub(in crate::grpc) fn resume_token(token: &str) -> Result<Option<Position>, Violations> {
    match token {
        "" => Ok(None),
        token => parse_name("resume_token", token).map(Some),
    }
}
