//! Named task sets: the only way to start a task.
//!
//! The invariant: a task ends no later than the set it was started in. `stop` cancels, joins under
//! a deadline and aborts the rest; dropping the set aborts at once. A task meant to last that ends
//! before it was told to, by a panic too, is logged and told to whoever awaits [`Tasks::early_end`].
//! A job that panics is logged, and ends nothing but itself.
//!
//! Not here: restarting. Exit of a task is data; its supervisor decides.

use std::{
    any::Any,
    borrow::Cow,
    collections::HashMap,
    fmt,
    future::Future,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use futures_util::{FutureExt as _, future::join_all};
use tokio::{sync::watch, task::AbortHandle, time::Instant};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// How long an aborted task may take to notice; only a task that blocks its thread needs longer.
const ABORT_GRACE: Duration = Duration::from_secs(1);

/// A set of named tasks with one owner.
///
/// Tasks learn that they should end through [`Tasks::token`]. Sets nest: see [`Tasks::child`].
pub struct Tasks {
    inner: Arc<Inner>,
}

struct Inner {
    name: Cow<'static, str>,
    cancel: CancellationToken,
    tracker: TaskTracker,
    table: Mutex<Table>,
    early_end: watch::Sender<Option<EarlyEnd>>,
    parent: Option<Weak<Inner>>,
}

#[derive(Default)]
struct Table {
    closed: bool,
    next: u64,
    running: HashMap<u64, (Cow<'static, str>, AbortHandle)>,
    children: Vec<Weak<Inner>>,
}

/// A task meant to last that ended though nobody had asked it to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EarlyEnd {
    /// The set the task was started in.
    pub set: String,
    /// The task.
    pub task: String,
    /// How it ended.
    pub cause: EarlyEndCause,
}

/// How a task ended early.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EarlyEndCause {
    /// Its future completed.
    Returned,
    /// It panicked with this message.
    Panicked(String),
}

impl fmt::Display for EarlyEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { set, task, cause } = self;
        match cause {
            EarlyEndCause::Returned => write!(f, "task {set}/{task} ended before it was told to"),
            EarlyEndCause::Panicked(message) => write!(f, "task {set}/{task} panicked: {message}"),
        }
    }
}

/// What [`Tasks::stop`] had to do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stopped {
    /// Tasks that had not ended at the deadline and were aborted, as `set/task`.
    pub aborted: Vec<String>,
    /// Aborted tasks that still ran a second later, because they block their thread.
    pub stuck: Vec<String>,
}

impl Stopped {
    /// Whether every task ended by itself in time.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.aborted.is_empty()
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Service,
    Job,
}

impl Tasks {
    /// An empty set; the name stands in logs and in [`EarlyEnd`].
    #[must_use]
    pub fn new(name: impl Into<Cow<'static, str>>) -> Self {
        Self {
            inner: Inner::new(name.into(), CancellationToken::new(), None),
        }
    }

    /// A set inside this one: cancelled with it, and stopped by its `stop`, but owned apart.
    ///
    /// Stopping the child leaves the parent running.
    #[must_use]
    pub fn child(&self, name: impl Into<Cow<'static, str>>) -> Self {
        let parent = Arc::downgrade(&self.inner);
        let child = Inner::new(name.into(), self.inner.cancel.child_token(), Some(parent));
        let mut table = self.inner.table();
        child.table().closed = table.closed;
        table.children.retain(|child| child.strong_count() > 0);
        table.children.push(Arc::downgrade(&child));
        drop(table);
        Self { inner: child }
    }

    /// The token that is cancelled when the set stops. Give a clone to every task.
    #[must_use]
    pub fn token(&self) -> CancellationToken {
        self.inner.cancel.clone()
    }

    /// Starts a task that is to run for as long as the set: returning before the set is
    /// cancelled is reported as an [`EarlyEnd`], and so is a panic.
    pub fn spawn<F>(&self, name: impl Into<Cow<'static, str>>, future: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.inner.spawn(name.into(), Kind::Service, future);
    }

    /// Starts a task that may end when its work is done. A panic is logged at ERROR and ends only
    /// this task: whoever waits for its work has to notice, by a closed channel or a drop guard.
    pub fn spawn_job<F>(&self, name: impl Into<Cow<'static, str>>, future: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.inner.spawn(name.into(), Kind::Job, future);
    }

