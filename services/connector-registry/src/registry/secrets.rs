//! Setting and removing the values of a connector's secrets.
//!
//! Invariant: values pass through once, to the vault, and only for fields that the spec names. What is removed or
//! replaced is no longer referred to before it is destroyed; what is set is sealed before it is referred to. So whatever
//! fails in between, the values in use stay.

use names::ConnectorName;
use uuid::Uuid;

use super::{
    Registry, Shown,
    apply::{check_etag, not_found, removals},
    create::derived_request,
    outbox::superseded,
    owner,
};
use crate::{
    domain::{
        connector::{Connector, SecretLocation, StoredSecret},
        draft::{SecretValue, check_secret},
        request,
        spec::{FieldValue, SecretField, SecretPlace},
        timestamp::Timestamp,
        violation::{Findings, Violations},
    },
    error::{Error, Result},
    store::{Action, Mutation, NewTask, RequestKey},
    upstream::vault::{self, BlobPatch},
};

/// The most secrets of one request.
const MAX_SECRETS: usize = 64;

/// A request to set and remove values.
#[derive(Debug)]
pub struct SetSecretsRequest {
    /// Who asks.
    pub principal: String,
    /// Of which connector.
    pub name: ConnectorName,
    /// What to store.
    pub set: Vec<SecretValue>,
    /// What to destroy.
    pub unset: Vec<SecretField>,
    /// The etag that must be the current one.
    pub etag: Option<String>,
    /// Recognises the request when it is made again.
    pub request_id: Option<Uuid>,
}

