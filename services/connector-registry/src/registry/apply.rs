//! Changing what is desired of a connector: its spec, whether it is enabled, whether it exists.
//!
//! Invariant: what a change owes to the vault is written with the change and done afterwards.

use names::ConnectorName;

use super::{Registry, Shown};
use crate::{
    domain::{
        connector::{Connector, StoredSecret, dropped_secrets},
        draft::Draft,
        spec::{SecretPlace, Spec, Transport},
        status::{self, SPEC_TOO_NEW},
        update::Mask,
        violation::Violations,
    },
    error::{Error, Result},
    store::{Action, Mutation, NewTask},
};

/// Whether a connector is to have a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Enabled,
    Disabled,
}

impl Registry {
    /// Changes the fields that the mask names.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn update(
        &self,
        principal: &str,
        name: &ConnectorName,
        draft: &Draft,
        mask: &Mask,
        etag: Option<&str>,
    ) -> Result<Shown> {
        let uid = self.store.get(name).await.map_err(Error::about(name))?.uid;
        let _writing = self.writing(uid).await;
        let now = self.now();
        let updated = self.store.mutate(name, now, |current| {
            check_etag(current, etag)?;
            let spec = mask.apply(draft, &current.spec)?;
            if spec == current.spec {
                return Ok(None);
            }
            if spec.transport != current.spec.transport {
                self.judge(name.scope(), &spec.transport)?;
            }
            let dropped = dropped_secrets(&spec, &current.secrets);
            let kept = current
                .secrets
                .iter()
                .filter(|secret| !dropped.contains(secret))
                .cloned()
                .collect();
            let mut tasks = removals(dropped);
            if current.leads_elsewhere(&spec) {
                tasks.push(NewTask::now(Action::RevokeLeases));
            }
            Ok(Some(Mutation {
                connector: current.changed(spec, kept, now),
                tasks,
                request: None,
            }))
        });
        let updated = updated.await.map_err(not_found(name))?;
        self.tell_workers();
        tracing::info!(principal, connector = %name, revision = updated.revisions.revision, "connector updated");
        self.show(updated).await
    }

    /// Asks for a session.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn enable(
        &self,
        principal: &str,
        name: &ConnectorName,
        etag: Option<&str>,
    ) -> Result<Shown> {
        self.switch(principal, name, etag, Wanted::Enabled).await
    }

    /// Ends the session, and every lease with it.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn disable(
        &self,
        principal: &str,
        name: &ConnectorName,
        etag: Option<&str>,
    ) -> Result<Shown> {
        self.switch(principal, name, etag, Wanted::Disabled).await
    }

    async fn switch(
        &self,
        principal: &str,
        name: &ConnectorName,
        etag: Option<&str>,
        wanted: Wanted,
    ) -> Result<Shown> {
        let enabled = wanted == Wanted::Enabled;
        let now = self.now();
        let switched = self.store.mutate(name, now, |current| {
            // Before the etag: whoever asks again after a lost answer has an old one, and what he wants is so.
            if current.spec.enabled == enabled {
                return Ok(None);
            }
            check_etag(current, etag)?;
            if current.spec.transport == Transport::Unknown {
                // Writing it back would lose what this release cannot read.
                return Err(Violations::one("name", status::message(SPEC_TOO_NEW)).into());
            }
            let spec = Spec {
                enabled,
                ..current.spec.clone()
            };
            let connector = current.changed(spec, current.secrets.clone(), now);
            let tasks = if enabled {
                Vec::new()
            } else {
                vec![NewTask::now(Action::RevokeLeases)]
            };
            Ok(Some(Mutation {
                connector,
                tasks,
                request: None,
            }))
        });
        let switched = switched.await.map_err(not_found(name))?;
        self.tell_workers();
        tracing::info!(principal, connector = %name, enabled, revision = switched.revisions.revision, "connector switched");
        self.show(switched).await
    }

    /// Deletes a connector, its leases and its secrets; answers with the position of the deletion.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn delete(
        &self,
        principal: &str,
        name: &ConnectorName,
        etag: Option<&str>,
    ) -> Result<i64> {
        let deleted = self.store.delete(name, self.now(), |current| {
            check_etag(current, etag)?;
            Ok(vec![
                NewTask::now(Action::RevokeLeases),
                NewTask::now(Action::DeleteSecrets),
            ])
        });
        let deleted = deleted.await.map_err(not_found(name))?;
        self.tell_workers();
        let uid = deleted.connector.uid;
        tracing::info!(principal, connector = %name, %uid, revision = deleted.revision, "connector deleted");
        Ok(deleted.revision)
    }
}

/// The store's "not there", which names nothing, as one about this connector.
pub(super) fn not_found(name: &ConnectorName) -> impl FnOnce(Error) -> Error {
    let name = name.clone();
    move |error| match error {
        Error::Internal(crate::store::Error::NotFound) => Error::NotFound(name),
        other => other,
    }
}

/// Refuses an etag that is not the current one; none means that the last writer wins.
pub(super) fn check_etag(current: &Connector, etag: Option<&str>) -> Result<()> {
    match etag {
        Some(etag) if etag != current.etag() => Err(Error::EtagMismatch(current.name.clone())),
        Some(_) | None => Ok(()),
    }
}

/// What the vault is to do with secrets that a connector no longer refers to.
pub(super) fn removals(dropped: Vec<StoredSecret>) -> Vec<NewTask> {
    let mut tasks = Vec::new();
    let mut variables = Vec::new();
    for StoredSecret {
        field, location, ..
    } in dropped
    {
        match field.place {
            SecretPlace::Header => tasks.push(NewTask::now(Action::DeleteSecret(location.secret))),
            SecretPlace::Environment => variables.push(field.name),
        }
    }
    if !variables.is_empty() {
        tasks.push(NewTask::now(Action::UnsetVariables(variables)));
    }
    tasks
}
