//! The only ones who read a server's output and standard error.
//!
//! Invariants: reading never stops while the process lives, so the server is never blocked by us for longer than
//! rmcp takes a message; replies to our own calls go straight to their callers; what is no message is counted and
//! dropped; a reply that cannot be read becomes an error instead of silence.

use std::sync::Arc;

use bytes::Bytes;
use tokio::{io::AsyncReadExt as _, net::unix::pipe, sync::oneshot};

use super::{Shared, writer::Outgoing};
use crate::transport::{
    error::{LinkEnd, WireErrorKind},
    frame::{self, Envelope, Owner},
    inbound::Taken,
    lines::{Line, Lines},
    stderr::{Cut, StderrTail},
};

/// A line without an end is given up after this many times the limit.
const ENDLESS: usize = 8;
/// What is kept of one line of standard error before it is cut again to fit the ring.
const STDERR_LINE: usize = 8 << 10;

/// Reads messages until the output ends.
pub(super) async fn run(
    mut stdout: pipe::Receiver,
    shared: Arc<Shared>,
    limit: usize,
    drained: oneshot::Sender<()>,
) {
    let mut lines = Lines::new(limit);
    let router = Router { shared };
    while let Ok(read @ 1..) = stdout.read_buf(lines.room()).await {
        lines.took(read);
        while let Some(line) = lines.next() {
            router.line(line).await;
        }
        if lines.skipped() > ENDLESS.saturating_mul(limit) {
            router.shared.end(LinkEnd::LineTooLong);
        }
    }
    if let Some(line) = lines.rest() {
        router.line(line).await;
    }
    // The supervision may be gone when the link was dropped.
    let _nobody = drained.send(());
}

/// Reads standard error until it ends.
pub(super) async fn run_stderr(mut stderr: pipe::Receiver, tail: StderrTail) {
    let mut lines = Lines::new(STDERR_LINE);
    let keep = |line| match line {
        Line::Whole(text) => tail.push(&text, Cut::Whole),
        Line::Overlong { head, .. } => tail.push(&head, Cut::Short),
    };
    while matches!(stderr.read_buf(lines.room()).await, Ok(1..)) {
        while let Some(line) = lines.next() {
            keep(line);
        }
    }
    if let Some(line) = lines.rest() {
        keep(line);
    }
}

struct Router {
    shared: Arc<Shared>,
}

impl Router {
    async fn line(&self, line: Line) {
        match line {
            Line::Whole(text) => {
                for message in frame::split_batch(&text.slice_ref(text.trim_ascii())) {
                    self.message(message).await;
                }
            }
            Line::Overlong { head, tail } => self.overlong(&head, &tail),
        }
    }

    /// An overlong reply fails its own call, if that is certain; otherwise all of them, and the link.
    fn overlong(&self, head: &[u8], tail: &[u8]) {
        let guess =
            || frame::our_number_in_tail(tail).filter(|number| self.shared.only_waits_for(*number));
        let number = match frame::owner_in_head(head) {
            Owner::Our(number) => Some(number),
            Owner::SomeReply => guess(),
            Owner::Unknown => None,
        };
        match number {
            Some(number) => self.answer(number, Err(WireErrorKind::ResponseTooLarge)),
            None => self.shared.end(LinkEnd::LineTooLong),
        }
    }

    async fn message(&self, text: Bytes) {
        if text.is_empty() {
            return;
        }
        let Some(envelope) = Envelope::read(&text) else {
            return self.shared.inbound.count_dropped();
        };
        if envelope.is_reply()
            && let Some(number) = envelope.our_number()
        {
            return self.answer(number, envelope.reply(&text));
        }
        if let Taken::Answer(answer) = self.shared.inbound.take(&text, &envelope).await {
            let _full = self.shared.queue.try_send(Outgoing {
                line: Bytes::from(answer + "\n"),
                claim: None,
            });
        }
    }

    fn answer(&self, number: u64, reply: super::Reply) {
        // Unknown: answered twice, cancelled meanwhile, or invented.
        match self.shared.forget(number) {
            Some(caller) => drop(caller.send(reply)),
            None => self.shared.inbound.count_dropped(),
        }
    }
}
