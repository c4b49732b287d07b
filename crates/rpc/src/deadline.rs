//! Deadlines: read from `grpc-timeout`, kept with the call, passed on to the calls it makes.
//!
//! The deadline of the call being served is ambient: it is found by whatever runs inside the
//! handler's own task, so no handler can forget to pass it on. Work in other tasks has none.
//!
//! Not here: enforcing it (the server's deadline layer and the client's channel do).

use std::time::Duration;

use tokio::time::Instant;

tokio::task_local! {
    static CURRENT: Deadline;
}

/// When the answer is no longer wanted. In the extensions of every request that is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadline {
    at: Instant,
    limit: Limit,
}

/// Which limit a deadline comes from; the error says so when it is hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// The caller's own `grpc-timeout`.
    Caller,
    /// The caller gave none.
    Default,
    /// The caller asked for more than is allowed.
    Maximum,
    /// The greatest age of a stream whose caller gave no timeout.
    StreamAge,
}

impl Limit {
    /// The limit's name in error metadata.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Caller => "caller",
            Self::Default => "default",
            Self::Maximum => "maximum",
            Self::StreamAge => "stream_age",
        }
    }
}

impl Deadline {
    /// A deadline so far from now.
    #[must_use]
    pub fn after(timeout: Duration, limit: Limit) -> Self {
        Self {
            at: Instant::now() + timeout,
            limit,
        }
    }

    /// The deadline of the call that this task is serving, if it is serving one.
    #[must_use]
    pub fn current() -> Option<Self> {
        CURRENT.try_with(|deadline| *deadline).ok()
    }

    /// When it is.
    #[must_use]
    pub fn at(&self) -> Instant {
        self.at
    }

    /// Which limit it comes from.
    #[must_use]
    pub fn limit(&self) -> Limit {
        self.limit
    }

    /// What is left; zero when it has passed.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        self.at.saturating_duration_since(Instant::now())
    }

    /// Completes when it has passed. Cancel safe.
    pub async fn passed(&self) {
        tokio::time::sleep_until(self.at).await;
    }

    /// Runs `work` as part of a call with this deadline.
    pub(crate) async fn scope<F: Future>(self, work: F) -> F::Output {
        CURRENT.scope(self, work).await
    }

    /// Like [`Deadline::scope`], for the polls of a body.
    pub(crate) fn sync_scope<R>(self, work: impl FnOnce() -> R) -> R {
        CURRENT.sync_scope(self, work)
    }
}

/// A `grpc-timeout` that is not one to eight digits and a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MalformedTimeout;

/// Reads a `grpc-timeout` value.
pub(crate) fn parse_timeout(value: &[u8]) -> Result<Duration, MalformedTimeout> {
    let (unit, digits) = value.split_last().ok_or(MalformedTimeout)?;
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return Err(MalformedTimeout);
    }
    let amount = digits
        .iter()
        .fold(0_u64, |sum, digit| sum * 10 + u64::from(digit - b'0'));
    match unit {
        b'H' => Ok(Duration::from_secs(amount * 3600)),
        b'M' => Ok(Duration::from_secs(amount * 60)),
        b'S' => Ok(Duration::from_secs(amount)),
        b'm' => Ok(Duration::from_millis(amount)),
        b'u' => Ok(Duration::from_micros(amount)),
        b'n' => Ok(Duration::from_nanos(amount)),
        _ => Err(MalformedTimeout),
    }
}

/// Writes a `grpc-timeout` value: as exact as eight digits allow, never more than `timeout`.
pub(crate) fn format_timeout(timeout: Duration) -> String {
    const EIGHT_DIGITS: u128 = 99_999_999;
    let (micros, millis) = (timeout.as_micros(), timeout.as_millis());
    if micros <= EIGHT_DIGITS {
        format!("{micros}u")
    } else if millis <= EIGHT_DIGITS {
        format!("{millis}m")
    } else {
        format!("{}S", timeout.as_secs().min(99_999_999))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_value_is_read_or_refused_and_what_is_read_is_written_back(
            value in proptest::collection::vec(any::<u8>(), 0..12),
            micros in 0..99_999_999_999_999_u64,
        ) {
            if let Ok(timeout) = parse_timeout(&value) {
                prop_assert!(timeout <= Duration::from_secs(99_999_999 * 3_600));
            }
            let timeout = Duration::from_micros(micros);
            let read = parse_timeout(format_timeout(timeout).as_bytes()).expect("our own");
            prop_assert!(read <= timeout && timeout - read < Duration::from_secs(1));
        }
    }

    #[test]
    fn every_unit_of_the_protocol_is_read() {
        let cases: [(&str, u128); 7] = [
            ("1H", 3_600_000_000_000),
            ("2M", 120_000_000_000),
            ("3S", 3_000_000_000),
            ("4m", 4_000_000),
            ("5u", 5_000),
            ("6n", 6),
            ("99999999H", 359_999_996_400_000_000_000),
        ];
        for (text, nanos) in cases {
            let timeout = parse_timeout(text.as_bytes()).expect(text);
            assert_eq!(timeout.as_nanos(), nanos, "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "S",
            "1",
            "1s",
            "-1S",
            "1.5S",
            "123456789S",
            " 1S",
            "1 S",
            "0x1S",
        ] {
            assert_eq!(
                parse_timeout(text.as_bytes()),
                Err(MalformedTimeout),
                "{text:?}"
            );
        }
    }

    #[test]
    fn what_is_written_is_read_back_and_never_longer() {
        for micros in [
            0,
            1,
            999,
            60_000_000,
            99_999_999,
            900_000_000,
            99_999_999_999_999,
        ] {
            let timeout = Duration::from_micros(micros);
            let read = parse_timeout(format_timeout(timeout).as_bytes()).expect("read");
            assert!(
                read <= timeout && timeout - read < Duration::from_secs(1),
                "{timeout:?}"
            );
        }
    }

    #[tokio::test]
    async fn the_deadline_is_found_inside_the_call_and_nowhere_else() {
        let deadline = Deadline::after(Duration::from_secs(5), Limit::Caller);
        assert_eq!(Deadline::current(), None);
        deadline
            .scope(async { assert_eq!(Deadline::current(), Some(deadline)) })
            .await;
        deadline.sync_scope(|| assert_eq!(Deadline::current(), Some(deadline)));
        assert_eq!(Deadline::current(), None);
    }
}
