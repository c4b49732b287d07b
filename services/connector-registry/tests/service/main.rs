//! What the registry promises over gRPC, on SQLite and on PostgreSQL: the real service, a real client, and a vault that
//! is a real server playing a scripted part.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod creating;
mod deleting;
mod harness;
mod listing;
mod program;
mod runtime;
mod scopes;
mod secrets;
mod updating;
mod vault;
mod watching;
