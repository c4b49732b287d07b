//! CreateGrant: the registry's half of a release. It names who may read what, for where; it reads nothing.

use std::time::Duration;

use names::ScopeName;
use sensitive::Text;
use uuid::Uuid;

use super::audit::event;
use super::writer::{Command, Done, Reply};
use super::{Caller, Error, Inner, Vault};
use crate::domain::{GrantRecord, Holder, Invalid, Method, Micros, VersionRef};
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
        let now = self.inner.clock.instant();
        self.inner
            .pace
            .take(now)
            .map_err(|retry_after| Error::RateExceeded { retry_after })?;
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
            .find_checked(connection, scope, *connector, secrets)
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
                events: vec![event.rebind()],
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
        let mut record = GrantRecord {
            id: self.new_id(),
            token_mac: self.keyring.macs().grant_token(token.expose()),
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
