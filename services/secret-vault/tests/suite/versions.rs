//! Versions of secrets: how long they live, how they go, and where their values may follow.

use contracts::vault::v1 as pb;
use database::testing::TestDatabase;
use tonic::Code;
use uuid::Uuid;

use super::harness::{SCOPE, Vault, connector, grant, patch, redeem, refused, secret_of, version};

const ELSEWHERE: &str = "https://other.example.com:443";

fn elsewhere(connector: Uuid, set: &[(&str, &str)], unset: &[&str]) -> pb::PatchSecretBlobRequest {
    pb::PatchSecretBlobRequest {
        destinations: vec![ELSEWHERE.into()],
        ..patch(connector, set, unset)
    }
}

async fn destroy(vault: &Vault, name: &str) {
    let request = pb::DestroySecretVersionRequest { name: name.into() };
    vault
        .registry()
        .destroy_secret_version(request)
        .await
        .unwrap();
}

/// The numbers of the versions that still have a value.
async fn readable(vault: &Vault) -> Vec<i64> {
    let sql = "SELECT CAST(version AS TEXT) FROM secret_versions WHERE envelope IS NOT NULL";
    let numbers = vault.column(sql).await;
    let mut numbers: Vec<i64> = numbers.iter().map(|text| text.parse().unwrap()).collect();
    numbers.sort_unstable();
    numbers
}