impl Registry {
    /// Sets and removes values of secrets. What has begun is ended also when the caller is gone.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn set_secrets(&self, request: SetSecretsRequest) -> Result<Shown> {
        let registry = self.clone();
        let work = async move { registry.set_secrets_now(request).await };
        self.to_the_end("set secrets", work).await
    }

    async fn set_secrets_now(&self, request: SetSecretsRequest) -> Result<Shown> {
        let SetSecretsRequest {
            principal,
            name,
            set,
            unset,
            etag,
            request_id,
        } = request;
        let uid = self
            .store
            .get(&name)
            .await
            .map_err(Error::about(&name))?
            .uid;
        let _writing = self.writing(uid).await;
        // Read again: whoever had the lock before may have changed everything.
        let current = self.store.get(&name).await.map_err(Error::about(&name))?;
        if current.uid != uid {
            return Err(Error::Conflict(name));
        }
        let set_fields: Vec<&SecretField> = set.iter().map(|value| &value.field).collect();
        let unset_fields: Vec<&SecretField> = unset.iter().collect();
        let hash = request::of_secrets(&name, &set_fields, &unset_fields, etag.as_deref());
        let key = request_id.map(|id| RequestKey {
            principal: principal.clone(),
            // Not the name, which may be another connector's by now.
            target: uid.to_string(),
            id,
            hash,
        });
        if let Some(key) = &key
            && let Some(known) = self.store.recall(key).await?
        {
            return if known == key.hash {
                self.show(current).await
            } else {
                Err(Error::RequestReused)
            };
        }
        check_etag(&current, etag.as_deref())?;
        check(&current, &set, &unset)?;
        // What an earlier change still owes must not hit what is written now.
        self.settle_debts(uid).await?;
        let base = request_id.map_or_else(Uuid::new_v4, |id| {
            derived_request(uid.as_uuid(), &format!("{id}{principal}"))
        });
        let sealed = self
            .seal(&current, &set, &unset, base)
            .await
            .map_err(|error| refused(&current, error))?;
        let changed = self
            .refer(&current, &sealed, &unset, etag.as_deref(), key.as_ref())
            .await?;
        self.tell_workers();
        tracing::info!(principal, connector = %name, set = set.len(), unset = unset.len(), "connector secrets changed");
        self.show(changed).await
    }

    /// Seals new values; variables that go leave the blob in the same call, unless they go alone.
    async fn seal(
        &self,
        current: &Connector,
        set: &[SecretValue],
        unset: &[SecretField],
        base: Uuid,
    ) -> std::result::Result<Sealed, vault::Error> {
        let destination = current.spec.transport.destination();
        let destination = destination.map_err(|_| vault::Error::Nonsense)?.to_string();
        let request = derived_request(base, "variables");
        let blob = self
            .seal_variables(current, set, unset, &destination, request)
            .await?;
        let mut headers = Vec::new();
        for SecretValue { field, value } in of(SecretPlace::Header, set) {
            let request = derived_request(base, &field.name);
            let location =
                self.vault
                    .add_header(owner(current), &field.name, value, &destination, request);
            headers.push((field.clone(), location.await?));
        }
        let variables = of(SecretPlace::Environment, set)
            .map(|value| value.field.clone())
            .collect();
        Ok(Sealed {
            destination,
            blob,
            variables,
            headers,
        })
    }

    async fn seal_variables(
        &self,
        current: &Connector,
        set: &[SecretValue],
        unset: &[SecretField],
        destination: &str,
        request: Uuid,
    ) -> std::result::Result<Option<SecretLocation>, vault::Error> {
        let set: Vec<_> = of(SecretPlace::Environment, set)
            .map(|value| (value.field.name.as_str(), &value.value))
            .collect();
        if set.is_empty() {
            return Ok(None);
        }
        let unset = unset
            .iter()
            .filter(|field| field.place == SecretPlace::Environment)
            .map(|field| field.name.clone())
            .collect();
        let patch = BlobPatch {
            set,
            unset,
            destination: Some(destination),
            request,
        };
        let blob = self.vault.patch_blob(owner(current), patch).await?;
        blob.map(Some).ok_or(vault::Error::Nonsense)
    }

    /// Makes the connector refer to what was sealed. What it referred to before is destroyed afterwards.
    async fn refer(
        &self,
        before: &Connector,
        sealed: &Sealed,
        unset: &[SecretField],
        etag: Option<&str>,
        key: Option<&RequestKey>,
    ) -> Result<Connector> {
        let name = &before.name;
        let now = self.now();
        let mutated = self.store.mutate(name, now, |current| {
            check_etag(current, etag)?;
            if current.uid != before.uid {
                return Err(Error::NotFound(name.clone()));
            }
            if sealed.is_older_than(&current.secrets) {
                return Err(Error::Conflict(name.clone()));
            }
            let is_gone = |secret: &StoredSecret| unset.contains(&secret.field);
            let (mut gone, kept): (Vec<_>, Vec<_>) =
                current.secrets.iter().cloned().partition(is_gone);
            let mut tasks = sealed.replaces(&current.secrets);
            // Variables that go together with one that comes have left the blob already.
            gone.retain(|secret| {
                secret.field.place == SecretPlace::Header || sealed.blob.is_none()
            });
            tasks.extend(removals(gone));
            let secrets = sealed.merge(kept, now);
            let connector = current.changed(current.spec.clone(), secrets, now);
            Ok(Some(Mutation {
                connector,
                tasks,
                request: key.cloned(),
            }))
        });
        match mutated.await.map_err(not_found(name)) {
            Err(Error::NotFound(name)) => {
                // It was deleted meanwhile, perhaps before these values came: they must go, too.
                let task = NewTask::now(Action::DeleteSecrets);
                self.store.owe(name.clone(), before.uid, task, now).await?;
                self.tell_workers();
                Err(Error::NotFound(name))
            }
            other => other,
        }
    }
}

/// What was sealed.
#[derive(Debug)]
struct Sealed {
    destination: String,
    /// The connector's variables, which are sealed together, when any was set.
    blob: Option<SecretLocation>,
    variables: Vec<SecretField>,
    headers: Vec<(SecretField, SecretLocation)>,
}

impl Sealed {
    /// Whether something newer is referred to already: the answer to a repeated request tells of a version that may be
    /// destroyed by now.
    fn is_older_than(&self, current: &[StoredSecret]) -> bool {
        let sealed = self.headers.iter().map(|(_, location)| location);
        sealed.chain(&self.blob).any(|location| {
            current.iter().any(|one| {
                one.location.secret == location.secret && one.location.version > location.version
            })
        })
    }

