//! Resolving a name and checking what it resolves to, in one step.
//!
//! Invariant: either every address of the name is allowed, or the name is refused; a name that mixes public and
//! private addresses is how a rebinding attack looks.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use policy::{Policy, ScopeKind};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::error::ResolveError;

#[derive(Debug, Clone)]
pub(crate) struct CheckedResolver {
    pub(crate) policy: Arc<Policy>,
    pub(crate) scope: ScopeKind,
    pub(crate) timeout: Duration,
}

impl CheckedResolver {
    async fn lookup(self, name: String) -> Result<Vec<SocketAddr>, ResolveError> {
        // Port 0 is replaced by the URL's own port when the address is dialled.
        let found =
            tokio::time::timeout(self.timeout, tokio::net::lookup_host((name.as_str(), 0))).await;
        let addresses: Vec<SocketAddr> = match found {
            Ok(Ok(addresses)) => addresses.collect(),
            Ok(Err(_)) => return Err(ResolveError::Failed),
            Err(_) => return Err(ResolveError::TimedOut),
        };
        if addresses.is_empty() {
            return Err(ResolveError::Failed);
        }
        check(&self.policy, self.scope, &addresses)?;
        Ok(addresses)
    }
}

fn check(policy: &Policy, scope: ScopeKind, addresses: &[SocketAddr]) -> Result<(), ResolveError> {
    for address in addresses {
        policy
            .check_address(scope, address.ip())
            .map_err(ResolveError::Denied)?;
    }
    Ok(())
}

impl Resolve for CheckedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (resolver, name) = (self.clone(), name.as_str().to_owned());
        Box::pin(async move {
            let addresses = resolver.lookup(name).await?;
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use policy::{AddressClass, Refusal};

    use super::*;

    #[test]
    fn one_forbidden_address_among_many_refuses_the_name() {
        let policy = Policy::default();
        let public: SocketAddr = "1.1.1.1:0".parse().expect("an address");
        let private: SocketAddr = "[::ffff:10.0.0.1]:0".parse().expect("an address");
        assert!(check(&policy, ScopeKind::User, &[public]).is_ok());
        assert!(matches!(
            check(&policy, ScopeKind::User, &[public, private]),
            Err(ResolveError::Denied(Refusal::Address(
                AddressClass::Private
            )))
        ));
    }

    #[tokio::test]
    async fn a_name_of_this_machine_is_refused_although_it_is_no_literal() {
        let resolver = |policy| CheckedResolver {
            policy: Arc::new(policy),
            scope: ScopeKind::User,
            timeout: Duration::from_secs(5),
        };
        let denied = resolver(Policy::default()).lookup("localhost".into()).await;
        assert!(matches!(
            denied,
            Err(ResolveError::Denied(Refusal::Address(
                AddressClass::Loopback
            )))
        ));
        assert!(
            resolver(Policy::local())
                .lookup("localhost".into())
                .await
                .is_ok()
        );
    }
}
