//! Prepares a session's connection: the effective spec from the registry, its secrets from the vault, both put together.
//!
//! Invariants: secrets are redeemed for the destination of the very spec that is dialled, and for nothing but the
//! session of the present generation. Nothing is kept between two connections.

use std::{collections::HashMap, path::PathBuf, sync::Arc};

use egress::Egress;
use lifecycle::CancellationToken;
use policy::ScopeKind;

use super::merge;
use crate::{
    desired::Plan,
    domain::{Reason, SessionSpec},
    session::{Prepare, PrepareError, Prepared},
    transport::{Limits, OpenOptions},
    upstream::{
        PeerError,
        registry::{Effective, LeaseBoard, Resolved, Resolver},
        vault::{Holder, RedeemError, Redeemed, Vault},
    },
};

/// How connections are opened.
#[derive(Clone, Debug)]
pub struct ConnectOptions {
    /// The checked way out.
    pub egress: Egress,
    /// The program that is started as `stdio-guard`.
    pub guard: PathBuf,
    /// What every server process finds in its environment before its own variables.
    pub environment: Vec<(String, String)>,
    /// Limits of sizes and times.
    pub limits: Limits,
}

struct Preparation {
    resolver: Resolver,
    lease: LeaseBoard,
    vault: Arc<Vault>,
    options: ConnectOptions,
}

/// The preparation of all sessions.
#[must_use]
pub fn prepare(
    resolver: Resolver,
    lease: LeaseBoard,
    vault: Arc<Vault>,
    options: ConnectOptions,
) -> Prepare {
    let preparation = Arc::new(Preparation {
        resolver,
        lease,
        vault,
        options,
    });
    Arc::new(move |spec| {
        let preparation = Arc::clone(&preparation);
        Box::pin(async move {
            let name = spec.name.clone();
            let prepared = preparation.prepare(spec).await.map_err(PrepareError);
            if let Err(error) = &prepared {
                tracing::info!(connector = %name, reason = error.0.as_str(), "connection not prepared");
            }
            prepared
        })
    })
}

impl Preparation {
    async fn prepare(&self, spec: SessionSpec) -> Result<Prepared, Reason> {
        let resolved = self.resolver.resolve(&spec.name).await;
        let effective = match resolved.map_err(|error| unasked(&error))? {
            Resolved::Effective(effective) => *effective,
            Resolved::Unresolved(reason) => return Err(unresolved(&reason)),
        };
        let Effective { connector, grant } = effective;
        let (uid, generation) = (connector.uid, connector.generation);
        let transport = match connector.plan {
            Plan::Session(effective) if (uid, generation) == (spec.uid, spec.generation) => {
                SessionSpec::clone(&effective).transport
            }
            Plan::TooNew => return Err(Reason::SpecTooNew),
            // The feed will bring the change; this session has no future.
            Plan::Session(_) | Plan::Disabled => return Err(Reason::SpecGone),
        };
        let destination = merge::destination(&transport)?;
        let redeemed = match grant {
            Some(grant) => {
                let holder = self.holder()?;
                let redeemed = self.vault.redeem(&grant, &destination, holder).await;
                Some(redeemed.map_err(|error| not_redeemed(&error))?)
            }
            None if merge::asks_for_secrets(&transport) => return Err(Reason::SecretMissing),
            None => None,
        };
        let (environment, headers, lease) = match redeemed {
            Some(Redeemed {
                environment,
                headers,
                lease,
            }) => (environment, headers, Some(lease)),
            None => (HashMap::new(), HashMap::new(), None),
        };
        let revoked = lease
            .as_ref()
            .map_or_else(CancellationToken::new, |lease| lease.revoked());
        let mut options = OpenOptions::new(
            self.options.egress.clone(),
            ScopeKind::from(spec.name.scope()),
        );
        options.guard.clone_from(&self.options.guard);
        options
            .base_environment
            .clone_from(&self.options.environment);
        options.limits = self.options.limits.clone();
        Ok(Prepared {
            target: merge::target(&transport, environment, headers)?,
            options,
            revoked,
            lease: lease.map(|lease| Box::new(lease) as _),
        })
    }

    fn holder(&self) -> Result<Holder, Reason> {
        let lease_epoch = self.lease.current().ok_or(Reason::RegistryUnavailable)?;
        Ok(Holder {
            instance_id: self.lease.identity().id.to_string(),
            lease_epoch,
        })
    }
}

/// What a refusal to resolve means for a session. A missing secret is the owner's to enter, as any other gap in the
/// settings: MISCONFIGURED; AUTH_REQUIRED is kept for what a server said.
fn unresolved(reason: &str) -> Reason {
    match reason {
        "CONNECTOR_NOT_FOUND" | "CONNECTOR_DISABLED" => Reason::SpecGone,
        "SECRET_MISSING" => Reason::SecretMissing,
        "SECRET_NEEDS_REBIND" => Reason::SecretNeedsRebind,
        "SECRET_UNREADABLE" => Reason::SecretUnreadable,
        "POLICY_DENIED" => Reason::PolicyDenied,
        "VAULT_UNAVAILABLE" => Reason::VaultUnavailable,
        // A reason of a newer release.
        _ => Reason::SpecTooNew,
    }
}

fn unasked(error: &PeerError) -> Reason {
    match error {
        PeerError::Malformed => Reason::SpecTooNew,
        PeerError::Unreachable(_)
        | PeerError::TimedOut
        | PeerError::Refused { .. }
        | PeerError::NoLease
        | PeerError::Stopped => Reason::RegistryUnavailable,
    }
}

fn not_redeemed(error: &RedeemError) -> Reason {
    match error {
        RedeemError::Unreadable => Reason::SecretUnreadable,
        RedeemError::Unreachable(_) => Reason::VaultUnavailable,
        RedeemError::Refused(_) => Reason::GrantRefused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ConnectionState;

    #[test]
    fn what_only_the_owner_can_fix_is_misconfigured_and_what_passes_is_tried_again() {
        for reason in [
            "SECRET_MISSING",
            "SECRET_NEEDS_REBIND",
            "SECRET_UNREADABLE",
            "POLICY_DENIED",
            "SOMETHING_NEW",
        ] {
            let state = unresolved(reason).state();
            assert_eq!(state, ConnectionState::Misconfigured, "{reason}");
        }
        assert_eq!(
            unresolved("VAULT_UNAVAILABLE").state(),
            ConnectionState::Unreachable
        );
        assert_eq!(
            unresolved("CONNECTOR_DISABLED").state(),
            ConnectionState::Pending
        );
    }
}
