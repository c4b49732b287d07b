//! Creating a connector: an unseen row, then its secrets, then its publication.
//!
//! Invariant: whatever breaks in between leaves something that the same request can go on with, or that the sweeper and
//! the outbox clear away; nobody ever sees a connector without the secrets it was created with.

use std::time::Duration;

use names::{ConnectorId, ConnectorName, ConnectorUid, ScopeName};
use uuid::Uuid;

use super::{Registry, Shown, owner};
use crate::{
    domain::{
        connector::{Connector, SecretLocation, StoredSecret},
        draft::{Checked, Draft, SecretValue},
        request,
        spec::{SecretField, SecretPlace},
    },
    error::{Error, Result},
    store::{self, Action, Begun, NewConnector, NewTask, RequestKey},
    upstream::vault::{self, BlobPatch},
};

/// When no call to the vault is under way any more.
const LATE: Duration = vault::TIMEOUT.saturating_add(Duration::from_secs(10));

/// A request to create a connector.
#[derive(Debug)]
pub struct CreateRequest {
    /// Who asks.
    pub principal: String,
    /// For whom.
    pub scope: ScopeName,
    /// Under which id; `None` derives one.
    pub id: Option<ConnectorId>,
    /// What.
    pub draft: Draft,
    /// Recognises the request when it is made again.
    pub request_id: Option<Uuid>,
    /// Whether to check everything and change nothing.
    pub validate_only: bool,
}

impl Registry {
    /// Creates a connector. What has begun is ended also when the caller is gone.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn create(&self, request: CreateRequest) -> Result<Shown> {
        let registry = self.clone();
        let work = async move { registry.create_now(request).await };
        self.to_the_end("create connector", work).await
    }

    async fn create_now(&self, request: CreateRequest) -> Result<Shown> {
        let CreateRequest {
            principal,
            scope,
            id,
            draft,
            request_id,
            validate_only,
        } = request;
        let Checked { spec, secrets } = draft.check()?;
        self.judge(&scope, &spec.transport)?;
        let fields: Vec<&SecretField> = secrets.iter().map(|secret| &secret.field).collect();
        let hash = request::of_creation(&scope, id.as_ref(), &spec, &fields);
        let derived = ConnectorId::derive(&spec.display_name).unwrap_or_else(unnamed);
        let new = NewConnector {
            quota: self.settings.quotas.limit(scope.kind()),
            request: request_id.map(|id| RequestKey {
                principal: principal.clone(),
                target: scope.to_string(),
                id,
                hash,
            }),
            has_secrets: !secrets.is_empty(),
            now: self.now(),
            scope,
            id,
            derived,
            spec,
        };
        if validate_only {
            let rehearsed = self
                .store
                .rehearse(&new)
                .await
                .map_err(|error| refused(&new, error))?;
            return self.show(rehearsed).await;
        }
        let begun = self
            .store
            .begin_create(new.clone())
            .await
            .map_err(|error| refused(&new, error))?;
        let connector = match begun {
            Begun::Reused => return Err(Error::RequestReused),
            Begun::Published(connector) => *connector,
            Begun::Provisioning(connector) => {
                self.provision(*connector, secrets, request_id.is_some())
                    .await?
            }
        };
        tracing::info!(principal, connector = %connector.name, uid = %connector.uid, "connector created");
        self.show(connector).await
    }

    /// Seals the secrets of an unseen connector and publishes it.
    async fn provision(
        &self,
        connector: Connector,
        secrets: Vec<SecretValue>,
        repeatable: bool,
    ) -> Result<Connector> {
        let uid = connector.uid;
        let _writing = self.writing(uid).await;
        match self.seal_all(&connector, &secrets).await {
            Ok(stored) => match self.store.publish(uid, stored, self.now()).await {
                Err(store::Error::NotFound) => {
                    // The sweeper was faster. What was sealed since its note must go, too.
                    let (name, now) = (connector.name, self.now());
                    self.store.owe(name, uid, leftovers(), now).await?;
                    Err(Error::GivenUp)
                }
                published => Ok(published?),
            },
            Err(error) => {
                // A request that can be made again goes on from here; any other is given up at once.
                if !repeatable || !error.is_passing() {
                    self.give_up(uid).await?;
                }
                Err(Error::Vault(error))
            }
        }
    }

    /// Gives up a creation. The caller holds the connector's write lock.
    pub(super) async fn give_up(&self, uid: ConnectorUid) -> Result<()> {
        Ok(self.store.abandon(uid, leftovers(), self.now()).await?)
    }

    async fn seal_all(
        &self,
        connector: &Connector,
        secrets: &[SecretValue],
    ) -> std::result::Result<Vec<StoredSecret>, vault::Error> {
        let destination = connector
            .spec
            .transport
            .destination()
            .map_err(|_| vault::Error::Nonsense)?;
        let destination = destination.as_str();
        let mut stored = Vec::with_capacity(secrets.len());
        let mut keep = |field: &SecretField, location: SecretLocation| {
            stored.push(StoredSecret {
                field: field.clone(),
                location,
                destination: destination.to_owned(),
                update_time: self.now(),
            });
        };
        let is_variable = |secret: &&SecretValue| secret.field.place == SecretPlace::Environment;
        let variables: Vec<&SecretValue> = secrets.iter().filter(is_variable).collect();
        if !variables.is_empty() {
            let patch = BlobPatch {
                set: variables
                    .iter()
                    .map(|secret| (secret.field.name.as_str(), &secret.value))
                    .collect(),
                unset: Vec::new(),
                destination: Some(destination),
                request: derived_request(connector.uid.as_uuid(), "variables"),
            };
            let blob = self
                .vault
                .patch_blob(owner(connector), patch)
                .await?
                .ok_or(vault::Error::Nonsense)?;
            for secret in variables {
                keep(&secret.field, blob.clone());
            }
        }
        for SecretValue { field, value } in secrets {
            match field.place {
                SecretPlace::Environment => {}
                SecretPlace::Header => {
                    let request = derived_request(connector.uid.as_uuid(), &field.name);
                    let owner = owner(connector);
                    let location = self
                        .vault
                        .add_header(owner, &field.name, value, destination, request)
                        .await?;
                    keep(field, location);
                }
            }
        }
        Ok(stored)
    }
}

