//! The vault's use cases: what may be stored, told and released, and in which order it becomes durable.
//!
//! Invariants: a value is released only against an unspent grant, to the holder it was made for, for the
//! destination it was entered for, and only after the audit row of the release is durable. Every record
//! that decides about a release is checked against its MAC when it is read. Nothing here is a read path
//! for people.
//!
//! Not here: who may call (`grpc` and `rpc`), ciphers (`keyring`), SQL (`store`).

mod add;
mod audit;
mod checked;
mod delete;
mod error;
mod grant;
mod known;
mod lease;
mod pace;
mod patch;
mod read;
mod redeem;
mod revoke;
mod sweep;
#[cfg(test)]
mod testing;
mod write;
mod writer;

use std::sync::Arc;
use std::time::Duration;

use database::Database;
use lifecycle::{Clock, Tasks};
use uuid::Uuid;

pub(crate) use add::AddVersion;
pub(crate) use error::Error;
pub(crate) use grant::{Granted, NewGrant};
pub(crate) use patch::PatchBlob;
pub(crate) use read::{Listing, Page};
pub(crate) use redeem::{Redemption, Released, ReleasedSecret};

use crate::domain::Micros;
use crate::keyring::Keyring;
use pace::Pace;
use writer::Writer;

/// Bounds that an operator may change.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    /// How long a lease lives without renewal.
    pub(crate) lease_ttl: Duration,
    /// Grants in a second, on average.
    pub(crate) grants_per_second: u32,
    /// Grants at once, after a quiet time.
    pub(crate) grant_burst: u32,
}

/// Who calls, for grants and for the audit. Taken from the verified credential.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) subject: String,
    pub(crate) acting_user: Option<String>,
}

/// The vault. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Vault {
    inner: Arc<Inner>,
    writer: Writer,
}

struct Inner {
    database: Database,
    keyring: Keyring,
    clock: Clock,
    limits: Limits,
    pace: Pace,
}

impl Vault {
    /// Starts the writer and the sweeper in `tasks`.
    pub(crate) fn start(
        database: Database,
        keyring: Keyring,
        clock: Clock,
        limits: Limits,
        tasks: &Tasks,
    ) -> Self {
        let pace = Pace::new(
            limits.grants_per_second,
            limits.grant_burst,
            clock.instant(),
        );
        let inner = Arc::new(Inner {
            database,
            keyring,
            clock,
            limits,
            pace,
        });
        let writer = Writer::start(Arc::clone(&inner), tasks);
        tasks.spawn("sweeper", sweep::run(Arc::clone(&inner), tasks.token()));
        Self { inner, writer }
    }
}

impl Inner {
    fn now(&self) -> Micros {
        self.clock.now().into()
    }

    /// A new time-ordered id (version 7).
    fn new_id(&self) -> Uuid {
        let since = self
            .clock
            .now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or_default();
        let at = uuid::Timestamp::from_unix(uuid::NoContext, since.as_secs(), since.subsec_nanos());
        Uuid::new_v7(at)
    }
}
