//! How often a server may have its list fetched by announcing changes.
//!
//! Pure: a few fetches at once are fine, and then one a minute; whoever keeps quiet gets the few back. Fetches that
//! anybody else asks for are not counted here.

use std::time::Duration;

use tokio::time::Instant;

/// Fetches that may follow each other without a pause, and that are earned back within [`WINDOW`].
const FETCHES: u32 = 10;
/// How long it takes to earn all of them back.
const WINDOW: Duration = Duration::from_secs(600);

/// What is left to one server.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allowance {
    /// When everything will be earned back, if nothing is spent until then.
    whole_at: Instant,
}

impl Allowance {
    /// Nothing spent yet.
    pub(super) fn new(now: Instant) -> Self {
        Self { whole_at: now }
    }

    /// When the next fetch may be.
    pub(super) fn next(&self) -> Instant {
        let price = WINDOW / FETCHES;
        // The last of the fetches must be there as a whole.
        let spent_but_one = WINDOW - price;
        self.whole_at
            .checked_sub(spent_but_one)
            .unwrap_or(self.whole_at)
    }

    /// One more fetch was made.
    pub(super) fn spend(&mut self, now: Instant) {
        self.whole_at = self.whole_at.max(now) + WINDOW / FETCHES;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::{Allowance, FETCHES, WINDOW};

    /// A time far enough from the clock's beginning to look back from.
    fn start() -> Instant {
        Instant::now() + 10 * WINDOW
    }

    #[test]
    fn after_a_few_fetches_there_is_one_a_minute() {
        let now = start();
        let mut allowance = Allowance::new(now);
        for n in 0..FETCHES {
            assert!(allowance.next() <= now, "fetch {n}");
            allowance.spend(now);
        }
        for _ in 0..100 {
            let next = allowance.next();
            allowance.spend(next);
            assert_eq!(allowance.next() - next, Duration::from_secs(60));
        }
    }

    #[test]
    fn quiet_earns_everything_back_and_no_more() {
        let now = start();
        let mut allowance = Allowance::new(now);
        for _ in 0..FETCHES {
            allowance.spend(now);
        }
        let later = now + 3 * WINDOW;
        for n in 0..FETCHES {
            assert!(allowance.next() <= later, "fetch {n}");
            allowance.spend(later);
        }
        assert!(allowance.next() > later);
    }
}
