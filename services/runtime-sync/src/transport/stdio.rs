//! A link over the standard streams of a child process, which runs under our guard.
//!
//! Invariants: the pipes are ours and rmcp rides them; a server that stops reading, floods, prints garbage or dies
//! costs its own link at most; queues, lines and waits are bounded. A line over the limit is skipped and fails the
//! call it answered; if that cannot be told, or if the line has no end, it ends the link.

mod calls;
mod messages;
mod process;
mod reader;
mod supervision;
mod writer;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, atomic::AtomicU64},
    time::Duration,
};

use tokio::{
    io::AsyncWriteExt as _,
    net::unix::OwnedWriteHalf,
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
    time::{Instant, timeout, timeout_at},
};

use self::writer::Outgoing;
pub(super) use self::{calls::StdioCalls, messages::StdioMessages};
use super::{
    Control, Link, LinkControl,
    call::{CallWire, RawReply, Wire},
    error::{LinkEnd, OpenError, WireErrorKind},
    inbound::Inbound,
    messages::{LinkTransport, Messages},
    options::OpenOptions,
    stderr::{Secrets, StderrTail},
    target::StdioTarget,
};
use crate::stdio_guard::protocol::Order;

/// How long SIGKILL may take to work.
const KILLING: Duration = Duration::from_secs(2);

type Reply = Result<RawReply, WireErrorKind>;

/// What the parts of one link share.
#[derive(Debug)]
struct Shared {
    queue: mpsc::Sender<Outgoing>,
    pending: Mutex<HashMap<u64, oneshot::Sender<Reply>>>,
    next: AtomicU64,
    ended: watch::Sender<Option<LinkEnd>>,
    inbound: Inbound,
}

impl Shared {
    /// Ends the link; the first reason stays.
    fn end(&self, end: LinkEnd) {
        self.ended.send_if_modified(|ended| {
            let first = ended.is_none();
            if first {
                *ended = Some(end);
            }
            first
        });
    }

    fn expect_reply(&self, number: u64) -> oneshot::Receiver<Reply> {
        let (sender, receiver) = oneshot::channel();
        self.pending
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(number, sender);
        receiver
    }

    /// Whether this request waits for its reply, and no other.
    fn only_waits_for(&self, number: u64) -> bool {
        let pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        pending.len() == 1 && pending.contains_key(&number)
    }

    fn forget(&self, number: u64) -> Option<oneshot::Sender<Reply>> {
        self.pending
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&number)
    }
}

/// Starts the process and the tasks on its pipes.
pub(super) async fn open(target: &StdioTarget, options: &OpenOptions) -> Result<Link, OpenError> {
    let limits = &options.limits;
    let process = process::start(target, options).await?;
    let (queue, outgoing) = mpsc::channel(limits.queue);
    let (inbound, messages) = mpsc::channel(limits.queue);
    let (ended, ending) = watch::channel(None);
    let shared = Arc::new(Shared {
        queue,
        pending: Mutex::default(),
        next: AtomicU64::new(1),
        ended,
        inbound: Inbound::new(inbound),
    });
    let secrets = Secrets::of_environment(&target.env);
    let stderr = StderrTail::new(limits.stderr_lines, limits.stderr_bytes, secrets);
    let (drained, at_end) = oneshot::channel();
    let (gone, guard_gone) = oneshot::channel();

    // The link's own task set: dropping it ends them all, and with them the pipes and the process.
    let mut tasks = JoinSet::new();
    tasks.spawn(writer::run(
        process.stdin,
        outgoing,
        Arc::clone(&shared),
        limits.write,
    ));
    tasks.spawn(reader::run(
        process.stdout,
        Arc::clone(&shared),
        limits.message,
        drained,
    ));
    tasks.spawn(reader::run_stderr(process.stderr, stderr.clone()));
    tasks.spawn(supervision::run(
        process.guard,
        process.reports,
        process.pid,
        Arc::clone(&shared),
        at_end,
        gone,
    ));

    let control = StdioControl {
        shared: Arc::clone(&shared),
        orders: process.orders,
        guard_gone,
        _tasks: tasks,
    };
    Ok(Link {
        messages: LinkTransport(Messages::Stdio(StdioMessages::new(
            Arc::clone(&shared),
            messages,
        ))),
        calls: CallWire(Wire::Stdio(StdioCalls::new(shared))),
        ended: ending,
        stderr: Some(stderr),
        control: LinkControl(Control::Stdio(Box::new(control))),
    })
}

/// Keeps the tasks and the guard's control socket; dropping it makes the guard end everything.
#[derive(Debug)]
pub(super) struct StdioControl {
    shared: Arc<Shared>,
    orders: OwnedWriteHalf,
    guard_gone: oneshot::Receiver<()>,
    _tasks: JoinSet<()>,
}

impl StdioControl {
    pub(super) async fn close(mut self, deadline: Instant) -> LinkEnd {
        // The writer sees this and closes the server's input.
        self.shared.end(LinkEnd::Closed);
        let end = self
            .shared
            .ended
            .borrow()
            .clone()
            .unwrap_or(LinkEnd::Closed);
        // A guard that is gone already cannot be told, and need not.
        let _told = self.orders.write_all(&[Order::Stop.byte()]).await;
        if timeout_at(deadline, &mut self.guard_gone).await.is_err() {
            let _told = self.orders.write_all(&[Order::Kill.byte()]).await;
            let _killed = timeout(KILLING, &mut self.guard_gone).await;
        }
        end
    }

    pub(super) fn dropped_messages(&self) -> u64 {
        self.shared.inbound.dropped()
    }
}
