//! One live link to one MCP server. We own the wire; rmcp rides it.
//!
//! Invariants: a link costs a bounded amount of memory whatever the server does, it ends exactly once with a typed
//! [`LinkEnd`], and dropping it ends everything it started, processes included. Reconnecting, eras and retries are
//! *not* here: they are the session's.

mod call;
pub mod error;
mod frame;
mod http;
mod inbound;
mod lines;
mod messages;
mod options;
mod stderr;
mod stdio;
mod target;

use tokio::{sync::watch, time::Instant};

pub use crate::domain::{Era, FailureCode, Stage};

pub use self::{
    call::{CallWire, RawCall, RawReply},
    error::{LinkEnd, LinkError, OpenError, Sent, WireError, WireErrorKind, wire_cause},
    messages::LinkTransport,
    options::{Limits, OpenOptions},
    stderr::{StderrLine, StderrTail},
    target::{HttpTarget, StdioTarget, Target},
};

/// A live link. Its parts may be taken apart; whoever keeps [`LinkControl`] keeps it alive.
#[derive(Debug)]
pub struct Link {
    /// For rmcp: `serve_client_with_lifecycle_and_ct(service, link.messages, …)`.
    pub messages: LinkTransport,
    /// For raw calls.
    pub calls: CallWire,
    /// Why the link ended, once it has.
    pub ended: watch::Receiver<Option<LinkEnd>>,
    /// The tail of the server's standard error (stdio only).
    pub stderr: Option<StderrTail>,
    /// Owns the tasks and the process. Dropping it kills them.
    pub control: LinkControl,
}

impl Link {
    /// Ends the link in good order; see [`LinkControl::close`].
    pub async fn close(self, deadline: Instant) -> LinkEnd {
        drop(self.messages);
        self.control.close(deadline).await
    }
}

/// The owner of a link's tasks and process.
#[derive(Debug)]
pub struct LinkControl(Control);

#[derive(Debug)]
enum Control {
    Stdio(Box<stdio::StdioControl>),
    Http(http::HttpControl),
}

impl LinkControl {
    /// Ends the link: over stdio end of file, grace, SIGTERM, grace, SIGKILL to every descendant; over HTTP the
    /// session is deleted. After `deadline` whatever is left is killed without further grace.
    ///
    /// Returns how the link ended, which is [`LinkEnd::Closed`] unless it had ended before.
    pub async fn close(self, deadline: Instant) -> LinkEnd {
        match self.0 {
            Control::Stdio(control) => control.close(deadline).await,
            Control::Http(control) => control.close(deadline).await,
        }
    }

    /// How many messages were dropped because they were no JSON-RPC, answered nothing, or came faster than they were
    /// taken.
    #[must_use]
    pub fn dropped_messages(&self) -> u64 {
        match &self.0 {
            Control::Stdio(control) => control.dropped_messages(),
            Control::Http(control) => control.dropped_messages(),
        }
    }
}

/// Opens a link. Over stdio the process runs when this returns; over HTTP nothing was sent yet.
///
/// Cancellation safe: dropping the future kills what it started.
///
/// # Errors
/// [`OpenError`] when the policy forbids the target or the process cannot be started.
pub async fn open(target: &Target, options: &OpenOptions) -> Result<Link, OpenError> {
    match target {
        Target::Stdio(target) => stdio::open(target, options).await,
        Target::Http(target) => http::open(target, options),
    }
}
