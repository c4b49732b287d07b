//! Leases: as long as a session holds plaintext it holds a lease. A token alone is no authority: it has to
//! come from the principal that redeemed.
//!
//! A lease has one audit row for its beginning (that of the redemption) and one for being given back. A
//! renewal has none: it tells nothing new, and long sessions would bury what does. A renewal that is
//! refused has one.

use names::ScopeName;
use sensitive::Text;

use super::audit::event;
use super::writer::{Command, Done, Reply};
use super::{Caller, Error, Inner, Vault};
use crate::domain::{LeaseRecord, LeaseState, Method, Micros, Reason};
use crate::store::Connection;
use crate::store::leases;

impl Vault {
    /// Prolongs a lease; says until when.
    pub(crate) async fn renew_lease(&self, caller: &Caller, token: Text) -> Result<Micros, Error> {
        match self
            .writer
            .run(Command::Renew(caller.clone(), token))
            .await?
        {
            Reply::Renewed(until) => Ok(until),
            Reply::Granted(_) | Reply::Released(_) | Reply::Ended => Err(Error::Sealing),
        }
    }

    /// Gives a lease back. Giving back what has ended already is no error.
    pub(crate) async fn release_lease(&self, caller: &Caller, token: Text) -> Result<(), Error> {
        match self
            .writer
            .run(Command::Release(caller.clone(), token))
            .await?
        {
            Reply::Ended => Ok(()),
            Reply::Granted(_) | Reply::Released(_) | Reply::Renewed(_) => Err(Error::Sealing),
        }
    }
}

impl Inner {
    pub(super) async fn renew(
        &self,
        connection: &impl Connection,
        caller: &Caller,
        token: &Text,
    ) -> Result<Done, Error> {
        let now = self.now();
        let mut lease = match self.own_lease(connection, caller, token).await? {
            Ok(lease) => lease,
            Err(reason) => return Ok(denied(caller, Method::RenewLease, reason, now)),
        };
        let event = event(caller, Method::RenewLease, &lease.scope, now)
            .connector(lease.connector)
            .grant(lease.grant)
            .lease(lease.id);
        if lease.state != LeaseState::Active || lease.expire_time <= now {
            let events = vec![event.denied(Reason::LeaseNotUsable)];
            return Ok(Done {
                reply: Err(Error::LeaseNotFound),
                events,
            });
        }
        lease.expire_time = now.after(self.limits.lease_ttl);
        lease.mac = self.keyring.macs().lease(&lease);
        leases::update(connection, &lease).await?;
        Ok(Done {
            reply: Ok(Reply::Renewed(lease.expire_time)),
            events: Vec::new(),
        })
    }

    pub(super) async fn release_own(
        &self,
        connection: &impl Connection,
        caller: &Caller,
        token: &Text,
    ) -> Result<Done, Error> {
        let now = self.now();
        let lease = match self.own_lease(connection, caller, token).await? {
            Ok(lease) => lease,
            Err(reason) => return Ok(denied(caller, Method::ReleaseLease, reason, now)),
        };
        let event = event(caller, Method::ReleaseLease, &lease.scope, now)
            .connector(lease.connector)
            .grant(lease.grant)
            .lease(lease.id);
        if lease.state == LeaseState::Active {
            self.end_lease(connection, lease, LeaseState::Released)
                .await?;
        }
        Ok(Done {
            reply: Ok(Reply::Ended),
            events: vec![event],
        })
    }

    /// Writes that a locked lease has ended.
    pub(super) async fn end_lease(
        &self,
        connection: &impl Connection,
        mut lease: LeaseRecord,
        state: LeaseState,
    ) -> Result<(), Error> {
        lease.state = state;
        lease.mac = self.keyring.macs().lease(&lease);
        Ok(leases::update(connection, &lease).await?)
    }

    /// The lease with this token, locked, if it is genuine and the caller's.
    async fn own_lease(
        &self,
        connection: &impl Connection,
        caller: &Caller,
        token: &Text,
    ) -> Result<Result<LeaseRecord, Reason>, Error> {
        let token_macs = self.keyring.macs().lease_token(token.expose());
        let lease = leases::lock(connection, token_macs.every()).await?;
        let Some(lease) = lease.filter(|lease| lease.holder.subject == caller.subject) else {
            return Ok(Err(Reason::LeaseNotUsable));
        };
        if !self.keyring.macs().is_lease(&lease) {
            return Ok(Err(Reason::LeaseAltered));
        }
        Ok(Ok(lease))
    }
}

/// One answer for every fault of a lease. The row of a lease that cannot be trusted names no scope.
fn denied(caller: &Caller, method: Method, reason: Reason, now: Micros) -> Done {
    let event = event(caller, method, &ScopeName::System, now).denied(reason);
    Done {
        reply: Err(Error::LeaseNotFound),
        events: vec![event],
    }
}
