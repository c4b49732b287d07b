//! Keeps one live session for every enabled connector, and calls their tools.
//!
//! The registry says which connectors there are, the vault gives out their secrets, sessions speak MCP; `grpc` is how
//! callers reach them. The call path touches no database and no other service.

pub mod app;
pub mod calls;
mod command;
pub mod config;
pub mod desired;
pub mod domain;
mod grpc;
pub mod invocations;
pub mod probe;
pub mod session;
pub mod stdio_guard;
pub mod supervisor;
pub mod sync;
pub mod transport;
pub mod upstream;

pub use app::App;
pub use command::run;
pub use config::Config;
