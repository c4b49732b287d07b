//! What a session is meant to be: the part of a connector's spec that a session depends on.
//!
//! A spec holds no secret value, only the names of those that must be fetched before each connection. Two specs with
//! the same uid and generation are the same; a session is never changed, only replaced.

use std::time::Duration;

use names::{ConnectorName, ConnectorUid};

/// One session's spec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionSpec {
    /// The connector's immutable identity.
    pub uid: ConnectorUid,
    /// The connector's name.
    pub name: ConnectorName,
    /// Changes with everything in here; keys sessions and reports.
    pub generation: i64,
    /// Where the server is and how to speak to it.
    pub transport: TransportSpec,
    /// The connector's own time limits.
    pub timeouts: Timeouts,
}

/// The connector's own time limits; what is absent is the runtime's default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timeouts {
    /// For opening the link and the whole handshake together.
    pub connect: Option<Duration>,
    /// For one call whose caller set no deadline.
    pub call: Option<Duration>,
}

/// Where a server is and how to speak to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransportSpec {
    /// A child process.
    Stdio {
        /// The program, an absolute path or a bare name.
        command: String,
        /// Its arguments; never secret.
        args: Vec<String>,
        /// Its whole environment.
        env: Vec<ValueSpec>,
        /// Its working directory.
        working_directory: Option<String>,
    },
    /// Streamable HTTP.
    Http {
        /// The endpoint.
        url: String,
        /// Headers sent with every request.
        headers: Vec<ValueSpec>,
    },
}

/// One environment variable or header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValueSpec {
    /// Its name.
    pub name: String,
    /// What stands before the value, such as `Bearer `.
    pub prefix: String,
    /// Where its value comes from.
    pub source: ValueSource,
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValueSource {
    /// It stands in the spec.
    Plain(String),
    /// It is in the vault.
    Secret,
}

impl TransportSpec {
    /// The name used on the wire, in logs and by people.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Stdio { .. } => "STDIO",
            Self::Http { .. } => "STREAMABLE_HTTP",
        }
    }
}
