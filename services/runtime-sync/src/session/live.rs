//! One connection that is up: its wire, what was negotiated on it, and who rides it.
//!
//! `Live` is what calls, probes and syncs share and outlives nothing; `Connection` owns the link and is held by the
//! actor alone, so that exactly one place can end it.

use std::{
    any::Any,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use bytes::Bytes;
use lifecycle::CancellationToken;
use rmcp::{RoleClient, service::RunningService};
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};

use super::notices::{Notices, Notifier};
use crate::{
    domain::{Era, HeaderRule},
    transport::{CallWire, LinkControl, LinkEnd, RawCall, RawReply, StderrTail, WireError},
};

/// What a server said of itself, and what was agreed on.
#[derive(Clone, Debug)]
pub(crate) struct Agreement {
    /// The era of the revision.
    pub(crate) era: Era,
    /// The revision.
    pub(crate) version: String,
    /// The server's description of itself, as JSON text; see [`kept`].
    pub(crate) server_info: Option<Bytes>,
    /// Whether it says that it announces changes of its list of tools.
    pub(crate) announces_tools: bool,
}

/// The largest description of itself that is kept of a server, in bytes.
const MAX_SERVER_INFO: usize = 16 * 1024;

/// A server's description of itself, if it is small enough to be kept for as long as the session lives.
pub(super) fn kept(server_info: &[u8]) -> Option<Bytes> {
    (server_info.len() <= MAX_SERVER_INFO).then(|| Bytes::copy_from_slice(server_info))
}

/// The shared part of a connection.
#[derive(Debug)]
pub(crate) struct Live {
    calls: CallWire,
    /// What was agreed on.
    pub(crate) agreement: Agreement,
    /// Whether header annotations of tools are obeyed on this connection.
    pub(crate) header_rule: HeaderRule,
    /// Fired when something suggests that the server should be probed at once.
    pub(crate) suspect: Notify,
    started: Instant,
    /// Milliseconds from `started` to the last answer of the server.
    answered: AtomicU64,
}

impl Live {
    pub(crate) fn new(calls: CallWire, agreement: Agreement, header_rule: HeaderRule) -> Self {
        Self {
            calls,
            agreement,
            header_rule,
            suspect: Notify::new(),
            started: Instant::now(),
            answered: AtomicU64::new(0),
        }
    }

    /// Sends a request. The wire's own deadline is backed by a second one, because no wire is trusted to keep it.
    pub(crate) async fn request(
        &self,
        call: RawCall,
        deadline: Instant,
        cancel: CancellationToken,
    ) -> Result<RawReply, WireError> {
        let answer = guarded(&self.calls, call, deadline, cancel).await;
        // An error may come from whatever stands in front of a dead server.
        if matches!(answer, Ok(RawReply::Result(_))) {
            let passed = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
            self.answered.fetch_max(passed, Ordering::Relaxed);
        }
        answer
    }

    /// How long ago the server last answered anything.
    pub(crate) fn silent_for(&self) -> Duration {
        let answered = Duration::from_millis(self.answered.load(Ordering::Relaxed));
        self.started.elapsed().saturating_sub(answered)
    }
}

/// How long after its own deadline a wire is still waited for.
const OVERTIME: Duration = Duration::from_secs(1);

/// A request with a deadline that holds whatever the wire does.
pub(super) async fn guarded(
    calls: &CallWire,
    call: RawCall,
    deadline: Instant,
    cancel: CancellationToken,
) -> Result<RawReply, WireError> {
    use crate::transport::{Sent, WireErrorKind};
    let answer = calls.call(call, deadline, cancel);
    tokio::time::timeout_at(deadline + OVERTIME, answer)
        .await
        .unwrap_or(Err(WireError {
            kind: WireErrorKind::DeadlineExceeded,
            sent: Sent::SentUnknown,
        }))
}

/// Completes when a link has ended by itself, with the reason if it is known. Cancel safe.
pub(super) async fn end_of_link(ended: &mut watch::Receiver<Option<LinkEnd>>) -> Option<LinkEnd> {
    match ended.wait_for(Option::is_some).await {
        Ok(end) => end.clone(),
        // The link went away without a word, which is an end like any other.
        Err(_) => None,
    }
}

/// The owned part of a connection.
pub(super) struct Connection {
    pub(super) service: RunningService<RoleClient, Notifier>,
    pub(super) notices: Notices,
    pub(super) ended: watch::Receiver<Option<LinkEnd>>,
    pub(super) stderr: Option<StderrTail>,
    pub(super) control: LinkControl,
    pub(super) revoked: CancellationToken,
    pub(super) lease: Option<Box<dyn Any + Send + Sync>>,
}

impl Connection {
    /// Ends the connection within a bound.
    pub(super) async fn close(self, grace: Duration) {
        let deadline = Instant::now() + grace;
        let Self {
            mut service,
            control,
            lease,
            ..
        } = self;
        // Closing the link first unblocks whatever rmcp still waits for; waiting for rmcp first can deadlock.
        close_link(control, deadline).await;
        match service.close_with_timeout(Duration::from_secs(1)).await {
            Ok(_) => {}
            Err(error) => tracing::warn!(panicked = error.is_panic(), "the protocol task failed"),
        }
        drop(lease);
    }
}

/// How long a server that is killed at its deadline may take to be gone.
const KILLED: Duration = Duration::from_secs(1);

/// Ends a link, so that when this returns nothing of it is left that another one could meet.
pub(super) async fn close_link(control: LinkControl, deadline: Instant) {
    let dropped = control.dropped_messages();
    if dropped > 0 {
        tracing::debug!(dropped, "messages of the server were of no use");
    }
    let closed = tokio::time::timeout_at(deadline + KILLED, control.close(deadline)).await;
    if closed.is_err() {
        tracing::warn!("a link did not close in time and was dropped");
    }
}

#[cfg(test)]
mod tests {
    use super::{MAX_SERVER_INFO, kept};

    #[test]
    fn only_a_small_description_is_kept() {
        assert!(kept(&vec![b'x'; MAX_SERVER_INFO]).is_some());
        assert!(kept(&vec![b'x'; MAX_SERVER_INFO + 1]).is_none());
    }
}
