//! Promises of the control plane, with a scripted registry and vault (real tonic servers) and a real MCP server.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod calls;
mod feed;
mod leases;
mod mcp;
mod program;
mod registry;
mod reports;
mod sessions;
mod vault;
mod world;
