//! Doing a transaction again that lost against another one.
//!
//! Invariant: only [`Error::Busy`] is tried again, which says that nothing of the transaction took effect; never what may
//! have happened. Not here: which transactions may be done twice.

use std::{future::Future, time::Duration};

use lifecycle::Backoff;
use tokio::time::Instant;

use crate::Error;

/// How often a transaction is tried before its caller hears of the contention.
const MOST: u32 = 6;
/// No new attempt after this time: SQLite has then waited long enough for its turn.
const PATIENCE: Duration = Duration::from_secs(3);
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(200);

/// Calls `attempt` until it succeeds, fails otherwise than by contention, or has lost too often; pauses in between.
/// Cancel safe if `attempt` is.
///
/// # Errors
/// The last one of `attempt`.
pub async fn retry<T, E, A>(mut attempt: impl FnMut() -> A) -> Result<T, E>
where
    A: Future<Output = Result<T, E>>,
    E: Contended,
{
    let give_up = Instant::now() + PATIENCE;
    let mut pauses = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
    for _ in 1..MOST {
        match attempt().await {
            Err(error) if error.is_contention() && Instant::now() < give_up => {
                tracing::debug!("a transaction lost against another one and is tried again");
            }
            outcome => return outcome,
        }
        tokio::time::sleep(pauses.next_delay()).await;
    }
    attempt().await
}

/// An error of a transaction that [`retry`] can judge.
pub trait Contended {
    /// Whether another transaction was in the way, and nothing happened.
    fn is_contention(&self) -> bool;
}

impl Contended for Error {
    fn is_contention(&self) -> bool {
        match self {
            Self::Busy(_) => true,
            Self::Unique(_) | Self::ForeignKey(_) | Self::Unavailable(_) | Self::Other(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn busy() -> Error {
        Error::busy(std::io::Error::other("deadlock"))
    }

    async fn tried(outcomes: impl Fn(u32) -> Result<u32, Error>) -> (u32, Result<u32, Error>) {
        let count = Cell::new(0);
        let outcome = retry(|| {
            count.set(count.get() + 1);
            let outcome = outcomes(count.get());
            async { outcome }
        })
        .await;
        (count.get(), outcome)
    }

    #[tokio::test(start_paused = true)]
    async fn contention_is_tried_again_and_nothing_else_is() {
        let (count, outcome) = tried(|count| if count < 3 { Err(busy()) } else { Ok(7) }).await;
        assert!(matches!((count, outcome), (3, Ok(7))));
        let lost = |_| Err(Error::unavailable(std::io::Error::other("gone")));
        let (count, outcome) = tried(lost).await;
        assert!(matches!((count, outcome), (1, Err(Error::Unavailable(_)))));
    }

    #[tokio::test(start_paused = true)]
    async fn attempts_are_bounded() {
        let (count, outcome) = tried(|_| Err(busy())).await;
        assert!(matches!((count, outcome), (MOST, Err(Error::Busy(_)))));
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_waited_long_is_told() {
        let count = Cell::new(0);
        let outcome: Result<(), Error> = retry(|| {
            count.set(count.get() + 1);
            async {
                tokio::time::advance(PATIENCE).await;
                Err(busy())
            }
        })
        .await;
        assert!(outcome.is_err());
        assert_eq!(count.get(), 1);
    }
}
