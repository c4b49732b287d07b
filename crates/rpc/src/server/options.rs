//! What can be set about a server, with the defaults the suite runs with. Nothing here acts.

use std::{net::SocketAddr, time::Duration};

/// Settings of a server.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// How much work is taken on at a time.
    pub limits: Limits,
    /// The deadline of a unary call that gives none.
    pub default_deadline: Duration,
    /// The longest deadline a unary call may ask for.
    pub max_deadline: Duration,
    /// The greatest age of a stream, less up to a tenth of jitter; it ends with UNAVAILABLE.
    pub max_stream_age: Duration,
    /// The greatest age of a connection, less up to a tenth of jitter; it ends with GOAWAY, and the
    /// calls on it may finish.
    pub max_connection_age: Duration,
    /// How long a connection may take to say that it speaks HTTP/2.
    pub handshake_timeout: Duration,
    /// How often a connection is probed.
    pub keepalive_interval: Duration,
    /// How long the answer to a probe may take before the connection is given up.
    pub keepalive_timeout: Duration,
    /// How long streams get to end by themselves in a drain.
    pub stream_grace: Duration,
    /// How long calls in flight get to finish in a drain.
    pub drain_timeout: Duration,
    /// Who may list the API.
    pub reflection: Reflection,
}

/// How much work a server takes on at a time. What is over it is refused at once with
/// RESOURCE_EXHAUSTED and a `RetryInfo`, never queued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Unary calls in flight.
    pub calls: usize,
    /// Streams open.
    pub streams: usize,
    /// Unary calls of public methods (health checks) in flight.
    pub public: usize,
    /// Streams of public methods (health watches, reflection) open, so that strangers can use up
    /// neither the streams of callers nor the calls of probes.
    pub public_streams: usize,
    /// Connections open.
    pub connections: usize,
    /// Calls and streams on one connection.
    pub per_connection: u32,
}

/// Who may list the API through gRPC reflection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reflection {
    /// Everybody who can connect, if the server listens on a loopback address; else nobody.
    Loopback,
    /// Everybody who can connect.
    On,
    /// Nobody.
    Off,
}

impl Reflection {
    pub(crate) fn is_on(self, listening: SocketAddr) -> bool {
        match self {
            Self::Loopback => listening.ip().is_loopback(),
            Self::On => true,
            Self::Off => false,
        }
    }
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            default_deadline: Duration::from_secs(60),
            max_deadline: Duration::from_secs(15 * 60),
            max_stream_age: Duration::from_secs(60 * 60),
            max_connection_age: Duration::from_secs(60 * 60),
            handshake_timeout: Duration::from_secs(10),
            keepalive_interval: Duration::from_secs(30),
            keepalive_timeout: Duration::from_secs(10),
            stream_grace: Duration::from_millis(500),
            drain_timeout: Duration::from_secs(10),
            reflection: Reflection::Loopback,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            calls: 1024,
            streams: 512,
            public: 64,
            public_streams: 64,
            connections: 1024,
            per_connection: 512,
        }
    }
}
