//! RedeemGrant: the one way in which plaintext leaves the vault.
//!
//! The grant is spent by one statement; grant, heads, destination records and envelopes are checked; the
//! lease and one audit row for each released version are written. Only when all of that is committed does
//! the writer hand the values over. Every refusal that concerns the grant looks the same to the caller.

use names::{ScopeName, SecretVersionName};
use sensitive::{Bytes, Text};

use super::audit::event;
use super::checked::Checked;
use super::known::Known;
use super::writer::{Command, Done, Reply};
use super::{Caller, Error, Inner, Vault};
use crate::domain::{
    AuditEvent, Field, GrantRecord, Holder, LeaseRecord, LeaseState, Method, Micros, Reason,
    VersionRef,
};
use crate::keyring::new_token;
use crate::store::grants::Spent;
use crate::store::{Connection, grants, leases};

/// A checked request.
#[derive(Debug)]
pub(crate) struct Redemption {
    pub(crate) token: Text,
    pub(crate) destination: String,
    pub(crate) instance_id: String,
    pub(crate) lease_epoch: i64,
}

/// What a redemption gives.
#[derive(Debug)]
pub(crate) struct Released {
    pub(crate) secrets: Vec<ReleasedSecret>,
    pub(crate) lease: Text,
    pub(crate) lease_expire_time: Micros,
}

/// One plaintext.
#[derive(Debug)]
pub(crate) struct ReleasedSecret {
    pub(crate) name: SecretVersionName,
    pub(crate) field: Field,
    pub(crate) value: Bytes,
}

impl Vault {
    /// Spends a grant.
    pub(crate) async fn redeem(
        &self,
        caller: &Caller,
        request: Redemption,
    ) -> Result<Released, Error> {
        match self
            .writer
            .run(Command::Redeem(caller.clone(), request))
            .await?
        {
            Reply::Released(released) => Ok(released),
            Reply::Granted(_) | Reply::Renewed(_) | Reply::Ended => Err(Error::Sealing),
        }
    }
}

impl Inner {
    pub(super) async fn redeem(
        &self,
        connection: &impl Connection,
        known: &Known,
        caller: &Caller,
        request: &Redemption,
    ) -> Result<Done, Error> {
        let Redemption {
            token,
            destination,
            instance_id,
            lease_epoch,
        } = request;
        let now = self.now();
        let token_macs = self.keyring.macs().grant_token(token.expose());
        let holder = Holder {
            subject: caller.subject.clone(),
            instance_id: instance_id.clone(),
            lease_epoch: *lease_epoch,
        };
        let nowhere = || event(caller, Method::RedeemGrant, &ScopeName::System, now);
        let grant = match grants::consume(connection, token_macs.every(), &holder, now).await? {
            Some(Spent::Grant(grant)) => grant,
            // Spent as well, and the row names no scope that could be believed.
            Some(Spent::Impossible(id)) => {
                return Ok(denied(nowhere().grant(id), Reason::GrantAltered));
            }
            None => return Ok(denied(nowhere(), Reason::GrantNotUsable)),
        };
        let event = event(caller, Method::RedeemGrant, &grant.scope, now)
            .connector(grant.connector)
            .grant(grant.id);
        // The row may have been made to match: only its MAC says that the vault wrote it so.
        if !self.keyring.macs().is_grant(&grant) {
            return Ok(denied(event, Reason::GrantAltered));
        }
        if grant.destination != *destination {
            return Ok(denied(event, Reason::DestinationMismatch));
        }
        match self.open_all(connection, known, &grant).await {
            Ok(secrets) => self.release(connection, &grant, secrets, event, now).await,
            Err(error) => Done::refused(error, event),
        }
    }

    /// Opens everything the grant names, or nothing.
    async fn open_all(
        &self,
        connection: &impl Connection,
        known: &Known,
        grant: &GrantRecord,
    ) -> Result<Vec<ReleasedSecret>, Error> {
        let checked = self
            .find_checked(
                connection,
                known,
                (&grant.scope, grant.connector),
                &grant.secrets,
            )
            .await?;
        let mut secrets = Vec::with_capacity(checked.len());
        for checked in checked {
            if !checked
                .destination
                .destinations
                .contains(&grant.destination)
            {
                return Err(Error::NeedsRebind);
            }
            let value = self.open_checked(&checked)?;
            let Checked {
                secret, version, ..
            } = checked;
            let name = secret.name().version(version.version);
            secrets.push(ReleasedSecret {
                name,
                field: secret.field,
                value,
            });
        }
        Ok(secrets)
    }

    async fn release(
        &self,
        connection: &impl Connection,
        grant: &GrantRecord,
        secrets: Vec<ReleasedSecret>,
        event: AuditEvent,
        now: Micros,
    ) -> Result<Done, Error> {
        let token = new_token("pbl_")?;
        let lease_token = self.keyring.macs().lease_token(token.expose());
        let mut lease = LeaseRecord {
            id: self.new_id(),
            token_mac: lease_token.newest().to_vec(),
            grant: grant.id,
            scope: grant.scope.clone(),
            connector: grant.connector,
            holder: grant.holder.clone(),
            state: LeaseState::Active,
            create_time: now,
            expire_time: now.after(self.limits.lease_ttl),
            mac: Vec::new(),
        };
        lease.mac = self.keyring.macs().lease(&lease);
        leases::insert(connection, &lease).await?;
        let events = secrets.iter().map(|secret| {
            let at = VersionRef {
                secret: secret.name.secret().id(),
                version: secret.name.number(),
            };
            event.clone().at(at).lease(lease.id)
        });
        let events = events.collect();
        let released = Released {
            secrets,
            lease: token,
            lease_expire_time: lease.expire_time,
        };
        Ok(Done {
            reply: Ok(Reply::Released(released)),
            events,
        })
    }
}

/// One answer for every fault of a grant.
fn denied(event: AuditEvent, reason: Reason) -> Done {
    Done {
        reply: Err(Error::GrantNotFound),
        events: vec![event.denied(reason)],
    }
}
