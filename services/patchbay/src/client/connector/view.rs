//! Connectors for people.

use contracts::registry::v1 as pb;
use contracts::registry::v1::connector::Transport;
use contracts::registry::v1::variable::Value;
use contracts::registry::v1::watch_connectors_response::Event;

use crate::client::print::{count, short, time};
use crate::client::table::{Table, fields, one_line};

/// A row for each connector.
pub(super) fn table(connectors: &[pb::Connector]) -> String {
    let mut table = Table::new(["NAME", "STATE", "REASON", "TRANSPORT", "TOOLS", "SINCE"]);
    for connector in connectors {
        let status = connector.status.clone().unwrap_or_default();
        table.row([
            connector.name.clone(),
            state(&status),
            status.reason.clone(),
            transport(connector.transport.as_ref()).to_owned(),
            count(status.tool_count),
            time(status.since.as_ref()),
        ]);
    }
    table.render()
}

/// What a change of a connector led to.
pub(super) fn state_lines(connector: Option<&pb::Connector>) -> String {
    let Some(connector) = connector else {
        return String::new();
    };
    let status = connector.status.clone().unwrap_or_default();
    fields([
        ("name", connector.name.clone()),
        ("state", state(&status)),
        ("reason", status.reason.clone()),
        ("message", status.message.clone()),
        ("tools", count(status.tool_count)),
    ])
}

/// Everything about one connector.
pub(super) fn details(connector: Option<&pb::Connector>) -> String {
    let Some(connector) = connector else {
        return String::new();
    };
    let status = connector.status.clone().unwrap_or_default();
    let mut labels: Vec<_> = connector
        .labels
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    labels.sort();
    let mut text = fields([
        ("name", connector.name.clone()),
        ("uid", connector.uid.clone()),
        ("display name", connector.display_name.clone()),
        ("description", connector.description.clone()),
        (
            "transport",
            transport(connector.transport.as_ref()).to_owned(),
        ),
        ("destination", destination(connector.transport.as_ref())),
        ("labels", labels.join(" ")),
        ("enabled", connector.enabled.unwrap_or(true).to_string()),
        ("state", state(&status)),
        ("reason", status.reason.clone()),
        ("message", status.message.clone()),
        ("stage", status.stage.clone()),
        ("since", time(status.since.as_ref())),
        ("stale since", time(status.stale_since.as_ref())),
        ("failures", count(status.consecutive_failures)),
        ("last success", time(status.last_success_time.as_ref())),
        ("next attempt", time(status.next_attempt_time.as_ref())),
        ("tools", count(status.tool_count)),
        ("synchronised", time(status.sync_time.as_ref())),
        ("MCP revision", status.protocol_version.clone()),
        ("server", status.server_info.clone()),
        ("generation", connector.generation.to_string()),
        ("revision", connector.revision.to_string()),
        ("etag", connector.etag.clone()),
        ("created", time(connector.create_time.as_ref())),
        ("updated", time(connector.update_time.as_ref())),
    ]);
    text.push_str(&values(connector));
    text
}

/// The environment or the headers; of secrets only whether they are there.
fn values(connector: &pb::Connector) -> String {
    let variables = match connector.transport.as_ref() {
        Some(Transport::Stdio(stdio)) => &stdio.environment,
        Some(Transport::StreamableHttp(http)) => &http.headers,
        None => return String::new(),
    };
    if variables.is_empty() {
        return String::new();
    }
    let mut table = Table::new(["VALUE", "CONTENT"]);
    for variable in variables {
        let content = match &variable.value {
            Some(Value::Plain(plain)) => plain.clone(),
            Some(Value::Secret(_)) | None => {
                format!("{}{}", variable.prefix, secret(connector, &variable.name))
            }
        };
        table.row([variable.name.clone(), content]);
    }
    format!("\n{}", table.render())
}

fn secret(connector: &pb::Connector, name: &str) -> &'static str {
    let state = connector
        .secrets
        .iter()
        .find(|secret| secret.name.eq_ignore_ascii_case(name));
    match state {
        Some(state) if state.needs_rebind => {
            "<secret, to be entered again: the destination changed>"
        }
        Some(state) if state.set => "<secret>",
        Some(_) | None => "<secret, not set>",
    }
}

