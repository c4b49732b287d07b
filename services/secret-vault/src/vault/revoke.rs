//! RevokeLeases: a connector was disabled, deleted or changed; nothing made for it before is good any more.

use names::ScopeName;
use uuid::Uuid;

use super::audit::event;
use super::error::Attempts;
use super::{Caller, Error, Inner, Vault};
use crate::domain::{LeaseState, Method};
use crate::store::{grants, leases};

impl Vault {
    /// Ends every lease and unspent grant of a connector; says how many there were.
    pub(crate) async fn revoke_leases(
        &self,
        caller: &Caller,
        scope: &ScopeName,
        connector: Uuid,
    ) -> Result<u64, Error> {
        let mut attempts = Attempts::default();
        loop {
            let outcome = self.inner.try_revoke(caller, scope, connector).await;
            if !attempts.again(&outcome) {
                return outcome;
            }
        }
    }
}

impl Inner {
    async fn try_revoke(
        &self,
        caller: &Caller,
        scope: &ScopeName,
        connector: Uuid,
    ) -> Result<u64, Error> {
        let transaction = self.database.begin_write().await?;
        let now = self.now();
        let mut count = grants::revoke(&*transaction, scope, connector, now).await?;
        for lease in leases::lock_active(&*transaction, scope, connector, now).await? {
            self.end_lease(&*transaction, lease, LeaseState::Revoked)
                .await?;
            count += 1;
        }
        let event = event(caller, Method::RevokeLeases, scope, now).connector(connector);
        self.write_audit(&*transaction, vec![event]).await?;
        transaction.commit().await?;
        Ok(count)
    }
}
