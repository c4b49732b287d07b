//! The retry budget of a peer, as gRFC A6 has it: retries stop while most calls fail.
//!
//! Without it, three tries of everybody would triple the load on a peer that is down for load.

use std::sync::atomic::{AtomicU32, Ordering};

/// Thousandths of a token, so that a tenth is exact.
const FULL: u32 = 10_000;
const COST_OF_FAILURE: u32 = 1_000;
const GAIN_OF_SUCCESS: u32 = 100;

/// Tokens shared by all calls to a peer: a failure takes one, a success gives back a tenth, and
/// retries need more than half of them.
#[derive(Debug)]
pub(super) struct RetryBudget {
    tokens: AtomicU32,
}

impl Default for RetryBudget {
    fn default() -> Self {
        Self {
            tokens: AtomicU32::new(FULL),
        }
    }
}

impl RetryBudget {
    /// Counts a failure that could be retried, and says whether it may be.
    pub(super) fn failed(&self) -> bool {
        self.update(|tokens| tokens.saturating_sub(COST_OF_FAILURE)) > FULL / 2
    }

    /// Counts a call that was answered.
    pub(super) fn succeeded(&self) {
        self.update(|tokens| (tokens + GAIN_OF_SUCCESS).min(FULL));
    }

    fn update(&self, change: impl Fn(u32) -> u32) -> u32 {
        let mut now = 0;
        // The closure always gives a value, so the update cannot be refused.
        let _before = self
            .tokens
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |tokens| {
                now = change(tokens);
                Some(now)
            });
        now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_stop_while_most_calls_fail_and_come_back_with_successes() {
        let budget = RetryBudget::default();
        let allowed = (0..20).filter(|_| budget.failed()).count();
        assert_eq!(allowed, 4, "ten tokens, and more than five have to be left");
        for _ in 0..59 {
            budget.succeeded();
        }
        assert!(!budget.failed(), "5.9 tokens less one");
        for _ in 0..12 {
            budget.succeeded();
        }
        assert!(budget.failed(), "6.1 tokens less one");
    }

    #[test]
    fn successes_do_not_pile_up_beyond_the_full_budget() {
        let budget = RetryBudget::default();
        for _ in 0..1_000 {
            budget.succeeded();
        }
        assert_eq!((0..20).filter(|_| budget.failed()).count(), 4);
    }
}
