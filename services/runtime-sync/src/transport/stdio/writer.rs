//! The only one who writes to a server's input.
//!
//! Invariants: whatever waits is written together; a message is either written whole, in order, or it ends the link; a message that was withdrawn in time
//! is never written; a write that makes no progress ends the link, so that nothing waits for a server that reads no
//! more.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use tokio::{io::AsyncWriteExt as _, net::unix::pipe, sync::mpsc, time::timeout};

use super::Shared;
use crate::transport::error::{LinkEnd, end_of};

/// How long the cause may take to be reported after the server's input was found closed.
const SETTLE: Duration = Duration::from_millis(500);

/// How much is collected for one write; less than a pipe holds.
const BATCH: usize = 16 << 10;

/// One line to write.
#[derive(Debug)]
pub(super) struct Outgoing {
    /// With its line end.
    pub(super) line: Bytes,
    /// Present when the sender may still take it back.
    pub(super) claim: Option<Arc<Claim>>,
}

/// Who has a message: the queue, the wire, or its sender again.
#[derive(Debug, Default)]
pub(super) struct Claim(AtomicU8);

const QUEUED: u8 = 0;
const WRITTEN: u8 = 1;
const WITHDRAWN: u8 = 2;

impl Claim {
    /// Takes the message back. `false`: at least a byte of it may have been written.
    pub(super) fn withdraw(&self) -> bool {
        match self
            .0
            .compare_exchange(QUEUED, WITHDRAWN, Ordering::AcqRel, Ordering::Acquire)
        {
            Ok(_) => true,
            Err(now) => now == WITHDRAWN,
        }
    }

    fn take_to_write(&self) -> bool {
        self.0
            .compare_exchange(QUEUED, WRITTEN, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    fn give_back_unwritten(&self) {
        self.0.store(WITHDRAWN, Ordering::Release);
    }
}

/// Writes until the link ends; then the server's input is closed.
pub(super) async fn run(
    mut stdin: pipe::Sender,
    mut queue: mpsc::Receiver<Outgoing>,
    shared: Arc<Shared>,
    patience: Duration,
) {
    let mut ended = shared.ended.subscribe();
    loop {
        let message = tokio::select! {
            biased;
            _ = end_of(&mut ended) => return,
            message = queue.recv() => message,
        };
        let Some(message) = message else {
            return;
        };
        // Nothing of it is kept while the server is idle.
        let mut batch = Batch::default();
        batch.fill(message, &mut queue);
        let written = tokio::select! {
            biased;
            written = batch.write(&mut stdin, patience) => written,
            // The rest of a line that nobody waits for any more need not be written.
            _ = end_of(&mut ended) => return batch.give_back_the_rest(),
        };
        let Err(error) = written else {
            continue;
        };
        batch.give_back_the_rest();
        // A server that closed its input most likely ended: the guard will say how.
        if error.kind() == io::ErrorKind::TimedOut
            || timeout(SETTLE, end_of(&mut ended)).await.is_err()
        {
            shared.end(LinkEnd::InputBlocked);
        }
        return;
    }
}

/// Messages that are written together: many small ones cost one write.
#[derive(Debug, Default)]
struct Batch {
    text: BytesMut,
    /// How much of the text the kernel took.
    written: usize,
    /// Where each message that may be taken back begins.
    claims: Vec<(usize, Arc<Claim>)>,
}

impl Batch {
    /// Takes a message and whatever waits behind it, up to a bound.
    fn fill(&mut self, first: Outgoing, queue: &mut mpsc::Receiver<Outgoing>) {
        let mut next = Some(first);
        while let Some(Outgoing { line, claim }) = next {
            if claim.as_ref().is_none_or(|claim| claim.take_to_write()) {
                let start = self.text.len();
                self.claims.extend(claim.map(|claim| (start, claim)));
                self.add(line);
            }
            // What is not taken now can still be taken back.
            next = (self.text.len() < BATCH)
                .then(|| queue.try_recv().ok())
                .flatten();
        }
    }

    fn add(&mut self, line: Bytes) {
        if self.text.is_empty() {
            // A message that is alone, as large ones are, is not copied.
            match line.try_into_mut() {
                Ok(line) => self.text = line,
                Err(line) => self.text.extend_from_slice(&line),
            }
        } else {
            self.text.extend_from_slice(&line);
        }
    }

    async fn write(&mut self, stdin: &mut pipe::Sender, patience: Duration) -> io::Result<()> {
        while self.written < self.text.len() {
            // Each piece has its time, so a large message to a slow server is no failure.
            match timeout(patience, stdin.write(&self.text[self.written..])).await {
                Ok(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(Ok(taken)) => self.written += taken,
                Ok(Err(error)) => return Err(error),
                Err(_) => return Err(io::ErrorKind::TimedOut.into()),
            }
        }
        Ok(())
    }

    /// The kernel took no byte of these: it is proved that the server has not seen them.
    fn give_back_the_rest(&self) {
        for (start, claim) in &self.claims {
            if *start >= self.written {
                claim.give_back_unwritten();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_either_written_or_withdrawn_never_both() {
        let claim = Claim::default();
        assert!(claim.withdraw());
        assert!(claim.withdraw(), "taking back twice is taking back");
        assert!(!claim.take_to_write());

        let claim = Claim::default();
        assert!(claim.take_to_write());
        assert!(!claim.withdraw());
        claim.give_back_unwritten();
        assert!(claim.withdraw());
    }

    fn message(text: &'static str) -> (Outgoing, Arc<Claim>) {
        let claim = Arc::new(Claim::default());
        let outgoing = Outgoing {
            line: Bytes::from_static(text.as_bytes()),
            claim: Some(Arc::clone(&claim)),
        };
        (outgoing, claim)
    }

    #[tokio::test]
    async fn what_waits_is_written_together_and_what_was_not_written_is_given_back() {
        let (sender, mut queue) = mpsc::channel(8);
        let (first, first_claim) = message("first\n");
        let (second, second_claim) = message("second\n");
        let (withdrawn, claim) = message("withdrawn\n");
        assert!(claim.withdraw());
        for waiting in [withdrawn, second] {
            sender.send(waiting).await.unwrap();
        }
        let mut batch = Batch::default();
        batch.fill(first, &mut queue);
        assert_eq!(batch.text, "first\nsecond\n");
        assert!(queue.is_empty());
        batch.written = 3;
        batch.give_back_the_rest();
        assert!(!first_claim.withdraw(), "a piece of it is gone");
        assert!(second_claim.withdraw());
    }

    #[tokio::test]
    async fn behind_a_large_message_the_others_stay_in_the_queue() {
        let (sender, mut queue) = mpsc::channel(8);
        let (small, claim) = message("small\n");
        sender.send(small).await.unwrap();
        let large = Outgoing {
            line: Bytes::from(vec![b'x'; BATCH]),
            claim: None,
        };
        let mut batch = Batch::default();
        batch.fill(large, &mut queue);
        assert_eq!(queue.len(), 1);
        assert!(claim.withdraw());
    }
}
