//! Sessions as messages.
//!
//! What a server sent is passed on only where the contract says so, and bounded.

use std::time::Duration;

use contracts::runtime::v1 as pb;
use names::ConnectorName;
use rpc::error::RichError;

use crate::{
    domain::{
        ConnectionState, Era, HealthSample, LeftOut, LeftOutReason, ProbeKind, Reason,
        SessionStatus, ToolDefinition,
    },
    supervisor::{Found, Sessions},
};

/// What is kept back of a caller's deadline, so that it hears from us and not from its own timer.
pub(super) const MARGIN: Duration = Duration::from_millis(20);
/// The largest description of a server that is passed on, in bytes.
const MAX_SERVER_INFO: usize = 16 << 10;
/// Entries of a health history.
const MAX_HISTORY: usize = 32;

/// Whether a session's history is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum History {
    /// With it.
    With,
    /// Without it.
    Without,
}

/// Reads the name of a connector.
pub(super) fn connector_name(name: &str) -> Result<ConnectorName, RichError> {
    name.parse().map_err(|error: names::InvalidName| {
        RichError::invalid_field("connector", error.to_string())
    })
}

/// A session as a message.
pub(super) fn session(sessions: &Sessions, found: &Found, history: History) -> pb::Session {
    let status = sessions.status(found);
    let identity = sessions.lease.identity();
    let well = status.reason == Reason::Connected;
    pb::Session {
        connector: found.connector.name.to_string(),
        connector_uid: found.connector.uid.to_string(),
        generation: found.connector.generation,
        state: state(status.state).into(),
        reason: (if well { "" } else { status.reason.as_str() }).to_owned(),
        message: (if well { "" } else { status.message() }).to_owned(),
        stage: status.stage.map_or("", |stage| stage.as_str()).to_owned(),
        since: Some(status.since.into()),
        consecutive_failures: status.consecutive_failures,
        last_success_time: status.last_success.map(Into::into),
        next_attempt_time: status.next_attempt.map(Into::into),
        era: era(status.era).into(),
        protocol_version: status.protocol_version.clone().unwrap_or_default(),
        server_info_json: server_info(&status),
        endpoint: found.endpoint(),
        instance: identity.name.clone(),
        lease_epoch: sessions.lease.current().unwrap_or_default(),
        tool_count: count(status.tools.len()),
        sync_time: status.synced.map(Into::into),
        latency: status.latency.and_then(duration),
        calls_in_flight: found
            .session
            .as_ref()
            .map_or(0, |session| count(session.calls_in_flight())),
        health_history: match history {
            History::With => health_history(&status),
            History::Without => Vec::new(),
        },
    }
}

fn state(state: ConnectionState) -> pb::SessionState {
    match state {
        ConnectionState::Pending => pb::SessionState::Pending,
        ConnectionState::Connecting => pb::SessionState::Connecting,
        ConnectionState::Ready => pb::SessionState::Ready,
        ConnectionState::Idle => pb::SessionState::Idle,
        ConnectionState::Degraded => pb::SessionState::Degraded,
        ConnectionState::Unreachable => pb::SessionState::Unreachable,
        ConnectionState::AuthRequired => pb::SessionState::AuthRequired,
        ConnectionState::Misconfigured => pb::SessionState::Misconfigured,
        ConnectionState::Disabled => pb::SessionState::Disabled,
    }
}

fn era(era: Option<Era>) -> pb::Era {
    match era {
        None => pb::Era::Unspecified,
        Some(Era::Legacy) => pb::Era::Legacy,
        Some(Era::Modern) => pb::Era::Modern,
    }
}

fn server_info(status: &SessionStatus) -> String {
    let info = status.server_info.as_ref();
    info.filter(|info| info.len() <= MAX_SERVER_INFO)
        .and_then(|info| std::str::from_utf8(info).ok())
        .unwrap_or_default()
        .to_owned()
}

fn health_history(status: &SessionStatus) -> Vec<pb::HealthEvent> {
    let skipped = status.history.len().saturating_sub(MAX_HISTORY);
    status
        .history
        .iter()
        .skip(skipped)
        .map(health_event)
        .collect()
}

fn health_event(sample: &HealthSample) -> pb::HealthEvent {
    let HealthSample {
        at,
        kind,
        healthy,
        latency,
    } = *sample;
    let reason = match (healthy, kind) {
        (true, _) => Reason::Connected,
        (false, ProbeKind::Connection) => Reason::ConnectionFailed,
        (
            false,
            ProbeKind::Discover | ProbeKind::Ping | ProbeKind::ListTools | ProbeKind::Traffic,
        ) => Reason::ProbeFailed,
    };
    pb::HealthEvent {
        time: Some(at.into()),
        state: state(reason.state()).into(),
        reason: (if healthy { "" } else { reason.as_str() }).to_owned(),
        latency: duration(latency),
    }
}

/// What a synchronisation changed.
pub(super) fn sync(
    before: &[ToolDefinition],
    after: &SessionStatus,
    session: pb::Session,
) -> pb::SyncConnectorResponse {
    let same = |tool: &ToolDefinition| {
        before
            .iter()
            .any(|old| old.name == tool.name && old.hash == tool.hash)
    };
    let stays = |old: &&ToolDefinition| after.tools.iter().any(|tool| tool.name == old.name);
    pb::SyncConnectorResponse {
        tool_count: count(after.tools.len()),
        changed_count: count(after.tools.iter().filter(|tool| !same(tool)).count()),
        removed_count: count(before.len() - before.iter().filter(stays).count()),
        left_out: after.left_out.iter().map(left_out).collect(),
        session: Some(session),
    }
}

fn left_out(tool: &LeftOut) -> pb::LeftOutTool {
    let LeftOut {
        name,
        bytes: _,
        reason,
    } = tool;
    let reason = match reason {
        LeftOutReason::Malformed | LeftOutReason::NotCanonical | LeftOutReason::InvalidHeaders => {
            "DEFINITION_MALFORMED"
        }
        LeftOutReason::TooLarge => "DEFINITION_TOO_LARGE",
        LeftOutReason::DuplicateName => "DUPLICATE_NAME",
        LeftOutReason::OverLimit => "OVER_LIMIT",
    };
    pb::LeftOutTool {
        tool_name: name.clone().unwrap_or_default(),
        reason: reason.to_owned(),
    }
}

pub(super) fn duration(duration: Duration) -> Option<prost_types::Duration> {
    duration.try_into().ok()
}

fn count(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
