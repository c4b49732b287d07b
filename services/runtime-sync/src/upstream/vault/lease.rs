//! Keeps the lease on a session's secrets: renews it in time, withdraws the secrets when that is refused, gives it back
//! when the session has ended.
//!
//! Invariant: secrets are never in use for longer than the lease plus the grace. One task per lease; it ends with it.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use contracts::vault::v1 as pb;
use lifecycle::{Backoff, CancellationToken, Clock, DropGuard, Jitter};
use sensitive::Text;
use tokio::time::{Instant, timeout};

use super::{LeaseOptions, Vault, VaultClient};
use crate::upstream::PeerError;

/// What a lease is worth when the vault does not say until when it is valid.
const UNSTATED: Duration = Duration::from_secs(60);
/// Never renew more often, whatever the vault says.
const SHORTEST: Duration = Duration::from_millis(100);

/// The permission to use secrets. Dropping it gives it back.
pub struct SecretLease {
    revoked: CancellationToken,
    _given_back: DropGuard,
}

impl SecretLease {
    /// Fired when the permission is withdrawn.
    #[must_use]
    pub fn revoked(&self) -> CancellationToken {
        self.revoked.clone()
    }
}

impl fmt::Debug for SecretLease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretLease")
            .field("revoked", &self.revoked.is_cancelled())
            .finish_non_exhaustive()
    }
}

impl Vault {
    /// Begins to keep a lease.
    pub(super) fn keep(&self, token: Text, expire: Option<prost_types::Timestamp>) -> SecretLease {
        let (revoked, given_back) = (CancellationToken::new(), CancellationToken::new());
        let keeper = Keeper {
            client: self.client.clone(),
            options: self.options,
            clock: self.clock.clone(),
            token,
        };
        let ends = end(&self.clock, expire);
        let stopped = self.leases.token();
        let (ended, withdraw) = (given_back.clone(), revoked.clone());
        self.leases.spawn_job("lease", async move {
            // However this task ends: secrets that nobody renews are not to be used.
            let withdraw = withdraw.drop_guard();
            let kept = tokio::select! {
                biased;
                () = ended.cancelled() => Kept::GivenBack,
                () = stopped.cancelled() => Kept::GivenBack,
                kept = keeper.renew_until_lost(ends) => kept,
            };
            match kept {
                Kept::GivenBack => {
                    drop(withdraw.disarm());
                    keeper.release().await;
                }
                Kept::Lost => drop(withdraw),
            }
        });
        SecretLease {
            revoked,
            _given_back: given_back.drop_guard(),
        }
    }
}

/// How keeping a lease ended.
enum Kept {
    /// Its session ended.
    GivenBack,
    /// The vault refused to renew it, or was away for too long.
    Lost,
}

struct Keeper {
    client: VaultClient,
    options: LeaseOptions,
    clock: Clock,
    token: Text,
}

impl Keeper {
    /// Renews at about half time, until that is refused or the grace has passed.
    async fn renew_until_lost(&self, mut ends: Instant) -> Kept {
        let LeaseOptions {
            retry,
            retry_max,
            grace,
            ..
        } = self.options;
        loop {
            let left = ends.saturating_duration_since(self.clock.instant());
            // Between 0.4 and 0.6 of it, so that leases given out together are not renewed together.
            let half = left.mul_f64(0.4 + 0.2 * rand::random::<f64>());
            self.clock.sleep(half.max(SHORTEST)).await;
            let mut pause = Backoff::new(retry, retry_max).jitter(Jitter::Equal);
            ends = loop {
                let error = match self.renew().await {
                    Ok(renewed) => break renewed,
                    Err(error @ PeerError::Refused { .. }) => {
                        tracing::warn!(%error, "the vault refused to renew a lease; its session ends");
                        return Kept::Lost;
                    }
                    Err(error) => error,
                };
                let left = (ends + grace).saturating_duration_since(self.clock.instant());
                if left.is_zero() {
                    tracing::error!(%error, "the vault was away for longer than the lease and its grace");
                    return Kept::Lost;
                }
                self.clock.sleep(pause.next_delay().min(left)).await;
            };
        }
    }

    async fn renew(&self) -> Result<Instant, PeerError> {
        let request = pb::RenewLeaseRequest {
            lease_token: self.token.expose().to_owned(),
        };
        let mut client = self.client.clone();
        match timeout(self.options.timeout, client.renew_lease(request)).await {
            Ok(Ok(response)) => {
                let pb::RenewLeaseResponse { lease_expire_time } = response.into_inner();
                Ok(end(&self.clock, lease_expire_time))
            }
            Ok(Err(status)) => Err(PeerError::from(&status)),
            Err(_) => Err(PeerError::TimedOut),
        }
    }

    async fn release(&self) {
        let request = pb::ReleaseLeaseRequest {
            lease_token: self.token.expose().to_owned(),
        };
        let mut client = self.client.clone();
        match timeout(self.options.timeout, client.release_lease(request)).await {
            Ok(Ok(_)) => {}
            // It runs out by itself.
            Ok(Err(status)) => tracing::debug!(code = ?status.code(), "a lease was not given back"),
            Err(_) => tracing::debug!("a lease was not given back in time"),
        }
    }
}

/// The end of a lease on the monotonic clock.
fn end(clock: &Clock, expire: Option<prost_types::Timestamp>) -> Instant {
    let left = expire
        .and_then(|expire| SystemTime::try_from(expire).ok())
        .map_or(UNSTATED, |expire| {
            expire.duration_since(clock.now()).unwrap_or_default()
        });
    clock.instant() + left
}
