//! Logs and traces: the subscriber, OTLP export, a guard that flushes, and W3C propagation.
//!
//! The invariant: targets that carry what peers send (`rmcp`, `h2`, `hyper`, …) never log below
//! WARN, whatever filter is asked for, because their debug lines hold headers and payloads.
//!
//! Not here: making spans (the layers of `rpc` and the sessions do), and any decision to log.

mod context;
mod filter;
mod setup;

pub mod attributes;

pub use context::{TraceContext, adopt_parent, inject, inject_headers};
pub use setup::{Args, Guard, InitError, LogFormat, Options, init};
