//! Promises of task sets.

use std::future::pending;

use tokio::sync::oneshot;

use super::*;

/// Longer than any of these takes, on a busy machine too.
const PATIENCE: Duration = Duration::from_secs(20);

/// Tells when it is dropped, which is when its task has really gone.
struct Alive(#[expect(dead_code, reason = "dropping it is the message")] oneshot::Sender<()>);

fn alive() -> (Alive, oneshot::Receiver<()>) {
    let (sender, receiver) = oneshot::channel();
    (Alive(sender), receiver)
}

#[tokio::test]
async fn stopping_waits_for_tasks_that_listen_to_the_token() {
    let tasks = Tasks::new("test");
    let (token, (alive, gone)) = (tasks.token(), alive());
    tasks.spawn("listener", async move {
        token.cancelled().await;
        drop(alive);
    });
    assert_eq!(tasks.len(), 1);
    assert!(tasks.stop(PATIENCE).await.is_clean());
    assert!(gone.await.is_err());
    assert!(tasks.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_task_that_does_not_listen_is_aborted_at_the_deadline_and_named() {
    let tasks = Tasks::new("test");
    let (alive, gone) = alive();
    tasks.spawn("deaf", async move {
        let _alive = alive;
        pending::<()>().await;
    });
    let stopped = tasks.stop(PATIENCE).await;
    assert_eq!(
        stopped,
        Stopped {
            aborted: vec!["test/deaf".into()],
            stuck: vec![]
        }
    );
    assert!(gone.await.is_err());
}

#[tokio::test]
async fn dropping_the_set_ends_its_tasks() {
    let tasks = Tasks::new("test");
    let (alive, gone) = alive();
    tasks.spawn("orphan", async move {
        let _alive = alive;
        pending::<()>().await;
    });
    drop(tasks);
    assert!(gone.await.is_err());
}

#[tokio::test]
async fn a_service_task_that_returns_is_reported_but_a_job_is_not() {
    let tasks = Tasks::new("test");
    let (done, finished) = oneshot::channel::<()>();
    tasks.spawn_job("job", async move { drop(done) });
    assert!(finished.await.is_err());
    tasks.spawn("service", async {});
    let end = tasks.early_end().await;
    assert_eq!(
        (end.task.as_str(), end.cause),
        ("service", EarlyEndCause::Returned)
    );
}

#[tokio::test]
async fn a_panic_in_a_child_set_reaches_the_parent_and_spares_the_others() {
    let tasks = Tasks::new("parent");
    let child = tasks.child("child");
    child.spawn("bad", async { panic!("by test") });
    let end = tasks.early_end().await;
    assert_eq!(end.to_string(), "task child/bad panicked: by test");
    let (done, finished) = oneshot::channel::<()>();
    child.spawn_job("good", async move { drop(done) });
    assert!(finished.await.is_err());
}

#[tokio::test]
async fn a_panic_in_a_job_ends_that_job_and_nothing_else() {
    let (logged, _guard) = logged();
    let tasks = Tasks::new("parent");
    let child = tasks.child("child");
    child.spawn_job("bad", async { panic!("by test") });
    child.inner.tracker.close();
    child.inner.tracker.wait().await;
    assert_eq!(tasks.early_end().now_or_never(), None);
    assert_eq!(child.early_end().now_or_never(), None);
    let text = String::from_utf8(lock(&logged).clone()).expect("text");
    let expected = "task child/bad panicked: by test";
    assert!(text.contains("ERROR") && text.contains(expected), "{text}");
}

/// What this thread logs.
fn logged() -> (Arc<Mutex<Vec<u8>>>, tracing::subscriber::DefaultGuard) {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let writer = Arc::clone(&lines);
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(move || Lines(Arc::clone(&writer)))
        .finish();
    (lines, tracing::subscriber::set_default(subscriber))
}

fn lock(lines: &Mutex<Vec<u8>>) -> MutexGuard<'_, Vec<u8>> {
    lines.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Lines(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        lock(&self.0).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn stopping_the_parent_stops_the_child_but_not_the_other_way_round() {
    let tasks = Tasks::new("parent");
    let (first, second) = (tasks.child("first"), tasks.child("second"));
    let listen = |token: CancellationToken| async move { token.cancelled().await };
    tasks.spawn("own", listen(tasks.token()));
    first.spawn("one", listen(first.token()));
    second.spawn("two", listen(second.token()));
    assert!(first.stop(PATIENCE).await.is_clean());
    assert_eq!(tasks.len(), 2);
    assert!(!tasks.token().is_cancelled());
    assert!(tasks.stop(PATIENCE).await.is_clean());
    assert!(second.is_empty());
}

#[tokio::test]
async fn nothing_starts_in_a_stopped_set() {
    let tasks = Tasks::new("test");
    tasks.stop(PATIENCE).await;
    let (alive, gone) = alive();
    tasks.spawn("late", async move {
        let _alive = alive;
        pending::<()>().await;
    });
    assert!(gone.await.is_err());
    let late_child = tasks.child("late");
    late_child.spawn_job("job", pending());
    assert!(late_child.is_empty());
}

#[tokio::test]
async fn a_task_may_start_its_last_work_while_the_set_is_draining() {
    let tasks = Arc::new(Tasks::new("test"));
    let (owner, token, (alive, gone)) = (Arc::downgrade(&tasks), tasks.token(), alive());
    tasks.spawn("worker", async move {
        token.cancelled().await;
        if let Some(tasks) = owner.upgrade() {
            tasks.spawn_job("farewell", async move { drop(alive) });
        }
    });
    assert!(tasks.stop(PATIENCE).await.is_clean());
    assert!(gone.await.is_err());
}