database::test_on_both! {
    async fn a_write_destroys_no_version_that_may_be_in_use(database: TestDatabase) {
        let vault = Vault::start(database).await;
        let connector = connector();
        let mut names = Vec::new();
        for value in ["one", "two", "three", "four"] {
            names.push((vault.add(SCOPE, connector, "authorization", value).await, value));
        }
        for (name, value) in &names {
            assert_eq!(vault.release(SCOPE, connector, name).await.unwrap(), *value);
        }
        let states = vault.column("SELECT state FROM secret_versions ORDER BY version").await;
        assert_eq!(states, ["superseded", "superseded", "superseded", "active"]);
        destroy(&vault, &names[1].0).await;
        assert_eq!(readable(&vault).await, [1, 3, 4]);
        let bare = "SELECT 'x' FROM secret_versions WHERE envelope IS NULL AND data_key IS NULL AND destination IS NULL";
        assert_eq!(vault.column(bare).await.len(), 1);
    }

    async fn sixteen_versions_are_kept_undestroyed(database: TestDatabase) {
        let vault = Vault::start(database).await;
        let connector = connector();
        let mut names = Vec::new();
        for number in 1..=16 {
            names.push(vault.add(SCOPE, connector, "authorization", &format!("{number}")).await);
        }
        assert_eq!(readable(&vault).await, (1..=16).collect::<Vec<_>>());
        vault.add(SCOPE, connector, "authorization", "17").await;
        assert_eq!(readable(&vault).await, (2..=17).collect::<Vec<_>>(), "the oldest had to go");
        destroy(&vault, &names[8]).await;
        vault.add(SCOPE, connector, "authorization", "18").await;
        let kept = (2..=18).filter(|number| *number != 9).collect::<Vec<_>>();
        assert_eq!(readable(&vault).await, kept, "destroyed ones do not count");
        vault.add(SCOPE, connector, "x-api-key", "another secret has its own count").await;
        assert_eq!(readable(&vault).await.len(), 17);
    }

    async fn a_version_is_destroyed_alone(database: TestDatabase) {
        let vault = Vault::start(database).await;
        let connector = connector();
        let first = vault.add(SCOPE, connector, "authorization", "one").await;
        let second = vault.add(SCOPE, connector, "authorization", "two").await;
        let mut registry = vault.registry();
        for _ in 0..2 {
            let request = pb::DestroySecretVersionRequest { name: first.clone() };
            let destroyed = registry.destroy_secret_version(request).await.unwrap().into_inner();
            assert_eq!(destroyed.version.unwrap().state(), pb::SecretVersionState::Destroyed);
        }
        refused(vault.release(SCOPE, connector, &first).await, Code::NotFound, "SECRET_NOT_FOUND");
        assert_eq!(vault.release(SCOPE, connector, &second).await.unwrap(), "two");
        let none = pb::DestroySecretVersionRequest { name: format!("{}/versions/9", secret_of(&first)) };
        refused(registry.destroy_secret_version(none).await, Code::NotFound, "SECRET_NOT_FOUND");
    }

    async fn values_do_not_follow_to_another_destination(database: TestDatabase) {
        let vault = Vault::start(database).await;
        let connector = connector();
        let mut registry = vault.registry();
        let first = patch(connector, &[("A", "1"), ("B", "2")], &[]);
        let first = version(registry.patch_secret_blob(first).await.unwrap().into_inner().secret);
        let elsewhere = |set: &[(&str, &str)], unset: &[&str]| pb::PatchSecretBlobRequest {
            destinations: vec![ELSEWHERE.into()],
            ..patch(connector, set, unset)
        };
        let partial = registry.patch_secret_blob(elsewhere(&[("A", "new")], &[])).await;
        refused(partial, Code::FailedPrecondition, "SECRET_NEEDS_REBIND");
        assert_eq!(vault.refusals().await, ["DESTINATION_NOT_RECORDED"], "an attempt at theft is written down");
        let complete = registry.patch_secret_blob(elsewhere(&[("A", "new")], &["B"])).await;
        let second = version(complete.unwrap().into_inner().secret);
        let token = pb::CreateGrantRequest {
            destination: ELSEWHERE.into(),
            ..grant(SCOPE, connector, &[&second])
        };
        assert!(registry.create_grant(token.clone()).await.is_ok());
        let old = pb::CreateGrantRequest { secret_versions: vec![first], ..token };
        refused(registry.create_grant(old).await, Code::FailedPrecondition, "SECRET_NEEDS_REBIND");
    }

    async fn taking_away_moves_nothing(database: TestDatabase) {
        let vault = Vault::start(database).await;
        let connector = connector();
        let mut registry = vault.registry();
        let first = patch(connector, &[("A", "1"), ("B", "2")], &[]);
        registry.patch_secret_blob(first).await.unwrap();
        // The request names a destination that the blob never had: it was made for another URL and is late.
        let late = registry.patch_secret_blob(elsewhere(connector, &[], &["B"])).await.unwrap();
        let left = version(late.into_inner().secret);
        assert_eq!(vault.release(SCOPE, connector, &left).await.unwrap(), r#"{"A":"1"}"#);
        let other = pb::CreateGrantRequest { destination: ELSEWHERE.into(), ..grant(SCOPE, connector, &[&left]) };
        refused(registry.create_grant(other).await, Code::FailedPrecondition, "SECRET_NEEDS_REBIND");
        // Whoever only takes away needs not name any; whoever sets must.
        let nowhere = |set: &[(&str, &str)]| pb::PatchSecretBlobRequest {
            destinations: Vec::new(),
            ..patch(connector, set, &["C"])
        };
        let same = version(registry.patch_secret_blob(nowhere(&[])).await.unwrap().into_inner().secret);
        assert_eq!(vault.release(SCOPE, connector, &same).await.unwrap(), r#"{"A":"1"}"#);
        let unbound = registry.patch_secret_blob(nowhere(&[("A", "2")])).await;
        refused(unbound, Code::InvalidArgument, "FIELD_INVALID");
        let rest = registry.patch_secret_blob(elsewhere(connector, &[], &["A"])).await.unwrap();
        assert_eq!(rest.into_inner().secret, None);
    }

    async fn a_blob_whose_value_was_destroyed_is_written_anew(database: TestDatabase) {
        let vault = Vault::start(database).await;
        let connector = connector();
        let mut registry = vault.registry();
        let first = registry.patch_secret_blob(patch(connector, &[("A", "1")], &[])).await.unwrap();
        let first = version(first.into_inner().secret);
        destroy(&vault, &first).await;
        let listed = pb::ListSecretsRequest { parent: SCOPE.into(), ..Default::default() };
        let listed = registry.list_secrets(listed).await.unwrap().into_inner().secrets;
        let current = listed[0].current_version.as_ref().unwrap();
        assert_eq!((current.state(), current.destinations.len()), (pb::SecretVersionState::Destroyed, 0));
        // Nothing is left that could follow, so any destination will do.
        let second = registry.patch_secret_blob(elsewhere(connector, &[("B", "2")], &[])).await.unwrap();
        let second = version(second.into_inner().secret);
        assert_eq!(secret_of(&second), secret_of(&first));
        let token = pb::CreateGrantRequest { destination: ELSEWHERE.into(), ..grant(SCOPE, connector, &[&second]) };
        let token = registry.create_grant(token).await.unwrap().into_inner().grant_token;
        let there = pb::RedeemGrantRequest { destination: ELSEWHERE.into(), ..redeem(&token) };
        let released = vault.runtime().redeem_grant(there).await.unwrap().into_inner();
        assert_eq!(released.secrets[0].value, br#"{"B":"2"}"#);
        destroy(&vault, &second).await;
        let nothing = registry.patch_secret_blob(patch(connector, &[], &["A"])).await.unwrap();
        assert_eq!(nothing.into_inner().secret, None, "taking away from nothing leaves nothing");
    }

    async fn an_edited_head_is_found_before_its_version_is_called_destroyed(database: TestDatabase) {
        let vault = Vault::start(database).await;
        let connector = connector();
        let mut registry = vault.registry();
        registry.patch_secret_blob(patch(connector, &[("A", "1")], &[])).await.unwrap();
        vault.sql("UPDATE secret_versions SET state = 'destroyed'", []).await;
        vault.sql("UPDATE secrets SET destination = id", []).await;
        let outcome = registry.patch_secret_blob(patch(connector, &[("B", "2")], &[])).await;
        refused(outcome, Code::DataLoss, "SECRET_UNREADABLE");
        assert_eq!(vault.refusals().await, ["HEAD_ALTERED"]);
    }

    async fn a_reused_request_id_is_written_down(database: TestDatabase) {
        let vault = Vault::start(database).await;
        let connector = connector();
        let mut registry = vault.registry();
        let add = super::harness::add(SCOPE, connector, "authorization", "first");
        registry.add_secret_version(add.clone()).await.unwrap();
        let other = pb::AddSecretVersionRequest { value: b"other".to_vec(), ..add };
        refused(registry.add_secret_version(other).await, Code::AlreadyExists, "REQUEST_ID_REUSED");
        let set = patch(connector, &[("A", "1")], &[]);
        registry.patch_secret_blob(set.clone()).await.unwrap();
        let other = pb::PatchSecretBlobRequest { unset: vec!["B".into()], ..set };
        refused(registry.patch_secret_blob(other).await, Code::AlreadyExists, "REQUEST_ID_REUSED");
        let rows = "SELECT method || ' ' || decision || ' ' || reason FROM audit_events \
            WHERE decision <> 'allowed' AND connector IS NOT NULL AND request_id IS NOT NULL ORDER BY seq";
        assert_eq!(
            vault.column(rows).await,
            ["AddSecretVersion denied REQUEST_ID_REUSED", "PatchSecretBlob denied REQUEST_ID_REUSED"]
        );
    }
}
