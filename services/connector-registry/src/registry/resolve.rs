//! What the runtime needs just before it connects: the connector as it is now, and a grant for its secrets.
//!
//! Invariant: only the holder of the sessions gets a grant, for exactly the versions the connector refers to and the
//! destination it leads to at that moment. A grant that was made while the connector changed is not handed out: its leases
//! may have been ended just before.

use futures_util::future::join_all;
use names::{ConnectorName, SecretVersionName};
use sensitive::Text;

use super::{Registry, Runtime, Shown, judge, owner};
use crate::{
    domain::{
        connector::{Connector, StoredSecret},
        lease::Refused,
        status::{self, Readiness, SECRET_NEEDS_REBIND},
    },
    error::{Error, Result},
    store,
    upstream::vault::{self, Holder},
};

/// How often a connector that keeps changing is resolved anew.
const ATTEMPTS: usize = 3;

/// A connector as the runtime is to connect it.
#[derive(Debug)]
pub struct Effective {
    /// The connector.
    pub shown: Shown,
    /// Redeems its secrets, once; `None` when it has none.
    pub grant: Option<Text>,
    /// Where it leads, in canonical form.
    pub destination: String,
    /// Which secret version holds what.
    pub secrets: Vec<StoredSecret>,
}

/// Why a connector cannot be connected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unresolved {
    /// A stable code.
    pub reason: &'static str,
    /// The same for people.
    pub message: &'static str,
}

/// One answer.
#[derive(Debug)]
pub enum Resolved {
    /// It can be connected.
    Effective(Box<Effective>),
    /// It cannot.
    Unresolved(Unresolved),
}

impl Registry {
    /// Resolves connectors for the runtime that holds the sessions; `subject` is the principal that will redeem.
    ///
    /// # Errors
    /// [`Error::Lease`] when it does not hold them.
    pub async fn resolve(
        &self,
        runtime: &Runtime,
        subject: &str,
        names: &[ConnectorName],
    ) -> Result<Vec<Resolved>> {
        self.check_holder(runtime).await?;
        let holder = Holder {
            subject: subject.to_owned(),
            instance: runtime.id,
            epoch: runtime.epoch,
        };
        join_all(
            names
                .iter()
                .map(|name| self.resolve_one(name, runtime, &holder)),
        )
        .await
        .into_iter()
        .collect()
    }

    async fn check_holder(&self, runtime: &Runtime) -> Result<()> {
        let reporter = runtime.reporter();
        if self.store.holds_sessions(reporter, self.now()).await? {
            Ok(())
        } else {
            Err(Error::Lease(Refused::Lost))
        }
    }

    async fn resolve_one(
        &self,
        name: &ConnectorName,
        runtime: &Runtime,
        holder: &Holder,
    ) -> Result<Resolved> {
        for _ in 0..ATTEMPTS {
            let connector = match self.connectable(name).await? {
                Ok(connector) => connector,
                Err(unresolved) => return Ok(Resolved::Unresolved(unresolved)),
            };
            let before = (connector.uid, connector.revisions.generation);
            let resolved = self.grant(connector, holder).await?;
            // Leases are ended after the change is written: what is the same now is covered by that.
            self.check_holder(runtime).await?;
            match self.store.get(name).await {
                Ok(now) if (now.uid, now.revisions.generation) == before => return Ok(resolved),
                Ok(_) | Err(store::Error::NotFound) => {
                    tracing::debug!(connector = %name, "changed while it was resolved");
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(unresolved(
            "VAULT_UNAVAILABLE",
            "The connector changes too often to make a grant for it.",
        ))
    }

    /// The connector as it is now, if it can be connected.
    async fn connectable(
        &self,
        name: &ConnectorName,
    ) -> Result<std::result::Result<Connector, Unresolved>> {
        let refused = |reason, message| Ok(Err(Unresolved { reason, message }));
        let connector = match self.store.get(name).await {
            Ok(connector) => connector,
            Err(store::Error::NotFound) => {
                return refused("CONNECTOR_NOT_FOUND", "The connector does not exist.");
            }
            Err(error) => return Err(error.into()),
        };
        match connector.readiness() {
            Readiness::Ready => {}
            Readiness::Disabled => {
                return refused("CONNECTOR_DISABLED", "The connector is disabled.");
            }
            Readiness::Blocked(reason) => return refused(reason, status::message(reason)),
        }
        let transport = &connector.spec.transport;
        if let Err((_, refusal)) = judge(&self.settings.policy, name.scope(), transport) {
            return refused("POLICY_DENIED", refusal.message());
        }
        Ok(Ok(connector))
    }

    async fn grant(&self, connector: Connector, holder: &Holder) -> Result<Resolved> {
        let Ok(destination) = connector.spec.transport.destination() else {
            return Ok(unresolved(
                "POLICY_DENIED",
                "The connector does not lead anywhere.",
            ));
        };
        let secrets: Vec<StoredSecret> = connector
            .spec
            .transport
            .secret_fields()
            .filter_map(|field| connector.secret(&field).cloned())
            .collect();
        let mut versions: Vec<SecretVersionName> = secrets
            .iter()
            .map(|secret| {
                secret
                    .location
                    .secret
                    .clone()
                    .version(secret.location.version)
            })
            .collect();
        versions.sort();
        versions.dedup();
        let grant = if versions.is_empty() {
            None
        } else {
            match self
                .vault
                .grant(owner(&connector), &versions, destination.as_str(), holder)
                .await
            {
                Ok(token) => Some(token),
                Err(error) => return Ok(without_grant(&connector, &error)),
            }
        };
        Ok(Resolved::Effective(Box::new(Effective {
            shown: self.show(connector).await?,
            grant,
            destination: destination.to_string(),
            secrets,
        })))
    }
}

fn unresolved(reason: &'static str, message: &'static str) -> Resolved {
    Resolved::Unresolved(Unresolved { reason, message })
}

fn without_grant(connector: &Connector, error: &vault::Error) -> Resolved {
    tracing::warn!(connector = %connector.name, %error, "the vault made no grant");
    match error {
        vault::Error::Unavailable(_) | vault::Error::TimedOut(_) | vault::Error::Conflict => {
            unresolved(
                "VAULT_UNAVAILABLE",
                "The secret vault cannot be reached or has too much to do.",
            )
        }
        vault::Error::NeedsRebind => {
            unresolved(SECRET_NEEDS_REBIND, status::message(SECRET_NEEDS_REBIND))
        }
        vault::Error::NotFound
        | vault::Error::Unreadable
        | vault::Error::RequestReused
        | vault::Error::Refused(_)
        | vault::Error::Nonsense => unresolved(
            "SECRET_UNREADABLE",
            "A secret of the connector cannot be read.",
        ),
    }
}
