//! Points in time as both databases keep them.

use std::time::SystemTime;

use chrono::{DateTime, SubsecRound as _, Utc};

/// A time to be stored, cut to microseconds: PostgreSQL keeps no more, SQLite would, and a value must read
/// back as it was written.
#[must_use]
pub fn timestamp(at: SystemTime) -> DateTime<Utc> {
    DateTime::<Utc>::from(at).trunc_subsecs(6)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn times_are_cut_to_microseconds_and_never_rounded_up() {
        let at = SystemTime::UNIX_EPOCH + Duration::new(1_700_000_000, 123_456_999);
        assert_eq!(timestamp(at).timestamp_subsec_nanos(), 123_456_000);
        assert_eq!(timestamp(at).timestamp(), 1_700_000_000);
    }
}