    /// Completes at the first task meant to last, of this set or a child set, that ended early; at
    /// once if that was before. Jobs do not count. Cancel safe.
    pub async fn early_end(&self) -> EarlyEnd {
        let mut ends = self.inner.early_end.subscribe();
        match ends.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(end)) => end.clone(),
            // The sender lives as long as `self`, and `wait_for` waited for `Some`.
            Ok(None) | Err(_) => std::future::pending().await,
        }
    }

    /// The number of tasks running now, child sets included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.inner
            .family()
            .iter()
            .map(|set| set.tracker.len())
            .sum()
    }

    /// Whether no task is running.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Cancels all tasks, child sets included, waits for them for at most `grace`, then aborts
    /// what is left. Nothing can be started in the set afterwards.
    ///
    /// Not cancel safe: dropping this future leaves the tasks cancelled but not joined (dropping
    /// the set then aborts them).
    pub async fn stop(&self, grace: Duration) -> Stopped {
        let deadline = Instant::now() + grace;
        self.inner.cancel.cancel();
        let in_time = tokio::time::timeout_at(deadline, join_family(&self.inner.family())).await;
        let family = self.inner.family();
        let aborted: Vec<String> = family.iter().flat_map(|set| set.abort()).collect();
        let mut stuck = Vec::new();
        if in_time.is_err() || !aborted.is_empty() {
            let joined = tokio::time::timeout(ABORT_GRACE, join_family(&family)).await;
            if joined.is_err() {
                stuck = family.iter().flat_map(|set| set.running()).collect();
            }
            tracing::warn!(set = %self.inner.name, ?aborted, ?stuck, "tasks aborted at the deadline");
        }
        Stopped { aborted, stuck }
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        self.inner.cancel.cancel();
        for set in self.inner.family() {
            set.abort();
        }
    }
}

impl fmt::Debug for Tasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tasks")
            .field("name", &self.inner.name)
            .field("len", &self.len())
            .finish()
    }
}

async fn join_family(family: &[Arc<Inner>]) {
    join_all(family.iter().map(|set| {
        set.tracker.close();
        set.tracker.wait()
    }))
    .await;
}

impl Inner {
    fn new(
        name: Cow<'static, str>,
        cancel: CancellationToken,
        parent: Option<Weak<Self>>,
    ) -> Arc<Self> {
        Arc::new(Self {
            name,
            cancel,
            tracker: TaskTracker::new(),
            table: Mutex::default(),
            early_end: watch::Sender::new(None),
            parent,
        })
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // The table is consistent between any two statements, so a poisoned lock is harmless.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn spawn<F>(self: &Arc<Self>, name: Cow<'static, str>, kind: Kind, future: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        // Held over the spawn, so that a task that ends at once finds its own entry to remove.
        let mut table = self.table();
        if table.closed {
            tracing::debug!(set = %self.name, task = %name, "not started: the set has stopped");
            return;
        }
        let id = table.next;
        table.next += 1;
        let entry = Entry {
            set: Arc::clone(self),
            id,
        };
        let task = name.clone();
        let handle = self.tracker.spawn(async move {
            let outcome = AssertUnwindSafe(future).catch_unwind().await;
            entry.set.ended(&task, kind, outcome);
            drop(entry);
        });
        table.running.insert(id, (name, handle.abort_handle()));
    }

    fn ended(&self, task: &str, kind: Kind, outcome: Result<(), Box<dyn Any + Send>>) {
        let cause = match (outcome, kind) {
            (Err(panic), _) => EarlyEndCause::Panicked(panic_message(panic.as_ref())),
            (Ok(()), Kind::Job) => return,
            (Ok(()), Kind::Service) if self.cancel.is_cancelled() => return,
            (Ok(()), Kind::Service) => EarlyEndCause::Returned,
        };
        let end = EarlyEnd {
            set: self.name.to_string(),
            task: task.to_owned(),
            cause,
        };
        tracing::error!("{end}");
        match kind {
            Kind::Service => self.report(&end),
            // One call's or one session's bug is not the end of everybody else's.
            Kind::Job => {}
        }
    }

    fn report(&self, end: &EarlyEnd) {
        self.early_end.send_if_modified(|first| {
            let is_first = first.is_none();
            first.get_or_insert_with(|| end.clone());
            is_first
        });
        if let Some(parent) = self.parent.as_ref().and_then(Weak::upgrade) {
            parent.report(end);
        }
    }

    /// This set and all sets below it.
    fn family(self: &Arc<Self>) -> Vec<Arc<Self>> {
        let children: Vec<_> = self
            .table()
            .children
            .iter()
            .filter_map(Weak::upgrade)
            .collect();
        let below = children.iter().flat_map(Self::family);
        std::iter::once(Arc::clone(self)).chain(below).collect()
    }

    /// Closes the set and aborts what runs; gives the names of what was aborted.
    fn abort(&self) -> Vec<String> {
        let mut table = self.table();
        table.closed = true;
        table
            .running
            .values()
            .for_each(|(_, handle)| handle.abort());
        drop(table);
        self.running()
    }

    fn running(&self) -> Vec<String> {
        let table = self.table();
        table
            .running
            .values()
            .map(|(name, _)| format!("{}/{name}", self.name))
            .collect()
    }
}

/// Takes the task out of the table however it ends, an abort included.
struct Entry {
    set: Arc<Inner>,
    id: u64,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.set.table().running.remove(&self.id);
    }
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".into())
}

#[cfg(test)]
mod tests;
