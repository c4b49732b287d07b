//! What the runtime needs just before it connects: the connector as it is now, and a grant for its secrets.
//!
//! Invariant: only the holder of the sessions gets a grant, for exactly the versions the connector refers to and the
//! destination it leads to at that moment.

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
        if !self
            .store
            .holds_sessions(runtime.reporter(), self.now())
            .await?
        {
            return Err(Error::Lease(Refused::Lost));
        }
        let holder = Holder {
            subject: subject.to_owned(),
            instance: runtime.id,
            epoch: runtime.epoch,
        };
        join_all(names.iter().map(|name| self.resolve_one(name, &holder)))
            .await
            .into_iter()
            .collect()
    }

    async fn resolve_one(&self, name: &ConnectorName, holder: &Holder) -> Result<Resolved> {
        let connector = match self.store.get(name).await {
            Ok(connector) => connector,
            Err(store::Error::NotFound) => {
                return Ok(unresolved(
                    "CONNECTOR_NOT_FOUND",
                    "The connector does not exist.",
                ));
            }
            Err(error) => return Err(error.into()),
        };
        match connector.readiness() {
            Readiness::Ready => {}
            Readiness::Disabled => {
                return Ok(unresolved(
                    "CONNECTOR_DISABLED",
                    "The connector is disabled.",
                ));
            }
            Readiness::Blocked(reason) => return Ok(unresolved(reason, status::message(reason))),
        }
        if let Err((_, refusal)) = judge(
            &self.settings.policy,
            name.scope(),
            &connector.spec.transport,
        ) {
            return Ok(unresolved("POLICY_DENIED", refusal.message()));
        }
        self.grant(connector, holder).await
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
