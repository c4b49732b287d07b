//! Leases: held by the principal that redeemed, for as long as it renews and nobody revokes.

use std::time::Duration;

use contracts::vault::v1 as pb;
use database::testing::TestDatabase;
use tonic::Code;
use uuid::Uuid;

use super::harness::{Client, OTHER_RUNTIME, SCOPE, Vault, connector, redeem, refused};

const GONE: (Code, &str) = (Code::NotFound, "LEASE_NOT_FOUND");

async fn leased(vault: &Vault, scope: &str, connector: Uuid) -> String {
    let name = vault.add(scope, connector, "authorization", "value").await;
    let token = vault.grant(scope, connector, &[&name]).await;
    vault
        .runtime()
        .redeem_grant(redeem(&token))
        .await
        .unwrap()
        .into_inner()
        .lease_token
}

async fn renew(mut client: Client, lease: &str) -> Result<i64, tonic::Status> {
    let request = pb::RenewLeaseRequest {
        lease_token: lease.into(),
    };
    Ok(client
        .renew_lease(request)
        .await?
        .into_inner()
        .lease_expire_time
        .unwrap()
        .seconds)
}

async fn release(mut client: Client, lease: &str) -> Result<(), tonic::Status> {
    let request = pb::ReleaseLeaseRequest {
        lease_token: lease.into(),
    };
    client.release_lease(request).await.map(|_| ())
}

async fn revoke(vault: &Vault, scope: &str, connector: Uuid) -> u32 {
    let request = pb::RevokeLeasesRequest {
        parent: scope.into(),
        connector_uid: connector.to_string(),
    };
    vault
        .registry()
        .revoke_leases(request)
        .await
        .unwrap()
        .into_inner()
        .revoked_count
}

database::test_on_both! {
    async fn a_lease_lives_as_long_as_it_is_renewed(database: TestDatabase) {
        let vault = Vault::start_with(database, |c| c.lease_ttl = Duration::from_secs(600)).await;
        let lease = leased(&vault, SCOPE, connector()).await;
        let mut last = 0;
        for _ in 0..3 {
            vault.clock.advance(Duration::from_secs(599));
            let until = renew(vault.runtime(), &lease).await.unwrap();
            assert!(until >= last + 599);
            last = until;
        }
        let renewals = "SELECT decision FROM audit_events WHERE method = 'RenewLease'";
        assert!(vault.column(renewals).await.is_empty(), "the lease has its row, a renewal has none");
        vault.clock.advance(Duration::from_secs(600));
        refused(renew(vault.runtime(), &lease).await, GONE.0, GONE.1);
        assert_eq!(vault.column(renewals).await, ["denied"], "a refused one does");
    }

    async fn attack_12_a_lease_is_no_authority_for_others(database: TestDatabase) {
        let vault = Vault::start(database).await;
        let lease = leased(&vault, SCOPE, connector()).await;
        let other = || vault.client(OTHER_RUNTIME);
        let mut answers = Vec::new();
        for (client, token) in [
            (other(), lease.clone()),
            (vault.runtime(), "pbl_unknown".to_owned()),
            (vault.runtime(), lease.to_lowercase()),
        ] {
            let renewed = refused(renew(client.clone(), &token).await, GONE.0, GONE.1);
            let released = refused(release(client, &token).await, GONE.0, GONE.1);
            answers.extend([renewed.message().to_owned(), released.message().to_owned()]);
        }
        assert!(answers.iter().all(|answer| *answer == answers[0]));
        let registry = renew(vault.registry(), &lease).await;
        refused(registry, Code::PermissionDenied, "ROLE_NOT_ALLOWED");
        renew(vault.runtime(), &lease).await.unwrap();
    }

    async fn a_lease_given_back_is_gone(database: TestDatabase) {
        let vault = Vault::start(database).await;
        let lease = leased(&vault, SCOPE, connector()).await;
        release(vault.runtime(), &lease).await.unwrap();
        release(vault.runtime(), &lease).await.unwrap();
        refused(renew(vault.runtime(), &lease).await, GONE.0, GONE.1);
    }

    async fn revoking_ends_leases_and_grants_of_one_connector(database: TestDatabase) {
        let vault = Vault::start(database).await;
        let (ours, other) = (connector(), connector());
        let lease = leased(&vault, SCOPE, ours).await;
        let kept = leased(&vault, SCOPE, other).await;
        let name = vault.add(SCOPE, ours, "x-api-key", "value").await;
        let unspent = vault.grant(SCOPE, ours, &[&name]).await;
        assert_eq!(revoke(&vault, "users/eve", ours).await, 0, "another scope's connector is another");
        assert_eq!(revoke(&vault, SCOPE, ours).await, 2);
        assert_eq!(revoke(&vault, SCOPE, ours).await, 0);
        refused(renew(vault.runtime(), &lease).await, GONE.0, GONE.1);
        let outcome = vault.runtime().redeem_grant(redeem(&unspent)).await;
        refused(outcome, Code::NotFound, "GRANT_NOT_FOUND");
        renew(vault.runtime(), &kept).await.unwrap();
        assert!(vault.release(SCOPE, ours, &name).await.is_ok(), "new grants are good");
    }

    async fn an_edited_lease_is_refused(database: TestDatabase) {
        let vault = Vault::start(database).await;
        let connector = connector();
        let lease = leased(&vault, SCOPE, connector).await;
        revoke(&vault, SCOPE, connector).await;
        assert_eq!(vault.sql("UPDATE leases SET state = 'active'", []).await, 1);
        refused(renew(vault.runtime(), &lease).await, GONE.0, GONE.1);
        assert_eq!(vault.refusals().await, ["LEASE_ALTERED"]);
        let other = leased(&vault, SCOPE, connector).await;
        vault.sql("UPDATE leases SET subject = 'runtime-other'", []).await;
        refused(renew(vault.client(OTHER_RUNTIME), &other).await, GONE.0, GONE.1);
    }

    async fn leases_outlive_a_restart(database: TestDatabase) {
        let mut vault = Vault::start(database).await;
        let lease = leased(&vault, SCOPE, connector()).await;
        vault.restart().await;
        renew(vault.runtime(), &lease).await.unwrap();
    }
}
