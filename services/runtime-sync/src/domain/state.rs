//! The observed states of a connector and the reasons for them.
//!
//! Every reason has one code, one static message and one state it leads to; no text of a server or of a secret ever
//! becomes part of either. The rules for moving between states are in `health` and in the session's actor.

use super::failure::FailureCode;

/// What was last observed of a connector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConnectionState {
    /// Nothing was tried yet.
    Pending,
    /// A first connection, or the first after it was lost, is being made.
    Connecting,
    /// Connected and answering.
    Ready,
    /// Healthy and hibernated; wakes on demand.
    Idle,
    /// Connected, but the last probe failed.
    Degraded,
    /// Not connected, and more attempts are planned.
    Unreachable,
    /// The server wants (other) credentials.
    AuthRequired,
    /// Cannot work until somebody changes its settings.
    Misconfigured,
    /// Switched off by its owner or by an operator.
    Disabled,
}

/// The coarse view of a [`ConnectionState`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Condition {
    /// Calls are expected to work.
    Connected,
    /// Somebody or something has to change before calls work.
    Error,
    /// Neither: not started, on its way, or switched off.
    Disconnected,
}

impl ConnectionState {
    /// The name used on the wire, in logs and by people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Connecting => "CONNECTING",
            Self::Ready => "READY",
            Self::Idle => "IDLE",
            Self::Degraded => "DEGRADED",
            Self::Unreachable => "UNREACHABLE",
            Self::AuthRequired => "AUTH_REQUIRED",
            Self::Misconfigured => "MISCONFIGURED",
            Self::Disabled => "DISABLED",
        }
    }

    /// The coarse view.
    pub fn condition(self) -> Condition {
        match self {
            Self::Ready | Self::Idle | Self::Degraded => Condition::Connected,
            Self::Unreachable | Self::AuthRequired | Self::Misconfigured => Condition::Error,
            Self::Pending | Self::Connecting | Self::Disabled => Condition::Disconnected,
        }
    }
}

/// Declares [`Reason`] with its code and its message, so that none can be forgotten.
macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident = $code:literal, $state:ident, $message:literal;)*) => {
        /// Why a connector is in its state.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Reason { $($(#[$doc])* $variant,)* }

        impl Reason {
            /// Every reason there is.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The code used on the wire, in logs and by people.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $code,)* }
            }

            /// One sentence for people; static, so that no secret can reach it.
            pub fn message(self) -> &'static str {
                match self { $(Self::$variant => $message,)* }
            }

            /// The state a connector is in for this reason, unless health says otherwise.
            pub fn state(self) -> ConnectionState {
                match self { $(Self::$variant => ConnectionState::$state,)* }
            }
        }
    };
}

