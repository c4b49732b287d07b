//! CreateGrant: the registry's half of a release. It names who may read what, for where; it reads nothing.

use std::time::Duration;

use names::ScopeName;
use sensitive::Text;
use uuid::Uuid;

use super::audit::event;
use super::known::Known;
use super::pace::Refused;
use super::writer::{Command, Done, Reply};
use super::{Caller, Error, Inner, Vault};
use crate::domain::{GrantRecord, Holder, Invalid, Method, Micros, Reason, VersionRef};
use crate::keyring::new_token;
use crate::store::Connection;
use crate::store::grants;

/// What one redemption releases at most, so that its answer fits a message of 4 MiB.
const MOST_BYTES: u32 = 3 * 1024 * 1024;

/// A checked request.
#[derive(Debug, Clone)]
pub(crate) struct NewGrant {
    pub(crate) scope: ScopeName,
    pub(crate) connector: Uuid,
    pub(crate) secrets: Vec<VersionRef>,
    pub(crate) destination: String,
    pub(crate) holder: Holder,
    pub(crate) ttl: Duration,
}

/// A grant's token, known to nobody else, and until when it is good.
#[derive(Debug)]
pub(crate) struct Granted {
    pub(crate) token: Text,
    pub(crate) expire_time: Micros,
}

impl Vault {
    /// Makes a one-use grant.
    pub(crate) async fn create_grant(
        &self,
        caller: &Caller,
        request: NewGrant,
    ) -> Result<Granted, Error> {
        if let Err(refused) = self.inner.pace.take(self.inner.clock.instant()) {
            let Refused { retry_after, first } = refused;
            let outcome = Err(Error::RateExceeded { retry_after });
            if first {
                let now = self.inner.now();
                let event = event(caller, Method::CreateGrant, &request.scope, now);
                let event = event.connector(request.connector);
                self.inner.note_refused(&outcome, event).await;
            }
            return outcome;
        }
        match self
            .writer
            .run(Command::Grant(caller.clone(), request))
            .await?
        {
            Reply::Granted(granted) => Ok(granted),
            Reply::Released(_) | Reply::Renewed(_) | Reply::Ended => Err(Error::Sealing),
        }
    }
}

impl Inner {
    pub(super) async fn grant(
        &self,
        connection: &impl Connection,
        known: &Known,
        caller: &Caller,
        request: &NewGrant,
    ) -> Result<Done, Error> {
        let NewGrant {
            scope,
            connector,
            secrets,
            destination,
            holder: _,
            ttl: _,
        } = request;
        let now = self.now();
        let event = event(caller, Method::CreateGrant, scope, now).connector(*connector);
        let checked = match self
            .find_checked(connection, known, (scope, *connector), secrets)
            .await
        {
            Ok(checked) => checked,
            Err(error) => return Done::refused(error, event),
        };
        if checked
            .iter()
            .any(|c| !c.destination.destinations.contains(destination))
        {
            return Ok(Done {
                reply: Err(Error::NeedsRebind),
                events: vec![event.denied(Reason::DestinationNotRecorded)],
            });
        }
        let bytes: u32 = checked
            .iter()
            .map(|checked| checked.version.length_bucket)
            .sum();
        if bytes > MOST_BYTES {
            return Err(
                Invalid::new("secret_versions", "together more than one answer holds").into(),
            );
        }
        let token = new_token("pbg_")?;
        let record = self.grant_record(request, &token, now);
        grants::insert(connection, &record).await?;
        let granted = Granted {
            token,
            expire_time: record.expire_time,
        };
        let events = vec![event.grant(record.id)];
        Ok(Done {
            reply: Ok(Reply::Granted(granted)),
            events,
        })
    }

    fn grant_record(&self, request: &NewGrant, token: &Text, now: Micros) -> GrantRecord {
        let NewGrant {
            scope,
            connector,
            secrets,
            destination,
            holder,
            ttl,
        } = request;
        let digests = self.keyring.macs().grant_token(token.expose());
        let mut record = GrantRecord {
            id: self.new_id(),
            token_mac: digests.newest().to_vec(),
            scope: scope.clone(),
            connector: *connector,
            destination: destination.clone(),
            holder: holder.clone(),
            secrets: secrets.clone(),
            create_time: now,
            expire_time: now.after(*ttl),
            mac: Vec::new(),
        };
        record.mac = self.keyring.macs().grant(&record);
        record
    }
}
