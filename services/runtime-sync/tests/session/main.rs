//! Sessions against real and scripted MCP servers: what they promise to the rest of the runtime.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod calls;
mod eras;
mod harness;
mod health;
mod lifecycle;
mod outcomes;
mod peer;
mod real;
mod sync;
mod turns;
