//! What was observed of a session, as one immutable value.
//!
//! A status is replaced as a whole, so that readers never see half a change. Nothing here decides the next status
//! (see the session's actor) and nothing here is persisted.

use std::{sync::Arc, time::Duration, time::SystemTime};

use bytes::Bytes;

use super::{
    failure::Stage,
    health::HealthSample,
    state::{ConnectionState, Reason},
    tool::{LeftOut, ToolDefinition},
};

/// The two families of protocol revisions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Era {
    /// Up to 2025-11-25: `initialize`, sessions, `ping`.
    Legacy,
    /// From 2026-07-28: stateless, `server/discover`, `_meta` on every request.
    Modern,
}

impl Era {
    /// The name used on the wire, in logs and by people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Legacy => "LEGACY",
            Self::Modern => "MODERN",
        }
    }
}

/// One observed status.
#[derive(Clone, Debug)]
pub struct SessionStatus {
    /// The generation of the spec this was observed for.
    pub generation: i64,
    /// Grows by one with every status of this session, so that none is reported twice or out of order.
    pub sequence: u64,
    /// The state.
    pub state: ConnectionState,
    /// Why it is in that state.
    pub reason: Reason,
    /// The stage of connecting that failed, while a failure is the reason.
    pub stage: Option<Stage>,
    /// When it came into that state.
    pub since: SystemTime,
    /// Failures since the last success: of probes while connected, of attempts while not.
    pub consecutive_failures: u32,
    /// How often the link ended since the session was started.
    pub disconnects: u32,
    /// When the server last answered.
    pub last_success: Option<SystemTime>,
    /// When the next attempt to connect is planned.
    pub next_attempt: Option<SystemTime>,
    /// The protocol's era, once known.
    pub era: Option<Era>,
    /// The negotiated revision.
    pub protocol_version: Option<String>,
    /// The server's description of itself, as it sent it, if that is small.
    pub server_info: Option<Bytes>,
    /// The last good list of tools; kept while the server is away.
    pub tools: Arc<Vec<ToolDefinition>>,
    /// What the server listed and is not offered, and why.
    pub left_out: Arc<Vec<LeftOut>>,
    /// Whether the server's list is longer than is kept.
    pub truncated: bool,
    /// When the list was last fetched whole.
    pub synced: Option<SystemTime>,
    /// Why the last sync failed, if it did.
    pub sync_failure: Option<Reason>,
    /// How long the last successful probe took.
    pub latency: Option<Duration>,
    /// The last probes and failed connections, oldest first; bounded.
    pub history: Arc<Vec<HealthSample>>,
}

impl SessionStatus {
    /// The status before anything was tried.
    pub fn initial(generation: i64, now: SystemTime) -> Self {
        Self {
            generation,
            sequence: 0,
            state: ConnectionState::Pending,
            reason: Reason::NotStarted,
            stage: None,
            since: now,
            consecutive_failures: 0,
            disconnects: 0,
            last_success: None,
            next_attempt: None,
            era: None,
            protocol_version: None,
            server_info: None,
            tools: Arc::default(),
            left_out: Arc::default(),
            truncated: false,
            synced: None,
            sync_failure: None,
            latency: None,
            history: Arc::default(),
        }
    }

    /// The sentence that belongs to the reason.
    pub fn message(&self) -> &'static str {
        self.reason.message()
    }
}
