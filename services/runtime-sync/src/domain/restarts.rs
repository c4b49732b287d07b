//! When a server that ends again and again is held back.
//!
//! Pure: a link that lived long enough counts for nothing; too many short lives within a window are a crash loop. What
//! the session does then is in its actor.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// How many short lives are allowed in how much time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestartBudget {
    /// Short lives allowed in the window; one more is a crash loop.
    pub allowed: usize,
    /// The window.
    pub window: Duration,
    /// A link that lived this long did not crash.
    pub stable_after: Duration,
    /// How long a crash loop is held back.
    pub hold: Duration,
}

impl Default for RestartBudget {
    fn default() -> Self {
        Self {
            allowed: 5,
            window: Duration::from_secs(300),
            stable_after: Duration::from_secs(60),
            hold: Duration::from_secs(300),
        }
    }
}

/// The short lives so far.
#[derive(Clone, Debug)]
pub struct Restarts {
    budget: RestartBudget,
    ends: VecDeque<Instant>,
}

impl Restarts {
    /// Nothing ended yet.
    pub fn new(budget: RestartBudget) -> Self {
        Self {
            budget,
            ends: VecDeque::new(),
        }
    }

    /// A link that had been up for `lived` ended at `now`; whether that makes a crash loop.
    pub fn ended(&mut self, now: Instant, lived: Duration) -> bool {
        if lived >= self.budget.stable_after {
            self.ends.clear();
            return false;
        }
        while self
            .ends
            .front()
            .is_some_and(|end| now.saturating_duration_since(*end) > self.budget.window)
        {
            self.ends.pop_front();
        }
        self.ends.push_back(now);
        if self.ends.len() <= self.budget.allowed {
            return false;
        }
        self.ends.pop_front();
        true
    }

    /// How long a crash loop is held back.
    pub fn hold(&self) -> Duration {
        self.budget.hold
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{RestartBudget, Restarts};

    const SHORT: Duration = Duration::from_millis(10);

    #[test]
    fn a_crash_loop_is_one_short_life_too_many() {
        let mut restarts = Restarts::new(RestartBudget::default());
        let now = Instant::now();
        for _ in 0..5 {
            assert!(!restarts.ended(now, SHORT));
        }
        assert!(restarts.ended(now, SHORT));
        assert!(
            restarts.ended(now, SHORT),
            "it stays one until it is stable"
        );
    }

    #[test]
    fn a_long_life_clears_the_record() {
        let mut restarts = Restarts::new(RestartBudget::default());
        let now = Instant::now();
        for _ in 0..5 {
            restarts.ended(now, SHORT);
        }
        assert!(!restarts.ended(now, Duration::from_secs(61)));
        assert!(!restarts.ended(now, SHORT));
    }

    #[test]
    fn short_lives_far_apart_are_no_loop() {
        let mut restarts = Restarts::new(RestartBudget::default());
        let start = Instant::now();
        for n in 0..50 {
            let now = start + Duration::from_secs(n * 301);
            assert!(!restarts.ended(now, SHORT), "end {n}");
        }
    }
}
