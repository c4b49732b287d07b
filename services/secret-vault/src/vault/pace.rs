//! How fast grants may be made: a token bucket, so that a registry gone wrong cannot drain the vault.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

#[derive(Debug)]
pub(super) struct Pace {
    per_second: f64,
    burst: f64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    tokens: f64,
    at: Instant,
    noted: Option<Instant>,
}

/// No turn now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refused {
    /// When there will be one.
    pub(super) retry_after: Duration,
    /// Whether no other refusal was the first in the last second. Only the first is written down: an
    /// audit row for each would let whoever is too fast keep the database busy all the same.
    pub(super) first: bool,
}

const NOTED_EVERY: Duration = Duration::from_secs(1);

impl Pace {
    pub(super) fn new(per_second: u32, burst: u32, now: Instant) -> Self {
        let burst = f64::from(burst.max(1));
        Self {
            per_second: f64::from(per_second.max(1)),
            burst,
            state: Mutex::new(State {
                tokens: burst,
                at: now,
                noted: None,
            }),
        }
    }

    /// Takes one turn, or says after how long there will be one.
    pub(super) fn take(&self, now: Instant) -> Result<(), Refused> {
        // Consistent between any two statements, so a poisoned lock is harmless.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = now.saturating_duration_since(state.at).as_secs_f64();
        state.tokens = (state.tokens + passed * self.per_second).min(self.burst);
        state.at = now;
        if state.tokens < 1.0 {
            let first = state
                .noted
                .is_none_or(|noted| now.saturating_duration_since(noted) >= NOTED_EVERY);
            if first {
                state.noted = Some(now);
            }
            return Err(Refused {
                retry_after: Duration::from_secs_f64((1.0 - state.tokens) / self.per_second),
                first,
            });
        }
        state.tokens -= 1.0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_burst_is_followed_by_the_steady_rate() {
        let start = Instant::now();
        let pace = Pace::new(10, 3, start);
        for _ in 0..3 {
            assert_eq!(pace.take(start), Ok(()));
        }
        let refused = pace.take(start).unwrap_err();
        assert_eq!(refused.retry_after, Duration::from_millis(100));
        let later = start + Duration::from_millis(100);
        assert_eq!(pace.take(later), Ok(()));
        assert!(pace.take(later).is_err());
        let much_later = later + Duration::from_secs(3600);
        assert_eq!((0..9).filter(|_| pace.take(much_later).is_ok()).count(), 3);
    }

    #[tokio::test]
    async fn one_refusal_in_a_second_is_the_first() {
        let start = Instant::now();
        let pace = Pace::new(1, 1, start);
        let later = |millis| start + Duration::from_millis(millis);
        assert_eq!(pace.take(start), Ok(()));
        let first = |millis| pace.take(later(millis)).unwrap_err().first;
        assert_eq!([0, 0, 500, 900].map(first), [true, false, false, false]);
        assert_eq!(pace.take(later(1000)), Ok(()));
        assert_eq!([1000, 1001, 1999].map(first), [true, false, false]);
    }
}
