//! A link over streamable HTTP.
//!
//! Invariants: one endpoint, one connection pool, one task; raw calls run in their callers' tasks and share session,
//! headers and policy with rmcp's messages; nothing is read without a bound. rmcp's own HTTP client is not used: it
//! holds bodies without a bound, hangs on a session that a server denies with 400, and cannot begin a modern session
//! with a subscription. A lost session ends the link; beginning a new one is the session's.

mod answer;
mod calls;
mod driver;
mod headers;
mod messages;
mod notices;
mod request;
mod resume;
mod sse;
mod stream;
mod wire;

use std::sync::{Arc, RwLock, atomic::AtomicU64};

use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::{Instant, timeout_at},
};
use tokio_util::sync::{CancellationToken, DropGuard};

pub(super) use self::{calls::HttpCalls, messages::HttpMessages};
use self::{
    driver::Driver,
    wire::{Session, Wire},
};
use super::{
    Control, Link, LinkControl,
    call::{CallWire, Wire as AnyWire},
    error::{LinkEnd, OpenError},
    inbound::Inbound,
    messages::{LinkTransport, Messages},
    options::OpenOptions,
    target::HttpTarget,
};
use crate::domain::{FailureCode, Stage};

/// Judges the URL and makes the client. Nothing is sent yet.
pub(super) fn open(target: &HttpTarget, options: &OpenOptions) -> Result<Link, OpenError> {
    options
        .egress
        .policy()
        .check_url(options.scope, &target.url)
        .map_err(OpenError::refused)?;
    let client = options.egress.client(options.scope).map_err(|_| {
        OpenError::new(
            FailureCode::ConnectionFailed,
            Stage::Connect,
            "no HTTP client could be made",
        )
    })?;
    let limits = options.limits.clone();
    let (jobs, to_do) = mpsc::channel(limits.queue);
    let (inbound, messages) = mpsc::channel(limits.queue);
    let (ended, ending) = watch::channel(None);
    let closed = CancellationToken::new();
    let wire = Arc::new(Wire {
        client,
        egress: options.egress.clone(),
        scope: options.scope,
        url: target.url.clone(),
        headers: headers::base(target)?,
        session: RwLock::new(Session::default()),
        jobs,
        inbound: Inbound::new(inbound),
        next: AtomicU64::new(1),
        ended,
        closed: closed.clone(),
        limits,
    });
    let mut tasks = JoinSet::new();
    tasks.spawn(Driver::new(Arc::clone(&wire), to_do).run());
    Ok(Link {
        messages: LinkTransport(Messages::Http(Box::new(HttpMessages::new(
            Arc::clone(&wire),
            messages,
        )))),
        calls: CallWire(AnyWire::Http(HttpCalls::new(Arc::clone(&wire)))),
        ended: ending,
        stderr: None,
        control: LinkControl(Control::Http(HttpControl {
            wire,
            _tasks: tasks,
            _closes: closed.drop_guard(),
        })),
    })
}

/// Keeps the link's task; dropping it ends the link and its calls.
#[derive(Debug)]
pub(super) struct HttpControl {
    wire: Arc<Wire>,
    _tasks: JoinSet<()>,
    _closes: DropGuard,
}

impl HttpControl {
    pub(super) async fn close(self, deadline: Instant) -> LinkEnd {
        self.wire.end(LinkEnd::Closed);
        self.wire.closed.cancel();
        let end = self.wire.ended.borrow().clone().unwrap_or(LinkEnd::Closed);
        if end != LinkEnd::SessionLost {
            let _late = timeout_at(deadline, self.wire.delete_session()).await;
        }
        end
    }

    pub(super) fn dropped_messages(&self) -> u64 {
        self.wire.inbound.dropped()
    }
}