    /// The destruction of what these values replace among the `current` ones.
    fn replaces(&self, current: &[StoredSecret]) -> Vec<NewTask> {
        let sealed = self.headers.iter().map(|(_, location)| location);
        sealed
            .chain(&self.blob)
            .filter_map(|location| superseded(current.iter(), &location.secret, location.version))
            .collect()
    }

    /// The references after these values replaced or joined `kept`.
    fn merge(&self, mut kept: Vec<StoredSecret>, now: Timestamp) -> Vec<StoredSecret> {
        let is_replaced = |secret: &StoredSecret| {
            self.variables.contains(&secret.field)
                || self.headers.iter().any(|(field, _)| field == &secret.field)
        };
        kept.retain(|secret| !is_replaced(secret));
        if let Some(location) = &self.blob {
            let variables = kept
                .iter_mut()
                .filter(|secret| secret.field.place == SecretPlace::Environment);
            for secret in variables {
                secret.location = location.clone();
            }
            let set = self.variables.iter();
            kept.extend(set.map(|field| self.stored(field, location, now)));
        }
        kept.extend(
            self.headers
                .iter()
                .map(|(field, location)| self.stored(field, location, now)),
        );
        kept
    }

    fn stored(
        &self,
        field: &SecretField,
        location: &SecretLocation,
        now: Timestamp,
    ) -> StoredSecret {
        StoredSecret {
            field: field.clone(),
            location: location.clone(),
            destination: self.destination.clone(),
            update_time: now,
        }
    }
}

fn of(place: SecretPlace, set: &[SecretValue]) -> impl Iterator<Item = &SecretValue> {
    set.iter().filter(move |value| value.field.place == place)
}

/// Whether every field is one that the spec names as secret, once, with an acceptable value.
fn check(
    current: &Connector,
    set: &[SecretValue],
    unset: &[SecretField],
) -> std::result::Result<(), Violations> {
    const UNKNOWN: &str = "the connector's specification has no secret of this place and name";
    let mut findings = Findings::under("");
    let (place, fields) = current.spec.transport.fields();
    let named = |field: &SecretField| {
        fields.iter().any(|one| {
            one.value == FieldValue::Secret && SecretField::new(place, &one.name) == *field
        })
    };
    if set.is_empty() && unset.is_empty() {
        findings.add("values", "nothing is set or unset");
    }
    if set.len() + unset.len() > MAX_SECRETS {
        findings.add("values", "at most 64 secrets are set and unset at a time");
    }
    let mut seen: Vec<&SecretField> = Vec::new();
    for (at, SecretValue { field, value }) in set.iter().enumerate().take(MAX_SECRETS) {
        findings.within(format!("values[{at}]"), |findings| {
            if !named(field) {
                findings.add("name", UNKNOWN);
            } else if seen.contains(&field) {
                findings.add("name", "is given twice");
            }
            if let Err(requirement) = check_secret(field.place, value) {
                findings.add("value", requirement);
            }
        });
        seen.push(field);
    }
    for (at, field) in unset.iter().enumerate().take(MAX_SECRETS) {
        findings.within(format!("unset[{at}]"), |findings| {
            if !named(field) {
                findings.add("name", UNKNOWN);
            } else if seen.contains(&field) {
                findings.add("name", "is given twice");
            }
        });
        seen.push(field);
    }
    findings.finish(())
}

fn refused(current: &Connector, error: vault::Error) -> Error {
    match error {
        vault::Error::NeedsRebind => Error::NeedsRebind {
            connector: current.name.clone(),
            fields: current
                .secrets
                .iter()
                .filter(|secret| current.needs_rebind(secret))
                .map(|secret| secret.field.clone())
                .collect(),
        },
        vault::Error::RequestReused => Error::RequestReused,
        vault::Error::Conflict => Error::Conflict(current.name.clone()),
        other @ (vault::Error::Unavailable(_)
        | vault::Error::TimedOut(_)
        | vault::Error::NotFound
        | vault::Error::Unreadable
        | vault::Error::Refused(_)
        | vault::Error::Nonsense) => Error::Vault(other),
    }
}
