//! Wall-clock and monotonic time as a value that is passed in, so that tests can move it.
//!
//! This is the only place that reads `SystemTime::now`. Timers of sockets and of tokio itself do
//! not go through here.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::{sync::watch, time::Instant};

/// A source of time; cheap to clone, all clones of a manual clock move together.
#[derive(Debug, Clone)]
pub struct Clock(Source);

#[derive(Debug, Clone)]
enum Source {
    System,
    Manual(Arc<Manual>),
}

#[derive(Debug)]
struct Manual {
    start: SystemTime,
    origin: Instant,
    elapsed: watch::Sender<Duration>,
}

impl Clock {
    /// The clock of the machine; the monotonic part follows `tokio::time::pause`.
    #[must_use]
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that stands at `start` and moves only by [`Clock::advance`].
    #[must_use]
    pub fn manual(start: SystemTime) -> Self {
        let elapsed = watch::Sender::new(Duration::ZERO);
        Self(Source::Manual(Arc::new(Manual {
            start,
            origin: Instant::now(),
            elapsed,
        })))
    }

    /// The wall-clock time. It may jump; never measure a duration with it.
    #[must_use]
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the clock everyone else asks"
    )]
    pub fn now(&self) -> SystemTime {
        match &self.0 {
            Source::System => SystemTime::now(),
            Source::Manual(manual) => manual.start + *manual.elapsed.borrow(),
        }
    }

    /// The monotonic time, for durations and deadlines.
    #[must_use]
    pub fn instant(&self) -> Instant {
        match &self.0 {
            Source::System => Instant::now(),
            Source::Manual(manual) => manual.origin + *manual.elapsed.borrow(),
        }
    }

    /// Completes when [`Clock::instant`] has reached `until`. Cancel safe.
    pub async fn sleep_until(&self, until: Instant) {
        match &self.0 {
            Source::System => tokio::time::sleep_until(until).await,
            Source::Manual(manual) => {
                let mut elapsed = manual.elapsed.subscribe();
                // The sender lives as long as `self`, so waiting cannot fail.
                let _reached = elapsed
                    .wait_for(|passed| manual.origin + *passed >= until)
                    .await;
            }
        }
    }

    /// Completes when `duration` has passed on this clock. Cancel safe.
    pub async fn sleep(&self, duration: Duration) {
        self.sleep_until(self.instant() + duration).await;
    }

    /// Moves a manual clock forward and wakes its sleepers.
    ///
    /// # Panics
    /// On a system clock, which nobody can move.
    pub fn advance(&self, by: Duration) {
        match &self.0 {
            Source::System => panic!("only a manual clock can be advanced"),
            Source::Manual(manual) => manual.elapsed.send_modify(|elapsed| *elapsed += by),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_moves_only_when_told() {
        let clock = Clock::manual(SystemTime::UNIX_EPOCH);
        let (wall, monotonic) = (clock.now(), clock.instant());
        assert_eq!((clock.now(), clock.instant()), (wall, monotonic));
        clock.clone().advance(Duration::from_secs(90));
        assert_eq!(clock.now(), wall + Duration::from_secs(90));
        assert_eq!(clock.instant(), monotonic + Duration::from_secs(90));
    }

    #[tokio::test]
    async fn a_sleeper_on_a_manual_clock_wakes_when_its_time_is_reached() {
        let clock = Clock::manual(SystemTime::UNIX_EPOCH);
        let sleeper = clock.sleep(Duration::from_secs(10));
        tokio::pin!(sleeper);
        assert!(futures_util::poll!(&mut sleeper).is_pending());
        clock.advance(Duration::from_secs(9));
        assert!(futures_util::poll!(&mut sleeper).is_pending());
        clock.advance(Duration::from_secs(1));
        sleeper.await;
    }
}
