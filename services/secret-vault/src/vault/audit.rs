//! Writing the audit: rows are linked to the end of their scope's chain in the transaction that they are
//! about, so that what happened and what was written down become durable together.

use std::collections::BTreeMap;

use names::ScopeName;
use uuid::Uuid;

use super::{Caller, Error, Inner};
use crate::domain::{AuditEvent, Decision, Method, Micros, Reason, VersionRef};
use crate::store::Connection;
use crate::store::audit::{Link, append, lock_head};

/// A row about `method` in `scope`, allowed, with nothing else filled in.
pub(super) fn event(caller: &Caller, method: Method, scope: &ScopeName, now: Micros) -> AuditEvent {
    AuditEvent {
        scope: scope.clone(),
        time: now,
        actor: caller.subject.clone(),
        acting_user: caller.acting_user.clone(),
        method,
        connector: None,
        secret: None,
        version: None,
        grant: None,
        lease: None,
        decision: Decision::Allowed,
        reason: Reason::Ok,
        request_id: None,
    }
}

impl AuditEvent {
    pub(super) fn connector(self, connector: Uuid) -> Self {
        Self {
            connector: Some(connector),
            ..self
        }
    }

    pub(super) fn secret(self, secret: Uuid) -> Self {
        Self {
            secret: Some(secret),
            ..self
        }
    }

    pub(super) fn at(self, at: VersionRef) -> Self {
        Self {
            secret: Some(at.secret),
            version: Some(at.version),
            ..self
        }
    }

    pub(super) fn grant(self, grant: Uuid) -> Self {
        Self {
            grant: Some(grant),
            ..self
        }
    }

    pub(super) fn lease(self, lease: Uuid) -> Self {
        Self {
            lease: Some(lease),
            ..self
        }
    }

    pub(super) fn request(self, request_id: Uuid) -> Self {
        Self {
            request_id: Some(request_id),
            ..self
        }
    }

    pub(super) fn denied(self, reason: Reason) -> Self {
        Self {
            decision: Decision::Denied,
            reason,
            ..self
        }
    }

    pub(super) fn failed(self, reason: Reason) -> Self {
        Self {
            decision: Decision::Failed,
            reason,
            ..self
        }
    }

    /// The row about a use case that ended with `error`; `None` where it was no refusal because of what
    /// was asked for or is stored, but a failure of the moment.
    pub(super) fn refused(self, error: &Error) -> Option<Self> {
        match error {
            Error::SecretNotFound => Some(self.denied(Reason::SecretGone)),
            Error::NeedsRebind => Some(self.denied(Reason::DestinationNotRecorded)),
            Error::RequestIdReused => Some(self.denied(Reason::RequestIdReused)),
            Error::RateExceeded { retry_after: _ } => Some(self.denied(Reason::RateExceeded)),
            Error::Unreadable {
                reason,
                at: Some(at),
            } => Some(self.at(*at).failed(*reason)),
            Error::Unreadable { reason, at: None } => Some(self.failed(*reason)),
            Error::Invalid(_)
            | Error::GrantNotFound
            | Error::LeaseNotFound
            | Error::Overloaded
            | Error::Contention(_)
            | Error::Unavailable(_)
            | Error::Stopping
            | Error::Internal(_)
            | Error::Sealing => None,
        }
    }
}

impl Inner {
    /// Appends rows to their chains. Chains are taken in one order, so that two transactions that write
    /// to several of them cannot wait for each other.
    pub(super) async fn write_audit(
        &self,
        connection: &impl Connection,
        events: Vec<AuditEvent>,
    ) -> Result<(), Error> {
        let mut chains: BTreeMap<ScopeName, Vec<AuditEvent>> = BTreeMap::new();
        for event in events {
            chains.entry(event.scope.clone()).or_default().push(event);
        }
        for (scope, events) in chains {
            let head = lock_head(connection, &scope).await?;
            let (mut seq, mut prev) = (head.seq, head.mac.clone());
            let mut links = Vec::with_capacity(events.len());
            for event in events {
                seq += 1;
                let mac = self.keyring.macs().audit(&event, seq, &prev);
                links.push(Link {
                    event,
                    seq,
                    prev,
                    mac: mac.clone(),
                });
                prev = mac;
            }
            if !append(connection, &scope, &head, &links).await? {
                return Err(Error::Sealing);
            }
        }
        Ok(())
    }

    /// Writes down, in a transaction of its own, that a write was refused or stored data turned out
    /// unreadable. The use case has been rolled back; its error is what the caller gets, whether or not
    /// this succeeds. That something is missing is no theft and is not written down here.
    pub(super) async fn note_refused<T>(&self, outcome: &Result<T, Error>, event: AuditEvent) {
        let event = match outcome {
            Ok(_) | Err(Error::SecretNotFound) => None,
            Err(error) => event.refused(error),
        };
        let Some(event) = event else {
            return;
        };
        if event.decision == Decision::Failed {
            tracing::error!(
                scope = %event.scope, method = event.method.as_str(), reason = event.reason.as_str(),
                secret = ?event.secret, version = ?event.version, "a secret cannot be read"
            );
        }
        if let Err(error) = self.write_alone(event).await {
            tracing::error!(%error, "the audit row about a refusal was not written");
        }
    }

    async fn write_alone(&self, event: AuditEvent) -> Result<(), Error> {
        let transaction = self.database.begin_write().await?;
        self.write_audit(&*transaction, vec![event]).await?;
        Ok(transaction.commit().await?)
    }
}

#[cfg(test)]
mod tests;
