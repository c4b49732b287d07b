//! How long a session waits before it connects again.
//!
//! Pure but for the dice: it is told what happened and says how long to wait. Waiting is the actor's.

use std::time::{Duration, Instant};

use lifecycle::{Backoff, Jitter};

use super::options::SessionOptions;
use crate::domain::{ConnectionState, Failure, Reason, Stage, restarts::Restarts};

/// The pauses of one session.
#[derive(Debug)]
pub(super) struct Pace {
    quick_retry: Duration,
    max: Duration,
    backoff: Backoff,
    failures: u32,
    restarts: Restarts,
    stable_after: Duration,
}

/// Why there is no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Setback {
    /// The reason, which says which state that is.
    pub(super) reason: Reason,
    /// The stage that failed, if it was one of connecting.
    pub(super) stage: Option<Stage>,
    /// The pause the server asked for.
    pub(super) retry_after: Option<Duration>,
}

impl From<Reason> for Setback {
    fn from(reason: Reason) -> Self {
        Self {
            reason,
            stage: None,
            retry_after: None,
        }
    }
}

impl From<Failure> for Setback {
    fn from(failure: Failure) -> Self {
        Self {
            reason: failure.code.into(),
            stage: Some(failure.stage),
            retry_after: failure.retry_after,
        }
    }
}

/// How a link ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// The server, or its output, is gone.
    Crash,
    /// The server is there and has forgotten us, which costs it nothing.
    Forgotten,
}

/// What follows from the end of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AfterEnd {
    /// Connect again after this pause.
    Reconnect(Duration),
    /// It ends again and again: hold back for this long.
    CrashLoop(Duration),
}

impl Pace {
    pub(super) fn new(options: &SessionOptions) -> Self {
        let backoff = Backoff::new(options.backoff_initial, options.backoff_max);
        Self {
            quick_retry: options.quick_retry,
            max: options.backoff_max,
            backoff: backoff.jitter(Jitter::Full),
            failures: 0,
            restarts: Restarts::new(options.restarts),
            stable_after: options.restarts.stable_after,
        }
    }

    /// Failures since the last success that lasted.
    pub(super) fn failures(&self) -> u32 {
        self.failures
    }

    /// An attempt failed; the pause before the next one.
    pub(super) fn failed(&mut self, setback: Setback) -> Duration {
        let pause = match setback.reason.state() {
            // Only a person can help; that somebody did is normally told by a new spec.
            ConnectionState::AuthRequired | ConnectionState::Misconfigured => {
                self.failures = self.failures.saturating_add(1);
                spread(self.max)
            }
            ConnectionState::Pending
            | ConnectionState::Connecting
            | ConnectionState::Ready
            | ConnectionState::Idle
            | ConnectionState::Degraded
            | ConnectionState::Unreachable
            | ConnectionState::Disabled => self.step(self.quick_retry),
        };
        pause.max(setback.retry_after.unwrap_or_default().min(self.max))
    }

    /// A link that had been up for `lived` ended by itself.
    pub(super) fn ended(&mut self, now: Instant, lived: Duration, how: Ending) -> AfterEnd {
        let lasted = match how {
            Ending::Crash => self.stable_after,
            Ending::Forgotten => self.quick_retry,
        };
        if lived >= lasted {
            self.failures = 0;
            self.backoff.reset();
        }
        let loops = how == Ending::Crash && self.restarts.ended(now, lived);
        if loops {
            self.failures = self.failures.saturating_add(1);
            AfterEnd::CrashLoop(spread(self.restarts.hold()))
        } else {
            AfterEnd::Reconnect(self.step(Duration::ZERO))
        }
    }

    /// A process ended before it could be connected to; whether that makes a crash loop, and the pause then.
    pub(super) fn exited_early(&mut self, now: Instant) -> Option<Duration> {
        self.restarts
            .ended(now, Duration::ZERO)
            .then(|| spread(self.restarts.hold()))
    }

    /// The attempt succeeded. The pauses start anew only when it turns out to last; see [`Pace::ended`].
    pub(super) fn connected_for(&mut self, lived: Duration) {
        if lived >= self.stable_after {
            self.failures = 0;
            self.backoff.reset();
        }
    }

