//! `patchbay session …`.

use contracts::runtime::v1 as pb;
use contracts::runtime::v1::watch_sessions_response::Event;
use names::{ConnectorName, ScopeSelector};

use crate::cli::SessionCommand;
use crate::client::Client;
use crate::client::print::{count, milliseconds, short, time};
use crate::client::table::{Table, fields, one_line};
use crate::client::watch::follow;
use crate::failure::Failure;

/// Runs one of the commands.
pub(crate) async fn run(client: &Client, command: SessionCommand) -> Result<(), Failure> {
    match command {
        SessionCommand::List { scope } => list(client, &scope).await,
        SessionCommand::Get { connector } => get(client, &connector).await,
        SessionCommand::Watch { scope } => watch(client, &scope).await,
    }
}

async fn list(client: &Client, scope: &ScopeSelector) -> Result<(), Failure> {
    let mut all = pb::ListSessionsResponse::default();
    let mut page_token = String::new();
    loop {
        let request = pb::ListSessionsRequest {
            parent: scope.to_string(),
            page_size: 500,
            page_token,
        };
        let page = client
            .sessions()
            .list_sessions(client.request(request))
            .await?
            .into_inner();
        all.sessions.extend(page.sessions);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    client
        .printer()
        .answer("patchbay.runtime.v1.ListSessionsResponse", &all, |all| {
            let mut table = Table::new([
                "CONNECTOR",
                "STATE",
                "REASON",
                "MCP",
                "TOOLS",
                "CALLS",
                "LATENCY",
                "SINCE",
            ]);
            for session in &all.sessions {
                table.row([
                    session.connector.clone(),
                    state(session.state()).to_owned(),
                    session.reason.clone(),
                    session.protocol_version.clone(),
                    count(session.tool_count),
                    count(session.calls_in_flight),
                    milliseconds(session.latency.as_ref()),
                    time(session.since.as_ref()),
                ]);
            }
            table.render()
        })
}

async fn get(client: &Client, connector: &ConnectorName) -> Result<(), Failure> {
    let request = pb::GetSessionRequest {
        connector: connector.to_string(),
        min_revision: 0,
    };
    let answer = client
        .sessions()
        .get_session(client.request(request))
        .await?
        .into_inner();
    client.printer().answer(
        "patchbay.runtime.v1.GetSessionResponse",
        &answer,
        |answer| answer.session.as_ref().map(details).unwrap_or_default(),
    )
}

async fn watch(client: &Client, scope: &ScopeSelector) -> Result<(), Failure> {
    // The runtime knows no place to go on from: it shows every session as it is, and then what changes.
    let open = async |_| {
        let request = pb::WatchSessionsRequest {
            parent: scope.to_string(),
        };
        let stream = client.session_streams().watch_sessions(request).await?;
        Ok(stream.into_inner())
    };
    let name = "patchbay.runtime.v1.WatchSessionsResponse";
    let show = |event: &pb::WatchSessionsResponse| {
        client.printer().event(name, event, event_line)?;
        Ok(String::new())
    };
    let (patience, output) = (client.timeout(), client.printer().output());
    Err(follow(patience, output, open, show).await)
}

fn details(session: &pb::Session) -> String {
    let mut text = fields([
        ("connector", session.connector.clone()),
        ("state", state(session.state()).to_owned()),
        ("reason", session.reason.clone()),
        ("message", session.message.clone()),
        ("stage", session.stage.clone()),
        ("since", time(session.since.as_ref())),
        ("failures", count(session.consecutive_failures)),
        ("last success", time(session.last_success_time.as_ref())),
        ("next attempt", time(session.next_attempt_time.as_ref())),
        ("latency", milliseconds(session.latency.as_ref())),
        ("MCP revision", session.protocol_version.clone()),
        (
            "era",
            short(session.era().as_str_name(), "ERA_").to_lowercase(),
        ),
        ("server", session.server_info_json.clone()),
        ("endpoint", session.endpoint.clone()),
        ("tools", count(session.tool_count)),
        ("synchronised", time(session.sync_time.as_ref())),
        ("calls now", count(session.calls_in_flight)),
        ("generation", session.generation.to_string()),
        ("instance", session.instance.clone()),
        ("lease epoch", count(session.lease_epoch)),
    ]);
    if !session.health_history.is_empty() {
        let mut table = Table::new(["TIME", "STATE", "REASON", "PROBE"]);
        for event in &session.health_history {
            table.row([
                time(event.time.as_ref()),
                state(event.state()).to_owned(),
                event.reason.clone(),
                milliseconds(event.latency.as_ref()),
            ]);
        }
        text.push('\n');
        text.push_str(&table.render());
    }
    text
}

fn event_line(event: &pb::WatchSessionsResponse) -> String {
    match &event.event {
        Some(Event::Session(session)) => {
            let line = format!(
                "{:<13} {} {}",
                state(session.state()),
                session.connector,
                session.reason
            );
            format!("{}\n", one_line(&line).trim_end())
        }
        Some(Event::Removed(connector)) => format!("{:<13} {}\n", "REMOVED", one_line(connector)),
        None => String::new(),
    }
}

fn state(state: pb::SessionState) -> &'static str {
    short(state.as_str_name(), "SESSION_STATE_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_tells_its_health_history() {
        let session = pb::Session {
            connector: "users/ada/connectors/time".into(),
            state: pb::SessionState::Degraded.into(),
            era: pb::Era::Modern.into(),
            reason: "TIMEOUT".into(),
            health_history: vec![pb::HealthEvent {
                state: pb::SessionState::Ready.into(),
                ..Default::default()
            }],
            ..Default::default()
        };
        let text = details(&session);
        assert!(text.contains("state       DEGRADED"), "{text}");
        assert!(text.contains("era         modern"), "{text}");
        assert!(text.contains("TIME  STATE  REASON  PROBE"), "{text}");
        assert!(text.contains("READY"), "{text}");
    }

    #[test]
    fn changes_are_one_line_each() {
        let removed = pb::WatchSessionsResponse {
            event: Some(Event::Removed("a/b".into())),
        };
        assert_eq!(event_line(&removed), "REMOVED       a/b\n");
    }
}
