//! The harness of the suite's tests: starts the three services in process with databases of their own, real
//! scripted MCP servers, clients for each role, and waits for conditions with the last state in the failure text.
//!
//! Nothing here decides what a test means, and nothing here stands in for code of ours: the services, the
//! transports and the clients are the real ones. Whatever goes wrong here panics, since only tests call it.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod clients;
mod config;
mod connecting;
mod contract;
mod eventually;
mod http_server;
mod note;
mod processes;
mod programs;
mod raw_server;
mod real_servers;
mod script;
mod services;
mod stdio_server;
mod suite;
mod up;

pub use clients::{Addresses, Clients, lazy_channel, reason_of, text_of};
pub use config::{soak_seed, soak_time};
pub use connecting::{Connected, Connection};
pub use contract::{keeps_contract, published_reasons};
pub use eventually::{LONG, eventually};
pub use http_server::HttpServer;
pub use note::note;
pub use processes::{Process, marked, pids_below, resident, written};
pub use programs::{own, target};
pub use raw_server::RawServer;
pub use real_servers::RealServer;
pub use script::{Script, Seen, sha256_hex};
pub use stdio_server::{Misbehaviour, StdioServer};
pub use suite::{Engine, Suite};
pub use up::Up;

/// The state of a connector, as the registry shows it.
pub use contracts::registry::v1::ConnectorState as State;
