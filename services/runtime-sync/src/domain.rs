//! The runtime's own words: what a session is meant to be, what was observed of it, and the rules between the two.
//!
//! Everything here is pure: no input or output, no clock, no gRPC, SQL or MCP library type. Nothing here opens, retries
//! or sends anything (see `session`), and nothing here knows where a spec came from (see the supervisor).

pub mod call;
pub mod failure;
pub mod header_arguments;
pub mod health;
pub mod restarts;
pub mod spec;
pub mod state;
pub mod status;
pub mod tool;

pub use call::{CallError, CallReason, Outcome, UpstreamError};
pub use failure::{Failure, FailureCode, Stage};
pub use header_arguments::{HeaderArgument, HeaderRule};
pub use health::{Health, HealthSample, ProbeKind};
pub use spec::{SessionSpec, Timeouts, TransportSpec, ValueSource, ValueSpec};
pub use state::{Condition, ConnectionState, Reason};
pub use status::{Era, SessionStatus};
pub use tool::{LeftOut, LeftOutReason, ToolDefinition, ToolHints};
