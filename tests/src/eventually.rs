//! Waiting for conditions. The only clock in the tests: they never wait for a length of time.

use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};

/// Long enough for anything that is not broken, on a machine with better things to do.
pub const LONG: Duration = Duration::from_secs(30);

/// Asks again and again until there is an answer; panics with the last complaint when the time is over.
///
/// # Panics
/// When `limit` has passed.
pub async fn eventually<T>(
    what: &str,
    limit: Duration,
    mut ask: impl AsyncFnMut() -> Result<T, String>,
) -> T {
    let end = Instant::now() + limit;
    let mut ticks = interval(Duration::from_millis(25));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut complaint = "it was never asked".to_owned();
    loop {
        ticks.tick().await;
        match timeout_at(end, ask()).await {
            Ok(Ok(answer)) => return answer,
            Ok(Err(says)) => complaint = says,
            Err(_) => {
                panic!("{what}: not after {limit:?}; no answer in time, before that: {complaint}")
            }
        }
        assert!(
            Instant::now() < end,
            "{what}: not after {limit:?}; last: {complaint}"
        );
    }
}