/// One line for an event of a watch; nothing for a sign of life.
pub(super) fn event_line(event: &pb::WatchConnectorsResponse) -> String {
    match &event.event {
        Some(Event::Connector(connector)) => {
            let status = connector.status.clone().unwrap_or_default();
            let line = format!(
                "{:<13} {} {}",
                state(&status),
                connector.name,
                status.reason
            );
            format!("{}\n", one_line(&line).trim_end())
        }
        Some(Event::Deleted(deleted)) => format!("{:<13} {}\n", "DELETED", one_line(&deleted.name)),
        Some(Event::SnapshotEnd(_) | Event::Progress(_)) | None => String::new(),
    }
}

fn state(status: &pb::ConnectorStatus) -> String {
    let state = short(status.state().as_str_name(), "CONNECTOR_STATE_");
    if state.is_empty() {
        "PENDING".to_owned()
    } else {
        state.to_owned()
    }
}

fn transport(transport: Option<&Transport>) -> &'static str {
    match transport {
        Some(Transport::Stdio(_)) => "stdio",
        Some(Transport::StreamableHttp(_)) => "streamable HTTP",
        None => "",
    }
}

fn destination(transport: Option<&Transport>) -> String {
    match transport {
        Some(Transport::Stdio(stdio)) => {
            let words = std::iter::once(&stdio.command).chain(&stdio.arguments);
            words.cloned().collect::<Vec<_>>().join(" ")
        }
        Some(Transport::StreamableHttp(http)) => http.url.clone(),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connector() -> pb::Connector {
        let variable = |name: &str, prefix: &str, value| pb::Variable {
            name: name.into(),
            prefix: prefix.into(),
            value,
        };
        pb::Connector {
            name: "users/ada/connectors/github".into(),
            transport: Some(Transport::StreamableHttp(pb::StreamableHttpTransport {
                url: "https://h/mcp".into(),
                headers: vec![
                    variable("X-A", "", Some(Value::Plain("1".into()))),
                    variable("Authorization", "Bearer ", None),
                ],
            })),
            secrets: vec![pb::SecretState {
                name: "authorization".into(),
                set: true,
                ..Default::default()
            }],
            status: Some(pb::ConnectorStatus {
                state: pb::ConnectorState::Unreachable.into(),
                reason: "DNS_FAILED".into(),
                tool_count: 3,
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    #[test]
    fn a_list_tells_state_and_reason() {
        let text = table(&[connector()]);
        let row = text.lines().nth(1).unwrap();
        for part in [
            "users/ada/connectors/github",
            "UNREACHABLE",
            "DNS_FAILED",
            "streamable HTTP",
            "3",
        ] {
            assert!(row.contains(part), "{row}");
        }
    }

    #[test]
    fn secrets_are_shown_as_set_or_not() {
        let mut connector = connector();
        let text = details(Some(&connector));
        assert!(text.contains("Authorization  Bearer <secret>"), "{text}");
        assert!(text.contains("X-A            1"), "{text}");
        connector.secrets[0].set = false;
        assert!(details(Some(&connector)).contains("Bearer <secret, not set>"));
        connector.secrets[0].needs_rebind = true;
        assert!(details(Some(&connector)).contains("to be entered again"));
    }

    #[test]
    fn changes_are_one_line_each() {
        let event = |event| pb::WatchConnectorsResponse {
            event: Some(event),
            ..Default::default()
        };
        let line = event_line(&event(Event::Connector(connector())));
        assert_eq!(
            line,
            "UNREACHABLE   users/ada/connectors/github DNS_FAILED\n"
        );
        let deleted = pb::DeletedConnector {
            name: "users/ada/connectors/x".into(),
            uid: String::new(),
        };
        assert_eq!(
            event_line(&event(Event::Deleted(deleted))),
            "DELETED       users/ada/connectors/x\n"
        );
        assert_eq!(event_line(&event(Event::Progress(pb::Progress {}))), "");
    }
}
