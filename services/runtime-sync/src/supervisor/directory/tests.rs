//! Promises about waiting for revisions and sessions.

use tokio::time::timeout;
use uuid::Uuid;

use super::*;
use crate::upstream::registry::Instance;

/// A deadline that only a hanging test reaches.
const LONG: Duration = Duration::from_secs(60);

struct Fixture {
    sessions: Sessions,
    directory: watch::Sender<Arc<Directory>>,
    patience: Patience,
}

/// Room for one who waits.
fn fixture() -> Fixture {
    let (_, desired) = watch::channel(Arc::default());
    let (directory, seen) = watch::channel(Arc::default());
    let clock = Clock::system();
    let instance = Instance {
        id: Uuid::from_u128(7),
        name: "test".into(),
    };
    let sessions = Sessions {
        desired,
        directory: seen,
        freshness: Freshness::new(clock.clone()),
        stale_after: LONG,
        lease: LeaseBoard::new(instance),
        clock,
        waits: Arc::new(Semaphore::new(1)),
    };
    let patience = Patience {
        until: Instant::now() + LONG,
        draining: CancellationToken::new(),
    };
    Fixture {
        sessions,
        directory,
        patience,
    }
}

impl Fixture {
    fn reach(&self, revision: i64) {
        self.directory.send_replace(Arc::new(Directory {
            revision: Some(revision),
            ..Directory::default()
        }));
    }

    async fn wait_for(&self, revision: i64) -> Result<(), LookupError> {
        let waited = self.sessions.wait_for(revision, &self.patience);
        timeout(LONG, waited).await.expect("no end")
    }
}

#[tokio::test]
async fn those_who_wait_are_few_and_keep_out_nobody_who_need_not() {
    let fixture = fixture();
    fixture.reach(1);
    let checks = async {
        assert_eq!(fixture.wait_for(2).await, Err(LookupError::TooManyWaits));
        assert_eq!(fixture.wait_for(1).await, Ok(()));
        assert_eq!(fixture.wait_for(0).await, Ok(()));
        fixture.reach(2);
    };
    let (waited, ()) = tokio::join!(biased; fixture.wait_for(2), checks);
    assert_eq!(waited, Ok(()));
    fixture.reach(3);
    assert_eq!(fixture.wait_for(3).await, Ok(()));
}

#[tokio::test]
async fn a_wait_ends_when_the_runtime_drains() {
    let fixture = fixture();
    fixture.reach(1);
    let drain = async { fixture.patience.draining.cancel() };
    let (waited, ()) = tokio::join!(biased; fixture.wait_for(2), drain);
    assert_eq!(waited, Err(LookupError::Stopped));
}

#[tokio::test(start_paused = true)]
async fn no_revision_is_waited_for_longer_than_half_a_minute() {
    let mut fixture = fixture();
    fixture.reach(1);
    fixture.patience.until = Instant::now() + Duration::from_secs(900);
    let began = Instant::now();
    let waited = fixture.sessions.wait_for(2, &fixture.patience).await;
    assert_eq!(waited, Err(LookupError::DeadlineExceeded));
    assert!(began.elapsed() < Duration::from_secs(31));
}
