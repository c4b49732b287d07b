//! What was observed of a session, as the registry reads it.
//!
//! Texts are cut to a bound; nothing a server sent goes into reasons or messages.

use contracts::registry::v1 as pb;
use serde::Deserialize;

use crate::domain::{ConnectionState, Reason, SessionStatus};

/// The longest description of a server that is reported, in bytes.
const MAX_SERVER_INFO: usize = 256;

/// A status as the registry reads it.
pub(super) fn status(status: &SessionStatus) -> pb::ConnectorStatus {
    let well = status.reason == Reason::Connected;
    pb::ConnectorStatus {
        state: state(status.state).into(),
        condition: pb::Condition::Unspecified.into(),
        reason: (if well { "" } else { status.reason.as_str() }).to_owned(),
        message: (if well { "" } else { status.message() }).to_owned(),
        since: Some(status.since.into()),
        consecutive_failures: status.consecutive_failures,
        last_success_time: status.last_success.map(Into::into),
        next_attempt_time: status.next_attempt.map(Into::into),
        observed_generation: status.generation,
        tool_count: u32::try_from(status.tools.len()).unwrap_or(u32::MAX),
        sync_time: status.synced.map(Into::into),
        protocol_version: status.protocol_version.clone().unwrap_or_default(),
        server_info: status
            .server_info
            .as_deref()
            .map(server_info)
            .unwrap_or_default(),
        stale_since: None,
        stage: status.stage.map_or("", |stage| stage.as_str()).to_owned(),
    }
}

/// A state as the registry names it.
fn state(state: ConnectionState) -> pb::ConnectorState {
    match state {
        ConnectionState::Pending => pb::ConnectorState::Pending,
        ConnectionState::Connecting => pb::ConnectorState::Connecting,
        ConnectionState::Ready => pb::ConnectorState::Ready,
        ConnectionState::Idle => pb::ConnectorState::Idle,
        ConnectionState::Degraded => pb::ConnectorState::Degraded,
        ConnectionState::Unreachable => pb::ConnectorState::Unreachable,
        ConnectionState::AuthRequired => pb::ConnectorState::AuthRequired,
        ConnectionState::Misconfigured => pb::ConnectorState::Misconfigured,
        ConnectionState::Disabled => pb::ConnectorState::Disabled,
    }
}

/// Name and version, as the server states them.
fn server_info(json: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Info {
        #[serde(default)]
        name: String,
        #[serde(default)]
        version: String,
    }
    let Ok(Info { name, version }) = serde_json::from_slice(json) else {
        return String::new();
    };
    let mut text = format!("{name} {version}")
        .trim()
        .replace(char::is_control, " ");
    text.truncate(text.floor_char_boundary(MAX_SERVER_INFO));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_describes_itself_within_bounds() {
        assert_eq!(
            server_info(br#"{"name":"time","version":"1.2"}"#),
            "time 1.2"
        );
        assert_eq!(server_info(br#"{"name":"a\u001b[2Jb"}"#), "a [2Jb");
        assert_eq!(server_info(b"[]"), "");
        let long = format!(r#"{{"name":"{}"}}"#, "ü".repeat(1_000));
        assert!(server_info(long.as_bytes()).len() <= MAX_SERVER_INFO);
    }
}
