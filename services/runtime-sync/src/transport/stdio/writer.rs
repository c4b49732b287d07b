//! The only one who writes to a server's input.
//!
//! Invariants: a message is either written whole, in order, or it ends the link; a message that was withdrawn in time
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

use bytes::Bytes;
use tokio::{io::AsyncWriteExt as _, net::unix::pipe, sync::mpsc, time::timeout};

use super::Shared;
use crate::transport::error::{LinkEnd, end_of};

/// How long the cause may take to be reported after the server's input was found closed.
const SETTLE: Duration = Duration::from_millis(500);

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
        let Some(Outgoing { line, claim }) = message else {
            return;
        };
        if claim.as_ref().is_some_and(|claim| !claim.take_to_write()) {
            continue;
        }
        let mut left = line;
        let written = tokio::select! {
            biased;
            written = write(&mut stdin, &mut left, patience, claim.as_deref()) => written,
            // The rest of a line that nobody waits for any more need not be written.
            _ = end_of(&mut ended) => return,
        };
        match written {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                return shared.end(LinkEnd::InputBlocked);
            }
            Err(_) => {
                // The server closed its input, most likely by ending: the guard will say how.
                if timeout(SETTLE, end_of(&mut ended)).await.is_err() {
                    shared.end(LinkEnd::InputBlocked);
                }
                return;
            }
        }
    }
}

async fn write(
    stdin: &mut pipe::Sender,
    left: &mut Bytes,
    patience: Duration,
    claim: Option<&Claim>,
) -> io::Result<()> {
    let whole = left.len();
    while !left.is_empty() {
        // Each piece has its time, so a large message to a slow server is no failure.
        match timeout(patience, stdin.write_buf(left)).await {
            Ok(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(Ok(_)) => {}
            Ok(Err(error)) => {
                if left.len() == whole
                    && let Some(claim) = claim
                {
                    // The kernel took no byte of it: it is proved that the server has not seen it.
                    claim.give_back_unwritten();
                }
                return Err(error);
            }
            Err(_) => return Err(io::ErrorKind::TimedOut.into()),
        }
    }
    Ok(())
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
}
