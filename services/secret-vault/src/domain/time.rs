//! Points in time as they are stored and authenticated: whole microseconds since the epoch.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Microseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Micros(pub(crate) i64);

impl Micros {
    /// `self` moved forward; saturates at the end of time.
    pub(crate) fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(whole(duration)))
    }

    /// `self` moved back; saturates.
    pub(crate) fn before(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(whole(duration)))
    }
}

fn whole(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

impl From<SystemTime> for Micros {
    fn from(at: SystemTime) -> Self {
        match at.duration_since(UNIX_EPOCH) {
            Ok(since) => Self(whole(since)),
            Err(before) => Self(-whole(before.duration())),
        }
    }
}

impl From<Micros> for SystemTime {
    fn from(at: Micros) -> Self {
        let distance = Duration::from_micros(at.0.unsigned_abs());
        let time = if at.0 < 0 {
            UNIX_EPOCH.checked_sub(distance)
        } else {
            UNIX_EPOCH.checked_add(distance)
        };
        time.unwrap_or(UNIX_EPOCH)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_cut_to_microseconds_and_read_back() {
        let at = UNIX_EPOCH + Duration::new(1_700_000_000, 123_456_999);
        let micros = Micros::from(at);
        assert_eq!(micros, Micros(1_700_000_000_123_456));
        assert_eq!(Micros::from(SystemTime::from(micros)), micros);
        let early = Micros(-5);
        assert_eq!(Micros::from(SystemTime::from(early)), early);
    }

    #[test]
    fn moving_never_overflows() {
        assert_eq!(
            Micros(i64::MAX).after(Duration::from_secs(1)),
            Micros(i64::MAX)
        );
        assert_eq!(Micros(i64::MIN).before(Duration::MAX), Micros(i64::MIN));
        assert_eq!(
            Micros(5)
                .after(Duration::from_micros(2))
                .before(Duration::from_micros(7)),
            Micros(0)
        );
    }
}
