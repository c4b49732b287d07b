//! Which runtime holds the sessions: one instance at a time, under an epoch that only grows.
//!
//! Invariant: two instances never hold the same epoch, and a holder is only replaced by itself or once it has been
//! silent for longer than its presence lasts. Not here: the row, and the transaction that guards it.

use std::time::Duration;

use super::timestamp::Timestamp;

/// The holder of the sessions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The name the runtime gives itself; it keeps it over restarts.
    pub instance: String,
    /// Grows with every acquisition.
    pub epoch: i64,
    /// When the holder counts as gone, unless it reports again.
    pub expires: Timestamp,
}

/// Why a report is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Somebody else is present.
    #[error("another runtime instance holds the sessions")]
    Held,
    /// The reporter was replaced.
    #[error("the lease epoch is no longer the current one")]
    Lost,
}

impl Lease {
    /// Whether the holder still counts as present.
    #[must_use]
    pub fn is_present(&self, now: Timestamp) -> bool {
        now < self.expires
    }

    /// Whether exactly this instance and epoch hold the sessions now.
    #[must_use]
    pub fn is_held_by(&self, instance: &str, epoch: i64, now: Timestamp) -> bool {
        self.instance == instance && self.epoch == epoch && self.is_present(now)
    }
}

/// The lease after a report of `instance` under `epoch` (0 = it wants to acquire).
///
/// # Errors
/// [`Refused`] when somebody else holds the sessions or the reporter was replaced.
pub fn after_report(
    current: Option<&Lease>,
    instance: &str,
    epoch: i64,
    now: Timestamp,
    presence: Duration,
) -> Result<Lease, Refused> {
    let expires = now.after(presence);
    let renewed = |epoch| Lease {
        instance: instance.to_owned(),
        epoch,
        expires,
    };
    match current {
        None if epoch == 0 => Ok(renewed(1)),
        None => Err(Refused::Lost),
        Some(lease) if epoch == 0 => {
            if lease.instance == instance || !lease.is_present(now) {
                Ok(renewed(lease.epoch + 1))
            } else {
                Err(Refused::Held)
            }
        }
        // A holder that was silent for long but was not replaced may go on: nobody took its epoch.
        Some(lease) if lease.epoch == epoch && lease.instance == instance => Ok(renewed(epoch)),
        Some(_) => Err(Refused::Lost),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PRESENCE: Duration = Duration::from_secs(30);

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    fn report(lease: Option<&Lease>, who: &str, epoch: i64, now: i64) -> Result<Lease, Refused> {
        after_report(lease, who, epoch, at(now), PRESENCE)
    }

    #[test]
    fn the_first_runtime_acquires_and_a_second_is_held_off() {
        let lease = report(None, "a", 0, 0).expect("free");
        assert_eq!((lease.epoch, lease.expires), (1, at(30)));
        assert_eq!(report(Some(&lease), "b", 0, 29), Err(Refused::Held));
        assert_eq!(report(Some(&lease), "b", 0, 30).expect("expired").epoch, 2);
    }

    #[test]
    fn a_restarted_runtime_takes_over_from_itself_at_once() {
        let lease = report(None, "a", 0, 0).expect("free");
        let again = report(Some(&lease), "a", 0, 1).expect("same instance");
        assert_eq!(again.epoch, 2);
        assert_eq!(report(Some(&again), "a", 1, 2), Err(Refused::Lost));
    }

    #[test]
    fn an_epoch_nobody_gave_is_refused() {
        assert_eq!(report(None, "a", 3, 0), Err(Refused::Lost));
        let lease = report(None, "a", 0, 0).expect("free");
        assert_eq!(report(Some(&lease), "a", 2, 1), Err(Refused::Lost));
        assert_eq!(report(Some(&lease), "b", 1, 1), Err(Refused::Lost));
    }

    proptest! {
        #[test]
        fn epochs_never_shrink_and_belong_to_one_instance(
            steps in proptest::collection::vec((0u8..3, 0i64..4, 0i64..40), 1..60)
        ) {
            let mut lease: Option<Lease> = None;
            let mut now = 0;
            let mut owners = std::collections::BTreeMap::new();
            for (who, epoch, wait) in steps {
                now += wait;
                let who = format!("runtime-{who}");
                if let Ok(next) = report(lease.as_ref(), &who, epoch, now) {
                    prop_assert!(next.epoch >= lease.as_ref().map_or(0, |held| held.epoch));
                    let owner = owners.entry(next.epoch).or_insert_with(|| who.clone());
                    prop_assert_eq!(&*owner, &who);
                    lease = Some(next);
                }
            }
        }
    }
}
