//! How a connection can fail: the code, and the stage it failed at.
//!
//! The list is closed, so that every failure of every transport lands on one of these; what a state follows from a
//! code is said in `state`.

use std::{fmt, time::Duration};

/// Declares an enum of codes with its spelling and the list of all.
macro_rules! codes {
    ($(#[$outer:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $code:literal,)* }) => {
        $(#[$outer])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $($(#[$doc])* $variant,)* }

        impl $name {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The spelling used on the wire, in logs and by people.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $code,)* }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(self.as_str())
            }
        }
    };
}

codes! {
    /// Why a connection failed.
    FailureCode {
        /// The URL cannot be used.
        InvalidUrl = "INVALID_URL",
        /// The policy forbids the URL, the address or the command.
        PolicyDenied = "POLICY_DENIED",
        /// The host name could not be resolved.
        DnsFailed = "DNS_FAILED",
        /// No connection could be made, or it broke.
        ConnectionFailed = "CONNECTION_FAILED",
        /// TLS failed.
        TlsFailed = "TLS_FAILED",
        /// No answer in time.
        Timeout = "TIMEOUT",
        /// The server wants credentials.
        AuthRequired = "AUTH_REQUIRED",
        /// The server refused the credentials that were sent.
        AuthFailed = "AUTH_FAILED",
        /// What answers does not speak MCP.
        InvalidMcpServer = "INVALID_MCP_SERVER",
        /// No protocol revision in common.
        UnsupportedVersion = "UNSUPPORTED_VERSION",
        /// The command does not exist or cannot be run.
        CommandNotFound = "COMMAND_NOT_FOUND",
        /// The server's process ended.
        ProcessExited = "PROCESS_EXITED",
        /// The tools could not be listed.
        ListFailed = "LIST_FAILED",
    }
}

codes! {
    /// The stage of connecting at which something happened.
    Stage {
        /// Judging URL or command, starting the process.
        Policy = "policy",
        /// Resolving the host name.
        Dns = "dns",
        /// Making the connection, or starting the process.
        Connect = "connect",
        /// The TLS handshake.
        Tls = "tls",
        /// The HTTP exchange.
        Http = "http",
        /// Authorization.
        Auth = "auth",
        /// The MCP handshake.
        Handshake = "handshake",
        /// Listing the tools.
        List = "list",
    }
}

/// One failure of a connection: static facts only, never a text from the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code} at stage {stage}")]
pub struct Failure {
    /// What went wrong.
    pub code: FailureCode,
    /// Where it went wrong.
    pub stage: Stage,
    /// How long the server wants to be left alone, if it said so.
    pub retry_after: Option<Duration>,
}

impl Failure {
    /// A failure at a stage.
    pub fn new(code: FailureCode, stage: Stage) -> Self {
        Self {
            code,
            stage,
            retry_after: None,
        }
    }

    /// The same failure with the pause the server asked for.
    #[must_use]
    pub fn with_retry_after(self, retry_after: Option<Duration>) -> Self {
        Self {
            retry_after,
            ..self
        }
    }
}
