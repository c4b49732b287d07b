//! Setting and removing the values of a connector's secrets.
//!
//! Invariant: values pass through once, to the vault, and only for fields that the spec names. What is removed is no
//! longer referred to before it is destroyed; what is set is sealed before it is referred to.

use names::ConnectorName;
use uuid::Uuid;

use super::{
    Registry, Shown,
    apply::{check_etag, not_found, removals},
    create::derived_request,
    owner,
};
use crate::{
    domain::{
        connector::{Connector, SecretLocation, StoredSecret},
        draft::{SecretValue, check_secret},
        request,
        spec::{FieldValue, SecretField, SecretPlace},
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
    /// Sets and removes values of secrets.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn set_secrets(&self, request: SetSecretsRequest) -> Result<Shown> {
        let SetSecretsRequest {
            principal,
            name,
            set,
            unset,
            etag,
            request_id,
        } = request;
        let set_fields: Vec<&SecretField> = set.iter().map(|value| &value.field).collect();
        let unset_fields: Vec<&SecretField> = unset.iter().collect();
        let hash = request::of_secrets(&name, &set_fields, &unset_fields, etag.as_deref());
        let key = request_id.map(|id| RequestKey {
            principal,
            target: name.to_string(),
            id,
            hash,
        });
        let current = self.store.get(&name).await.map_err(Error::about(&name))?;
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
        let _writing = self.writing(current.uid).await;
        // What an earlier change still owes must not hit what is written now.
        self.settle_debts(current.uid).await?;
        let base = request_id.map_or_else(Uuid::new_v4, |id| {
            derived_request(current.uid.as_uuid(), &id.to_string())
        });
        let sealed = self
            .seal(&current, &set, &unset, base)
            .await
            .map_err(|error| refused(&current, error))?;
        let changed = self
            .refer(&current, &sealed, &unset, etag.as_deref(), key)
            .await?;
        self.owed.notify_one();
        tracing::info!(connector = %name, set = set.len(), unset = unset.len(), "connector secrets changed");
        self.show(changed).await
    }

    /// Seals new values; variables that go leave the blob in the same call.
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
    ) -> std::result::Result<Blob, vault::Error> {
        let set: Vec<_> = of(SecretPlace::Environment, set)
            .map(|value| (value.field.name.as_str(), &value.value))
            .collect();
        let unset: Vec<String> = unset
            .iter()
            .filter(|field| field.place == SecretPlace::Environment)
            .map(|field| field.name.clone())
            .collect();
        if set.is_empty() && unset.is_empty() {
            return Ok(Blob::Untouched);
        }
        // Removing alone needs no rebinding: the values that are left stay bound where they are.
        let mut bound = current.secrets.iter();
        let bound = bound.find(|secret| secret.field.place == SecretPlace::Environment);
        let destination = match bound {
            Some(bound) if set.is_empty() => bound.destination.as_str(),
            Some(_) | None => destination,
        };
        let patch = BlobPatch {
            set,
            unset,
            destination,
            request,
        };
        Ok(self
            .vault
            .patch_blob(owner(current), patch)
            .await?
            .map_or(Blob::Empty, Blob::At))
    }

    /// Makes the connector refer to what was sealed.
    async fn refer(
        &self,
        before: &Connector,
        sealed: &Sealed,
        unset: &[SecretField],
        etag: Option<&str>,
        key: Option<RequestKey>,
    ) -> Result<Connector> {
        let name = &before.name;
        let now = self.now();
        let mutated = self.store.mutate(name, now, |current| {
            check_etag(current, etag)?;
            if current.uid != before.uid {
                return Err(Error::NotFound(name.clone()));
            }
            let is_gone = |secret: &StoredSecret| unset.contains(&secret.field);
            let (gone, kept): (Vec<_>, Vec<_>) = current.secrets.iter().cloned().partition(is_gone);
            let secrets = sealed.merge(kept, now);
            // Variables have left the blob already; headers are secrets of their own.
            let tasks = removals(
                gone.into_iter()
                    .filter(|secret| secret.field.place == SecretPlace::Header)
                    .collect(),
            );
            let connector = current.changed(current.spec.clone(), secrets, now);
            Ok(Some(Mutation {
                connector,
                tasks,
                request: key,
            }))
        });
        match mutated.await.map_err(not_found(name)) {
            Err(Error::NotFound(name)) => {
                // It was deleted meanwhile, perhaps before these values came: they must go, too.
                self.store
                    .owe(
                        name.clone(),
                        before.uid,
                        NewTask(Action::DeleteSecrets),
                        now,
                    )
                    .await?;
                self.owed.notify_one();
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
    blob: Blob,
    variables: Vec<SecretField>,
    headers: Vec<(SecretField, SecretLocation)>,
}

/// The connector's variables, which are sealed together.
#[derive(Debug)]
enum Blob {
    Untouched,
    Empty,
    At(SecretLocation),
}

impl Sealed {
    /// The references after these values replaced or joined `kept`.
    fn merge(
        &self,
        mut kept: Vec<StoredSecret>,
        now: crate::domain::timestamp::Timestamp,
    ) -> Vec<StoredSecret> {
        let is_replaced = |secret: &StoredSecret| {
            self.variables.contains(&secret.field)
                || self.headers.iter().any(|(field, _)| field == &secret.field)
        };
        kept.retain(|secret| !is_replaced(secret));
        match &self.blob {
            Blob::Untouched => {}
            Blob::Empty => kept.retain(|secret| secret.field.place == SecretPlace::Header),
            Blob::At(location) => {
                for secret in kept
                    .iter_mut()
                    .filter(|secret| secret.field.place == SecretPlace::Environment)
                {
                    secret.location = location.clone();
                }
                kept.extend(
                    self.variables
                        .iter()
                        .map(|field| self.stored(field, location, now)),
                );
            }
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
        now: crate::domain::timestamp::Timestamp,
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
