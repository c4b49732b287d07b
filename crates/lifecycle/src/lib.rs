//! When things start, retry and stop: named task sets, backoff, clocks and signals.
//!
//! The invariant kept here: no task outlives its owner. A [`Tasks`] set is owned by one value;
//! stopping or dropping it cancels, joins and at last aborts everything that was started in it.
//!
//! Not here: what is started, and what a retry means. Nothing in this crate knows gRPC, SQL or MCP.

mod backoff;
mod clock;
mod signals;
mod tasks;

pub use backoff::{Backoff, Jitter};
pub use clock::Clock;
pub use signals::{Signal, signals};
pub use tasks::{EarlyEnd, EarlyEndCause, Stopped, Tasks};
pub use tokio_util::sync::{CancellationToken, DropGuard};