/// A request id for one of the calls that a request needs, the same whenever the request is made again.
pub(super) fn derived_request(base: Uuid, part: &str) -> Uuid {
    use sha2::{Digest as _, Sha256};
    let digest: [u8; 32] = Sha256::new()
        .chain_update(base.as_bytes())
        .chain_update(part)
        .finalize()
        .into();
    let mut bytes = [0; 16];
    for (byte, from) in bytes.iter_mut().zip(digest) {
        *byte = from;
    }
    uuid::Builder::from_random_bytes(bytes).into_uuid()
}

/// What a creation that was given up may have left in the vault. Not due before a call whose answer was not waited for
/// has ended, so that nothing is sealed afterwards.
const fn leftovers() -> NewTask {
    NewTask::later(Action::DeleteSecrets, LATE)
}

fn refused(new: &NewConnector, error: store::Error) -> Error {
    let id = new.id.as_ref().unwrap_or(&new.derived);
    Error::about(&ConnectorName::new(new.scope.clone(), id.clone()))(error)
}

/// `connector-<8 hex>`, for a display name of which nothing can be used.
fn unnamed() -> ConnectorId {
    let text = Uuid::new_v4().simple().to_string();
    let id = format!("connector-{}", text.get(..8).unwrap_or_default());
    id.parse().unwrap_or_else(|_| unnamed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derived_request_ids_are_stable_and_differ_by_part() {
        let base = Uuid::from_u128(7);
        assert_eq!(derived_request(base, "a"), derived_request(base, "a"));
        assert_ne!(derived_request(base, "a"), derived_request(base, "b"));
        assert_ne!(
            derived_request(base, "a"),
            derived_request(Uuid::from_u128(8), "a")
        );
        assert_eq!(derived_request(base, "a").get_version_num(), 4);
    }

    #[test]
    fn a_nameless_connector_gets_eight_hex_digits() {
        let id = unnamed();
        let hex = id.as_str().strip_prefix("connector-").expect("prefix");
        assert!(hex.len() == 8 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()));
    }
}
