//! Grants and leases: the permission to read once, and the memory that it was used.

use std::time::Duration;

use names::ScopeName;
use uuid::Uuid;

use super::{Invalid, Micros};

/// How many secret versions one grant may name.
pub(crate) const MAX_SECRETS: usize = 64;
/// How long a grant may live, and does when nothing is said.
const MAX_TTL: Duration = Duration::from_secs(60);
const MAX_NAME: usize = 256;

/// A secret version by its ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct VersionRef {
    pub(crate) secret: Uuid,
    pub(crate) version: u64,
}

/// The session's holder, who alone may redeem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Holder {
    pub(crate) subject: String,
    pub(crate) instance_id: String,
    pub(crate) lease_epoch: i64,
}

/// Checks a holder.
pub(crate) fn holder(
    subject: String,
    instance_id: String,
    lease_epoch: i64,
) -> Result<Holder, Invalid> {
    const RULE: &str = "must have 1 to 256 bytes";
    if subject.is_empty() || subject.len() > MAX_NAME {
        return Err(Invalid::new("holder.subject", RULE));
    }
    if instance_id.is_empty() || instance_id.len() > MAX_NAME {
        return Err(Invalid::new("holder.instance_id", RULE));
    }
    if lease_epoch < 1 {
        return Err(Invalid::new("holder.lease_epoch", "must be 1 or more"));
    }
    Ok(Holder {
        subject,
        instance_id,
        lease_epoch,
    })
}

/// Checks a grant's time to live; `None` means the longest.
pub(crate) fn ttl(asked: Option<Duration>) -> Result<Duration, Invalid> {
    match asked {
        None => Ok(MAX_TTL),
        Some(ttl) if ttl.is_zero() || ttl > MAX_TTL => {
            Err(Invalid::new("ttl", "more than zero and at most 60 s"))
        }
        Some(ttl) => Ok(ttl),
    }
}

/// A grant's row. `mac` binds everything but the count of uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GrantRecord {
    pub(crate) id: Uuid,
    pub(crate) token_mac: Vec<u8>,
    pub(crate) scope: ScopeName,
    pub(crate) connector: Uuid,
    pub(crate) destination: String,
    pub(crate) holder: Holder,
    pub(crate) secrets: Vec<VersionRef>,
    pub(crate) create_time: Micros,
    pub(crate) expire_time: Micros,
    pub(crate) mac: Vec<u8>,
}

/// Whether a lease can be renewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LeaseState {
    Active,
    /// Given back by its holder.
    Released,
    /// Taken away by the registry.
    Revoked,
}

impl LeaseState {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Released => "released",
            Self::Revoked => "revoked",
        }
    }
}

/// A lease's row. `mac` binds everything else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LeaseRecord {
    pub(crate) id: Uuid,
    pub(crate) token_mac: Vec<u8>,
    pub(crate) grant: Uuid,
    pub(crate) scope: ScopeName,
    pub(crate) connector: Uuid,
    pub(crate) holder: Holder,
    pub(crate) state: LeaseState,
    pub(crate) create_time: Micros,
    pub(crate) expire_time: Micros,
    pub(crate) mac: Vec<u8>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_lives_at_most_a_minute() {
        assert_eq!(ttl(None).unwrap(), MAX_TTL);
        assert_eq!(ttl(Some(MAX_TTL)).unwrap(), MAX_TTL);
        assert!(ttl(Some(MAX_TTL + Duration::from_nanos(1))).is_err());
        assert!(ttl(Some(Duration::ZERO)).is_err());
    }

    #[test]
    fn a_holder_is_named_completely() {
        assert!(holder("runtime".into(), "a".into(), 1).is_ok());
        assert_eq!(
            holder(String::new(), "a".into(), 1).unwrap_err().field,
            "holder.subject"
        );
        assert_eq!(
            holder("r".into(), String::new(), 1).unwrap_err().field,
            "holder.instance_id"
        );
        assert_eq!(
            holder("r".into(), "a".into(), 0).unwrap_err().field,
            "holder.lease_epoch"
        );
        assert!(holder("r".repeat(257), "a".into(), 1).is_err());
    }
}
