//! At most one piece of work of a kind, running beside an actor's loop.
//!
//! Dropping a slot drops the work, so nothing in it outlives the loop.

use std::{future::Future, pin::Pin, task::Poll};

/// Room for one piece of work.
pub(super) struct Slot<T>(Option<Pin<Box<dyn Future<Output = T> + Send>>>);

impl<T> Slot<T> {
    /// Nothing runs.
    pub(super) fn idle() -> Self {
        Self(None)
    }

    /// Whether nothing runs.
    pub(super) fn is_idle(&self) -> bool {
        self.0.is_none()
    }

    /// Starts work; whatever ran before is dropped.
    pub(super) fn start(&mut self, work: impl Future<Output = T> + Send + 'static) {
        self.0 = Some(Box::pin(work));
    }

    /// Completes with the work, or never without any. Cancel safe.
    pub(super) async fn done(&mut self) -> T {
        std::future::poll_fn(|context| {
            let Some(work) = self.0.as_mut() else {
                return Poll::Pending;
            };
            let output = work.as_mut().poll(context);
            if output.is_ready() {
                self.0 = None;
            }
            output
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::Slot;

    #[tokio::test]
    async fn work_survives_that_nobody_waits_for_it_for_a_while_and_frees_the_slot() {
        let mut slot = Slot::idle();
        assert!(slot.is_idle());
        let (sender, receiver) = tokio::sync::oneshot::channel();
        slot.start(async move { receiver.await.unwrap() });
        tokio::select! {
            biased;
            () = slot.done() => panic!("done too early"),
            () = std::future::ready(()) => {}
        }
        assert!(!slot.is_idle());
        sender.send(()).unwrap();
        slot.done().await;
        assert!(slot.is_idle());
    }
}
