//! The tasks that calls run in: one for each call, of the server's set.
//!
//! The invariant: a call's task is over soon after the call is. A body cannot see to that itself:
//! hyper asks it for more only while the client's window has room, so with a client that reads
//! nothing whatever a body does at its deadline is never done. Hence the race in [`bounded`].
//! hyper runs a handler and the body it returned as one future; dropping that frees what the call
//! holds, drops what is queued for the stream, and resets it with CANCEL.
//!
//! Not here: when a call has to be over (its lifetime says so, through [`end_task_by`]).

use std::{
    pin::pin,
    sync::{Arc, OnceLock, Weak},
    task::Poll,
    time::Duration,
};

use futures_util::future::BoxFuture;
use hyper::rt::Executor;
use lifecycle::Tasks;
use tokio::sync::watch;

use super::lifetime::Ends;

/// How long a body gets to say why it ends, before its stream is reset.
const TRAILERS_GRACE: Duration = Duration::from_millis(250);

tokio::task_local! {
    /// What ends the call that this task runs. Set once its body is on its way.
    static ENDS: Arc<OnceLock<Ends>>;
}

/// Ends the current call's task soon after `ends`.
pub(super) fn end_task_by(ends: &Ends) {
    // Set once: a task runs one call. Without the scope there is no task of ours to end.
    drop(ENDS.try_with(|call| call.set(ends.clone())));
}

/// The calls of one connection: what hyper starts them with.
#[derive(Clone)]
pub(super) struct Calls {
    tasks: Weak<Tasks>,
    running: watch::Sender<usize>,
}

impl Calls {
    pub(super) fn new(tasks: Weak<Tasks>) -> Self {
        Self {
            tasks,
            running: watch::Sender::new(0),
        }
    }

    /// Completes when no call has run for so long.
    pub(super) async fn quiet_for(&self, pause: Duration) {
        let mut running = self.running.subscribe();
        // The sender lives as long as `self`, so neither wait can fail.
        while running.wait_for(|running| *running == 0).await.is_ok() {
            let next = running.wait_for(|running| *running > 0);
            if tokio::time::timeout(pause, next).await.is_err() {
                return;
            }
        }
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Calls {
    fn execute(&self, call: F) {
        // After the set is gone there is nobody to answer to.
        if let Some(tasks) = self.tasks.upgrade() {
            self.running.send_modify(|running| *running += 1);
            let counted = Counted(self.running.clone());
            tasks.spawn_job("call", bounded(call, counted));
        }
    }
}

/// Runs a call until it is over, or is late.
async fn bounded<F: Future<Output = ()>>(call: F, _counted: Counted) {
    let ends = Arc::new(OnceLock::new());
    let mut call = pin!(ENDS.scope(Arc::clone(&ends), call));
    let mut late: Option<BoxFuture<'static, ()>> = None;
    std::future::poll_fn(|cx| {
        if call.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        if late.is_none() {
            late = ends.get().map(|ends| late_for(ends.clone()));
        }
        late.as_mut()
            .map_or(Poll::Pending, |late| late.as_mut().poll(cx))
    })
    .await;
}

fn late_for(ends: Ends) -> BoxFuture<'static, ()> {
    Box::pin(async move {
        ends.cause().await;
        tokio::time::sleep(TRAILERS_GRACE).await;
        tracing::debug!("a call was cut: nobody reads its answer");
    })
}

/// Counts a call until it is gone.
struct Counted(watch::Sender<usize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.send_modify(|running| *running -= 1);
    }
}