reasons! {
    /// Nothing was tried yet.
    NotStarted = "NOT_STARTED", Pending, "The session has not been started yet.";
    /// A connection is being made.
    Connecting = "CONNECTING", Connecting, "The session is being connected.";
    /// All is well.
    Connected = "CONNECTED", Ready, "The server is connected and answers.";
    /// A probe failed, the link is still up.
    ProbeFailed = "PROBE_FAILED", Degraded, "The last health check failed.";
    /// Several probes in a row failed.
    ProbesFailed = "PROBES_FAILED", Unreachable, "Several health checks in a row failed.";
    /// The link ended by itself.
    ConnectionLost = "CONNECTION_LOST", Connecting, "The connection ended; it is being made again.";
    /// The server ends again and again shortly after it was connected.
    CrashLoop = "CRASH_LOOP", Unreachable, "The server ends again and again; restarts are held back.";
    /// The connector is switched off.
    ConnectorDisabled = "CONNECTOR_DISABLED", Disabled, "The connector is switched off.";
    /// The session was stopped.
    Stopped = "STOPPED", Disabled, "The session was stopped.";
    /// The URL cannot be used.
    InvalidUrl = "INVALID_URL", Misconfigured, "The URL is not one a server can be reached at.";
    /// The policy forbids the URL or the command.
    PolicyDenied = "POLICY_DENIED", Misconfigured, "The policy does not allow this URL or command.";
    /// The host name could not be resolved.
    DnsFailed = "DNS_FAILED", Unreachable, "The host name could not be resolved.";
    /// No connection could be made.
    ConnectionFailed = "CONNECTION_FAILED", Unreachable, "No connection to the server could be made.";
    /// TLS failed.
    TlsFailed = "TLS_FAILED", Unreachable, "No secure connection to the server could be made.";
    /// The server did not answer in time.
    Timeout = "TIMEOUT", Unreachable, "The server did not answer in time.";
    /// The server wants credentials.
    AuthRequired = "AUTH_REQUIRED", AuthRequired, "The server asks for authorization.";
    /// The server refused the credentials.
    AuthFailed = "AUTH_FAILED", AuthRequired, "The server refused the credentials.";
    /// What answers is not an MCP server.
    InvalidMcpServer = "INVALID_MCP_SERVER", Unreachable, "What answers there does not speak MCP.";
    /// No protocol revision in common.
    UnsupportedVersion = "UNSUPPORTED_VERSION", Misconfigured, "The server speaks no protocol revision known here.";
    /// The command does not exist or cannot be run.
    CommandNotFound = "COMMAND_NOT_FOUND", Misconfigured, "The command was not found or may not be run.";
    /// The server's process ended.
    ProcessExited = "PROCESS_EXITED", Unreachable, "The server's process ended.";
    /// The tools could not be listed.
    ListFailed = "LIST_FAILED", Unreachable, "The server's tools could not be listed.";
    /// A secret cannot be decrypted.
    SecretUnreadable = "SECRET_UNREADABLE", Misconfigured, "A secret of the connector cannot be read.";
    /// A secret that the spec names has no value.
    SecretMissing = "SECRET_MISSING", Misconfigured, "A secret of the connector has no value yet.";
    /// The secrets were entered for another destination.
    SecretNeedsRebind = "SECRET_NEEDS_REBIND", Misconfigured, "The secrets were entered for another destination.";
    /// The grant or lease was refused.
    GrantRefused = "GRANT_REFUSED", Unreachable, "The vault refused to give the secrets out.";
    /// The lease on the secrets was revoked.
    LeaseRevoked = "LEASE_REVOKED", Unreachable, "The permission to use the secrets was withdrawn.";
    /// The registry could not be asked.
    RegistryUnavailable = "REGISTRY_UNAVAILABLE", Unreachable, "The registry could not be reached.";
    /// The vault could not be asked.
    VaultUnavailable = "VAULT_UNAVAILABLE", Unreachable, "The vault could not be reached.";
    /// The spec holds something this release does not know.
    SpecTooNew = "SPEC_TOO_NEW", Misconfigured, "The settings need a newer release than this one.";
    /// The spec is gone or was replaced.
    SpecGone = "SPEC_GONE", Pending, "The settings changed while the session was being prepared.";
}

impl From<FailureCode> for Reason {
    fn from(code: FailureCode) -> Self {
        match code {
            FailureCode::InvalidUrl => Self::InvalidUrl,
            FailureCode::PolicyDenied => Self::PolicyDenied,
            FailureCode::DnsFailed => Self::DnsFailed,
            FailureCode::ConnectionFailed => Self::ConnectionFailed,
            FailureCode::TlsFailed => Self::TlsFailed,
            FailureCode::Timeout => Self::Timeout,
            FailureCode::AuthRequired => Self::AuthRequired,
            FailureCode::AuthFailed => Self::AuthFailed,
            FailureCode::InvalidMcpServer => Self::InvalidMcpServer,
            FailureCode::UnsupportedVersion => Self::UnsupportedVersion,
            FailureCode::CommandNotFound => Self::CommandNotFound,
            FailureCode::ProcessExited => Self::ProcessExited,
            FailureCode::ListFailed => Self::ListFailed,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{Condition, ConnectionState, FailureCode, Reason};

    #[test]
    fn every_reason_has_a_code_of_its_own_and_a_sentence() {
        let codes: HashSet<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
        assert_eq!(codes.len(), Reason::ALL.len());
        for reason in Reason::ALL {
            assert!(reason.message().ends_with('.'), "{}", reason.as_str());
        }
    }

    #[test]
    fn a_failure_code_and_its_reason_are_spelled_alike() {
        for code in FailureCode::ALL {
            assert_eq!(Reason::from(*code).as_str(), code.as_str());
        }
    }

    #[test]
    fn a_401_is_no_outage() {
        assert_eq!(Reason::AuthRequired.state(), ConnectionState::AuthRequired);
        assert_eq!(Reason::AuthFailed.state(), ConnectionState::AuthRequired);
    }

    #[test]
    fn only_states_in_which_calls_work_count_as_connected() {
        assert_eq!(ConnectionState::Degraded.condition(), Condition::Connected);
        assert_eq!(ConnectionState::Unreachable.condition(), Condition::Error);
        assert_eq!(
            ConnectionState::Connecting.condition(),
            Condition::Disconnected
        );
    }
}
