//! What was observed of a connector, and what a change of the desired fields does to it.
//!
//! Invariant: texts for people come from here and never from a server. Not here: the runtime's reports themselves (see
//! `report`), and when the runtime counts as gone (see [`super::lease`]).

use serde::{Deserialize, Serialize};

use super::{state::State, timestamp::Timestamp};

/// No runtime is reporting.
pub const RUNTIME_UNREACHABLE: &str = "RUNTIME_UNREACHABLE";
/// A secret the spec asks for has no value.
pub const SECRET_MISSING: &str = "SECRET_MISSING";
/// A secret was entered for another destination.
pub const SECRET_NEEDS_REBIND: &str = "SECRET_NEEDS_REBIND";
/// The spec was written by a newer release.
pub const SPEC_TOO_NEW: &str = "SPEC_TOO_NEW";

/// The status of a connector, as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// The state of its session.
    pub state: State,
    /// The generation this was observed at.
    pub observed_generation: i64,
    /// How many tools are stored.
    pub tool_count: u32,
    /// Everything else that was reported.
    pub detail: Detail,
}

/// What a report says beside the state.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Detail {
    /// Why, as a stable code; empty when all is well.
    pub reason: String,
    /// The same for people.
    pub message: String,
    /// The stage that failed; empty when none did.
    pub stage: String,
    /// Since when the state holds.
    pub since: Option<Timestamp>,
    /// Failures in a row.
    pub consecutive_failures: u32,
    /// When the server last answered.
    pub last_success: Option<Timestamp>,
    /// When the next attempt is due.
    pub next_attempt: Option<Timestamp>,
    /// When the tools were last synchronised.
    pub sync: Option<Timestamp>,
    /// Revision of MCP in use.
    pub protocol_version: String,
    /// The server's own name and version, as it states them.
    pub server_info: String,
}

/// What can be said of a spec and its secrets without any runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// A runtime can try it.
    Ready,
    /// Its owner switched it off.
    Disabled,
    /// It cannot work, for this reason.
    Blocked(&'static str),
}

impl Status {
    /// The status of a connector after its desired fields became `generation`.
    ///
    /// What needs no runtime to be known is settled at once; a session that still runs with the generation before keeps
    /// its state until the runtime reports of the new one.
    #[must_use]
    pub fn after_change(self, readiness: Readiness, generation: i64, now: Timestamp) -> Self {
        let (state, reason) = match readiness {
            Readiness::Disabled => (State::Disabled, ""),
            Readiness::Blocked(reason) => (State::Misconfigured, reason),
            Readiness::Ready if self.is_of_registry() => (State::Pending, ""),
            Readiness::Ready => return self,
        };
        let observed_generation = match state {
            State::Pending => self.observed_generation,
            State::Connecting
            | State::Ready
            | State::Idle
            | State::Degraded
            | State::Unreachable
            | State::AuthRequired
            | State::Misconfigured
            | State::Disabled => generation,
        };
        let since = if state == self.state {
            self.detail.since
        } else {
            None
        };
        let detail = Detail {
            reason: reason.to_owned(),
            message: message(reason).to_owned(),
            stage: String::new(),
            since: since.or(Some(now)),
            consecutive_failures: 0,
            next_attempt: None,
            ..self.detail
        };
        Self {
            state,
            observed_generation,
            tool_count: self.tool_count,
            detail,
        }
    }

    /// The status of a connector that was just created.
    #[must_use]
    pub fn first(readiness: Readiness, generation: i64, now: Timestamp) -> Self {
        let detail = Detail {
            since: Some(now),
            ..Detail::default()
        };
        let unknown = Self {
            state: State::Pending,
            observed_generation: 0,
            tool_count: 0,
            detail,
        };
        unknown.after_change(readiness, generation, now)
    }

    /// Whether this is a verdict of the registry's own, which ends with its cause.
    fn is_of_registry(&self) -> bool {
        match self.state {
            State::Pending | State::Disabled => true,
            State::Misconfigured => {
                matches!(
                    self.detail.reason.as_str(),
                    SECRET_MISSING | SECRET_NEEDS_REBIND | SPEC_TOO_NEW
                )
            }
            State::Connecting
            | State::Ready
            | State::Idle
            | State::Degraded
            | State::Unreachable
            | State::AuthRequired => false,
        }
    }
}

/// The text for people of one of the registry's own reasons.
#[must_use]
pub fn message(reason: &str) -> &'static str {
    match reason {
        RUNTIME_UNREACHABLE => "No runtime is reporting; the state is the last one known.",
        SECRET_MISSING => "A secret that the connector needs has no value yet; set it.",
        SECRET_NEEDS_REBIND => {
            "The destination changed since a secret was entered; enter the secret again."
        }
        SPEC_TOO_NEW => "The connector was written by a newer release of this service; upgrade it.",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    fn reported(state: State, reason: &str) -> Status {
        let detail = Detail {
            reason: reason.into(),
            since: Some(at(1)),
            consecutive_failures: 2,
            ..Detail::default()
        };
        Status {
            state,
            observed_generation: 3,
            tool_count: 4,
            detail,
        }
    }

    #[test]
    fn a_new_connector_waits_for_the_runtime() {
        let status = Status::first(Readiness::Ready, 1, at(5));
        assert_eq!(
            (status.state, status.observed_generation),
            (State::Pending, 0)
        );
        assert_eq!(status.detail.since, Some(at(5)));
    }

    #[test]
    fn what_needs_no_runtime_is_settled_at_once() {
        let blocked = Status::first(Readiness::Blocked(SECRET_MISSING), 1, at(5));
        assert_eq!(
            (blocked.state, blocked.observed_generation),
            (State::Misconfigured, 1)
        );
        assert_eq!(blocked.detail.reason, SECRET_MISSING);
        assert!(!blocked.detail.message.is_empty());
        let disabled = reported(State::Ready, "").after_change(Readiness::Disabled, 4, at(5));
        assert_eq!(
            (disabled.state, disabled.observed_generation),
            (State::Disabled, 4)
        );
        assert_eq!(
            (disabled.tool_count, disabled.detail.since),
            (4, Some(at(5)))
        );
    }

    #[test]
    fn a_verdict_of_the_registry_ends_with_its_cause() {
        for reason in [SECRET_MISSING, SECRET_NEEDS_REBIND] {
            let after =
                reported(State::Misconfigured, reason).after_change(Readiness::Ready, 4, at(5));
            assert_eq!(
                (after.state, after.observed_generation),
                (State::Pending, 3)
            );
            assert_eq!(after.detail.reason, "");
        }
        let enabled = reported(State::Disabled, "").after_change(Readiness::Ready, 4, at(5));
        assert_eq!(enabled.state, State::Pending);
    }

    #[test]
    fn a_running_session_keeps_its_state_until_the_runtime_reports() {
        for state in [State::Ready, State::Degraded, State::Unreachable] {
            let before = reported(state, "X");
            assert_eq!(
                before.clone().after_change(Readiness::Ready, 4, at(5)),
                before
            );
        }
        let theirs = reported(State::Misconfigured, "COMMAND_NOT_FOUND");
        assert_eq!(
            theirs.clone().after_change(Readiness::Ready, 4, at(5)),
            theirs
        );
    }
}