    /// First a quick try, then growing pauses.
    fn step(&mut self, first: Duration) -> Duration {
        self.failures = self.failures.saturating_add(1);
        match self.failures {
            1 => first,
            2 if first.is_zero() => self.quick_retry,
            // Full jitter may give nothing at all; some pause is always left.
            _ => self.backoff.next_delay().max(self.quick_retry / 10),
        }
    }
}

/// A duration jittered by a fifth either way, so that many sessions do not keep step.
pub(super) fn spread(duration: Duration) -> Duration {
    duration.mul_f64(0.8 + 0.4 * rand::random::<f64>())
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{AfterEnd, Ending, Pace, Reason, SessionOptions, Setback, spread};

    fn pace() -> Pace {
        Pace::new(&SessionOptions::default())
    }

    fn asking_for(pause: Duration) -> Setback {
        Setback {
            retry_after: Some(pause),
            ..Reason::ConnectionFailed.into()
        }
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn one_quick_retry_and_then_growing_pauses_up_to_five_minutes() {
        let mut pace = pace();
        assert_eq!(pace.failed(Reason::ConnectionFailed.into()), 3 * SECOND);
        for n in 0..40 {
            let pause = pace.failed(Reason::ConnectionFailed.into());
            let cap = (5 * SECOND * 2_u32.pow(n.min(10))).min(300 * SECOND);
            assert!(pause <= cap, "pause {n} is {pause:?}");
            assert!(pause >= 3 * SECOND / 10);
        }
    }

    #[test]
    fn a_server_that_asks_for_a_pause_gets_it_within_the_cap() {
        assert!(pace().failed(asking_for(60 * SECOND)) >= 60 * SECOND);
        assert!(pace().failed(asking_for(9_000 * SECOND)) <= 300 * SECOND);
    }

    #[test]
    fn what_only_a_person_can_mend_is_tried_seldom() {
        for reason in [Reason::AuthRequired, Reason::PolicyDenied] {
            assert!(pace().failed(reason.into()) >= 240 * SECOND);
        }
    }

    #[test]
    fn a_server_that_dies_again_and_again_is_held_back() {
        let mut pace = pace();
        let now = Instant::now();
        assert_eq!(
            pace.ended(now, SECOND, Ending::Crash),
            AfterEnd::Reconnect(Duration::ZERO)
        );
        assert_eq!(
            pace.ended(now, SECOND, Ending::Crash),
            AfterEnd::Reconnect(3 * SECOND)
        );
        for _ in 0..3 {
            assert!(matches!(
                pace.ended(now, SECOND, Ending::Crash),
                AfterEnd::Reconnect(_)
            ));
        }
        assert!(
            matches!(pace.ended(now, SECOND, Ending::Crash), AfterEnd::CrashLoop(hold) if hold >= 240 * SECOND)
        );
    }

    #[test]
    fn a_server_that_lived_is_reconnected_at_once() {
        let mut pace = pace();
        for _ in 0..100 {
            assert_eq!(
                pace.ended(Instant::now(), 61 * SECOND, Ending::Crash),
                AfterEnd::Reconnect(Duration::ZERO)
            );
        }
    }

    #[test]
    fn a_server_that_only_forgets_us_is_no_crash_loop() {
        let mut pace = pace();
        for _ in 0..100 {
            assert_eq!(
                pace.ended(Instant::now(), 30 * SECOND, Ending::Forgotten),
                AfterEnd::Reconnect(Duration::ZERO)
            );
        }
        for _ in 0..100 {
            assert!(matches!(
                pace.ended(Instant::now(), Duration::ZERO, Ending::Forgotten),
                AfterEnd::Reconnect(_)
            ));
        }
        assert!(
            pace.failures() >= 100,
            "and still it is not asked without a pause"
        );
    }

    #[test]
    fn jitter_stays_within_a_fifth() {
        for _ in 0..1_000 {
            let spread = spread(10 * SECOND);
            assert!(spread >= 8 * SECOND && spread <= 12 * SECOND);
        }
    }
}
