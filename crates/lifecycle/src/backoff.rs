//! How long to wait before the next try: exponential, capped, with jitter.
//!
//! A `Backoff` only computes delays. It neither sleeps nor counts a budget of restarts.

use std::time::Duration;

/// How much of a delay is left to chance, so that many clients do not come back at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Jitter {
    /// The computed delay itself; for tests and for delays a peer has asked for.
    None,
    /// Half of the delay, and up to as much again: never immediate, still spread.
    Equal,
    /// Anything between nothing and the delay: spreads best.
    Full,
}

/// A growing series of delays: `initial`, twice that, twice that again, … never above `max`.
///
/// Endless; [`Backoff::reset`] starts the series anew after a success.
#[derive(Debug, Clone)]
pub struct Backoff {
    initial: Duration,
    max: Duration,
    jitter: Jitter,
    attempts: u32,
}

impl Backoff {
    /// A series with [`Jitter::Full`].
    #[must_use]
    pub fn new(initial: Duration, max: Duration) -> Self {
        Self {
            initial,
            max,
            jitter: Jitter::Full,
            attempts: 0,
        }
    }

    /// Sets the jitter.
    #[must_use]
    pub fn jitter(self, jitter: Jitter) -> Self {
        Self { jitter, ..self }
    }

    /// Starts the series anew.
    pub fn reset(&mut self) {
        self.attempts = 0;
    }

    /// The next delay.
    pub fn next_delay(&mut self) -> Duration {
        let exponent = i32::try_from(self.attempts).unwrap_or(i32::MAX);
        self.attempts = self.attempts.saturating_add(1);
        let grown = self.initial.as_secs_f64() * 2_f64.powi(exponent);
        // Beyond the range of a Duration the growth is infinite, and the cap holds.
        let delay = Duration::try_from_secs_f64(grown)
            .unwrap_or(self.max)
            .min(self.max);
        match self.jitter {
            Jitter::None => delay,
            Jitter::Equal => delay / 2 + (delay / 2).mul_f64(rand::random()),
            Jitter::Full => delay.mul_f64(rand::random()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backoff(jitter: Jitter) -> Backoff {
        Backoff::new(Duration::from_millis(100), Duration::from_secs(1)).jitter(jitter)
    }

    #[test]
    fn delays_double_up_to_the_cap_and_start_anew_after_a_reset() {
        let mut backoff = backoff(Jitter::None);
        let delays: Vec<u128> = (0..6).map(|_| backoff.next_delay().as_millis()).collect();
        assert_eq!(delays, [100, 200, 400, 800, 1000, 1000]);
        backoff.reset();
        assert_eq!(backoff.next_delay(), Duration::from_millis(100));
    }

    #[test]
    fn a_thousand_failures_still_give_the_cap() {
        let mut backoff = backoff(Jitter::None);
        for _ in 0..5_000 {
            backoff.next_delay();
        }
        assert_eq!(backoff.next_delay(), Duration::from_secs(1));
    }

    #[test]
    fn jitter_stays_between_its_bounds() {
        for (jitter, least) in [(Jitter::Full, 0), (Jitter::Equal, 50)] {
            for _ in 0..1_000 {
                let delay = backoff(jitter).next_delay().as_millis();
                assert!((least..=100).contains(&delay), "{jitter:?} gave {delay} ms");
            }
        }
    }
}
