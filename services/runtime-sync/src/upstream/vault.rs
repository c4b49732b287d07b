//! The vault as the runtime sees it: a grant is redeemed for plaintext once, and the lease that comes with it is kept.
//!
//! Invariants: plaintext leaves this module only in types that wipe themselves; a refused renewal withdraws the secrets
//! at once, an unreachable vault only after the lease and a grace; a lease is given back when its session ends. Where a
//! value is put is not here.

mod blob;
mod lease;

use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use contracts::vault::v1::{self as pb, secret_service_client::SecretServiceClient};
use lifecycle::{Clock, Stopped, Tasks};
use policy::Destination;
use sensitive::{Bytes, Text};
use tokio::time::timeout;
use tonic::Code;

pub use self::lease::SecretLease;
use super::PeerError;

/// A client of the vault.
type VaultClient = SecretServiceClient<rpc::client::Channel>;

/// How leases are kept.
#[derive(Clone, Copy, Debug)]
pub struct LeaseOptions {
    /// How long secrets may be used after the end of a lease while the vault cannot be reached.
    pub grace: Duration,
    /// The first pause after a renewal that failed.
    pub retry: Duration,
    /// The longest such pause.
    pub retry_max: Duration,
    /// How long one request may take.
    pub timeout: Duration,
}

/// What a grant was redeemed for.
pub struct Redeemed {
    /// Environment variables by name.
    pub environment: HashMap<String, Text>,
    /// Headers by name in lower case.
    pub headers: HashMap<String, Text>,
    /// The permission to use them.
    pub lease: SecretLease,
}

impl fmt::Debug for Redeemed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redeemed")
            .field("environment", &self.environment.len())
            .field("headers", &self.headers.len())
            .finish_non_exhaustive()
    }
}

/// Why secrets could not be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RedeemError {
    /// A value cannot be decrypted, or is not what it should be. Never taken for an empty one.
    #[error("a secret cannot be read")]
    Unreadable,
    /// The vault cannot be reached.
    #[error("the vault cannot be reached")]
    Unreachable(#[source] PeerError),
    /// The vault refused.
    #[error("the vault refused")]
    Refused(#[source] PeerError),
}

/// The vault.
#[derive(Debug)]
pub struct Vault {
    client: VaultClient,
    options: LeaseOptions,
    clock: Clock,
    leases: Tasks,
}

/// Who redeems: the holder that the grant names.
#[derive(Clone, Debug)]
pub struct Holder {
    /// The runtime instance's id.
    pub instance_id: String,
    /// Its lease epoch.
    pub lease_epoch: i64,
}

impl Vault {
    /// A client of the vault. It need not be there yet.
    #[must_use]
    pub fn new(channels: &rpc::client::Channels, options: LeaseOptions, clock: Clock) -> Arc<Self> {
        Arc::new(Self {
            client: rpc::within_limits!(SecretServiceClient::new(channels.unary.clone())),
            options,
            clock,
            leases: Tasks::new("leases"),
        })
    }

    /// Spends a grant for the destination that will really be dialled.
    ///
    /// # Errors
    /// [`RedeemError`]; the grant may be spent all the same.
    pub async fn redeem(
        &self,
        grant: &Text,
        destination: &Destination,
        holder: Holder,
    ) -> Result<Redeemed, RedeemError> {
        let request = pb::RedeemGrantRequest {
            grant_token: grant.expose().to_owned(),
            destination: destination.to_string(),
            instance_id: holder.instance_id,
            lease_epoch: holder.lease_epoch,
        };
        let mut client = self.client.clone();
        let response = timeout(self.options.timeout, client.redeem_grant(request))
            .await
            .map_err(|_| RedeemError::Unreachable(PeerError::TimedOut))?
            .map_err(|status| refusal(&status))?;
        let pb::RedeemGrantResponse {
            secrets,
            lease_token,
            lease_expire_time,
        } = response.into_inner();
        // The lease first: should a value be unreadable, dropping it gives the lease back.
        let lease = self.keep(Text::new(lease_token), lease_expire_time);
        let (mut environment, mut headers) = (HashMap::new(), HashMap::new());
        // Every value into a type that wipes itself before the first can fail.
        let secrets: Vec<_> = secrets.into_iter().map(sealed).collect();
        for (kind, name, value) in secrets {
            match kind {
                pb::FieldKind::EnvironmentBlob => environment.extend(blob::parse(&value)?),
                pb::FieldKind::Environment => {
                    environment.insert(name, text(value)?);
                }
                pb::FieldKind::Header => {
                    headers.insert(name.to_ascii_lowercase(), text(value)?);
                }
                pb::FieldKind::Query | pb::FieldKind::Unspecified => {
                    return Err(RedeemError::Unreadable);
                }
            }
        }
        Ok(Redeemed {
            environment,
            headers,
            lease,
        })
    }

    /// Gives every lease back, as far as that is possible in the time given.
    pub async fn stop(&self, grace: Duration) -> Stopped {
        self.leases.stop(grace).await
    }
}

/// Takes a released secret out of its message.
fn sealed(secret: pb::ReleasedSecret) -> (pb::FieldKind, String, Bytes) {
    let kind = secret.field_kind();
    let pb::ReleasedSecret {
        secret_version: _,
        field_kind: _,
        field_name,
        value,
    } = secret;
    (kind, field_name, Bytes::new(value))
}

fn text(value: Bytes) -> Result<Text, RedeemError> {
    value.into_text().map_err(|_| RedeemError::Unreadable)
}

fn refusal(status: &tonic::Status) -> RedeemError {
    match PeerError::from(status) {
        PeerError::Refused {
            code: Code::DataLoss,
            ..
        } => RedeemError::Unreadable,
        error @ PeerError::Refused { .. } => RedeemError::Refused(error),
        error @ (PeerError::Unreachable(_)
        | PeerError::TimedOut
        | PeerError::Malformed
        | PeerError::NoLease
        | PeerError::Stopped) => RedeemError::Unreachable(error),
    }
}
