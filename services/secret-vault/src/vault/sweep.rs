//! Forgetting what has no use any more: spent grants, ended leases, old request ids, destinations nothing
//! goes to. Audit rows stay.

use std::sync::Arc;
use std::time::Duration;

use lifecycle::CancellationToken;

use super::write::REMEMBERED;
use super::{Error, Inner};
use crate::store::{destinations, grants, leases, requests};

const EVERY: Duration = Duration::from_secs(60);
/// Expired grants and leases are kept a while, for whoever looks into a denial.
const KEPT: Duration = Duration::from_secs(60 * 60);

/// Runs until cancelled. A failure is logged and tried again the next time.
pub(super) async fn run(inner: Arc<Inner>, cancel: CancellationToken) {
    loop {
        tokio::select! {
            () = cancel.cancelled() => return,
            () = inner.clock.sleep(EVERY) => {}
        }
        match inner.sweep().await {
            Ok(0) => {}
            Ok(rows) => tracing::debug!(rows, "forgot expired rows"),
            Err(error) => tracing::warn!(%error, "expired rows could not be forgotten"),
        }
    }
}

impl Inner {
    /// Forgets once; says how many rows went.
    pub(super) async fn sweep(&self) -> Result<u64, Error> {
        let now = self.now();
        let transaction = self.database.begin_write().await?;
        let gone = grants::forget(&*transaction, now.before(KEPT)).await?
            + leases::forget(&*transaction, now.before(KEPT)).await?
            + requests::forget(&*transaction, now.before(REMEMBERED)).await?;
        transaction.commit().await?;
        // Alone, because it may lose against a write for a destination that was out of use until now.
        let transaction = self.database.begin_write().await?;
        let gone = gone + destinations::forget(&*transaction, now.before(KEPT)).await?;
        transaction.commit().await?;
        Ok(gone)
    }
}

#[cfg(test)]
mod tests;
