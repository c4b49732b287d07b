//! Storing, patching, listing and destroying: what is told about a secret, and what stays of it.

use contracts::vault::v1 as pb;
use database::testing::TestDatabase;
use tonic::Code;
use uuid::Uuid;

use super::harness::{
    DESTINATION, SCOPE, Vault, add, connector, id_of, patch, refused, secret_of, version,
};

database::test_on_both! {
    async fn what_was_stored_is_released_to_the_runtime(database: TestDatabase) {
        let vault = Vault::start(database).await;
        let connector = connector();
        let header = vault.add(SCOPE, connector, "authorization", "Bearer s3cr3t-ü").await;
        let blob = patch(connector, &[("TOKEN", "a\"b\\c\n"), ("API_KEY", "k")], &[]);
        let blob = vault.registry().patch_secret_blob(blob).await.unwrap().into_inner();
        let blob = version(blob.secret);
        let token = vault.grant(SCOPE, connector, &[&header, &blob]).await;
        let released = vault.runtime().redeem_grant(super::harness::redeem(&token)).await.unwrap();
        let released = released.into_inner();
        let [one, two] = released.secrets.as_slice() else { panic!("two secrets") };
        assert_eq!((one.secret_version.as_str(), one.field_name.as_str()), (header.as_str(), "authorization"));
        assert_eq!((one.field_kind(), one.value.as_slice()), (pb::FieldKind::Header, "Bearer s3cr3t-ü".as_bytes()));
        assert_eq!((two.secret_version.as_str(), two.field_name.as_str()), (blob.as_str(), ""));
        assert_eq!(two.field_kind(), pb::FieldKind::EnvironmentBlob);
        assert_eq!(two.value, br#"{"API_KEY":"k","TOKEN":"a\"b\\c\n"}"#);
        assert!(!format!("{released:?}").contains("s3cr3t"), "the message does not print its values");
    }

    async fn a_restarted_vault_reads_what_it_stored(database: TestDatabase) {
        let mut vault = Vault::start(database).await;
        let connector = connector();
        let stored = vault.add(SCOPE, connector, "authorization", "kept").await;
        vault.restart().await;
        assert_eq!(vault.release(SCOPE, connector, &stored).await.unwrap(), "kept");
        let again = vault.add(SCOPE, connector, "authorization", "kept too").await;
        assert_eq!(vault.release(SCOPE, connector, &again).await.unwrap(), "kept too");
    }

    async fn a_secret_is_described_without_its_value(database: TestDatabase) {
        let vault = Vault::start(database).await;
        let (one, two) = (connector(), connector());
        let name = vault.add(SCOPE, one, "authorization", "the same value").await;
        vault.add(SCOPE, two, "x-api-key", "the same value").await;
        vault.add("users/eve", one, "authorization", "the same value").await;
        let get = pb::GetSecretRequest { name: secret_of(&name) };
        let got = vault.registry().get_secret(get.clone()).await.unwrap().into_inner().secret.unwrap();
        assert_eq!(got.connector_uid, one.to_string());
        assert_eq!((got.field_kind(), got.field_name.as_str()), (pb::FieldKind::Header, "authorization"));
        let current = got.current_version.clone().unwrap();
        assert_eq!((current.name.as_str(), current.state()), (name.as_str(), pb::SecretVersionState::Active));
        assert_eq!((current.length_bucket, current.destinations), (16, vec![DESTINATION.to_owned()]));
        assert_eq!(current.fingerprint.len(), 16);
        let operator = vault.client("operator").get_secret(get).await.unwrap().into_inner();
        assert_eq!(operator.secret, Some(got));
        let fingerprints = |secrets: Vec<pb::Secret>| -> Vec<String> {
            secrets.into_iter().map(|s| s.current_version.unwrap().fingerprint).collect()
        };
        let mut list = vault.registry();
        let mut of = async |scope: &str| {
            let request = pb::ListSecretsRequest { parent: scope.into(), ..Default::default() };
            fingerprints(list.list_secrets(request).await.unwrap().into_inner().secrets)
        };
        let ours = of(SCOPE).await;
        assert_eq!(ours.len(), 2);
        assert_eq!(ours[0], ours[1], "equal values of one scope are recognised");
        assert_ne!(of("users/eve").await[0], ours[0], "across scopes they say nothing");
    }

    async fn lists_are_paged_and_filtered(database: TestDatabase) {
        let vault = Vault::start(database).await;
        let (one, two) = (connector(), connector());
        for number in 0..5 {
            vault.add(SCOPE, one, &format!("x-{number}"), "v").await;
        }
        vault.add(SCOPE, two, "x-0", "v").await;
        let mut registry = vault.registry();
        let mut request = pb::ListSecretsRequest {
            parent: SCOPE.into(),
            page_size: 2,
            connector_uid: one.to_string(),
            ..Default::default()
        };
        let mut names = Vec::new();
        loop {
            let page = registry.list_secrets(request.clone()).await.unwrap().into_inner();
            assert!(page.secrets.len() <= 2);
            names.extend(page.secrets.into_iter().map(|secret| secret.field_name));
            if page.next_page_token.is_empty() {
                break;
            }
            request.page_token = page.next_page_token;
        }
        names.sort();
        assert_eq!(names, ["x-0", "x-1", "x-2", "x-3", "x-4"], "each of them once");
        request.page_token = "forged".into();
        refused(registry.list_secrets(request).await, Code::InvalidArgument, "PAGE_TOKEN_INVALID");
    }

    async fn a_repeated_request_answers_as_the_first_did(database: TestDatabase) {
        let vault = Vault::start(database).await;
        let connector = connector();
        let request = add(SCOPE, connector, "authorization", "first");
        let mut registry = vault.registry();
        let first = registry.add_secret_version(request.clone()).await.unwrap().into_inner();
        vault.add(SCOPE, connector, "authorization", "second").await;
        let again = registry.add_secret_version(request.clone()).await.unwrap().into_inner();
        assert_eq!(version(again.secret), version(first.secret));
        assert_eq!(vault.count("secret_versions").await, 2, "nothing was written again");
        let other = pb::AddSecretVersionRequest { value: b"other".to_vec(), ..request.clone() };
        refused(registry.add_secret_version(other).await, Code::AlreadyExists, "REQUEST_ID_REUSED");
        vault.clock.advance(std::time::Duration::from_secs(24 * 3600 + 1));
        let forgotten = registry.add_secret_version(request).await.unwrap().into_inner();
        assert!(version(forgotten.secret).ends_with("/versions/3"));
    }

    async fn concurrent_repeats_of_one_request_write_once(database: TestDatabase) {
        let vault = Vault::start(database).await;
        let request = add(SCOPE, connector(), "authorization", "value");
        let calls = (0..16).map(|_| {
            let (mut registry, request) = (vault.registry(), request.clone());
            async move { version(registry.add_secret_version(request).await.unwrap().into_inner().secret) }
        });
        let names = futures_util::future::join_all(calls).await;
        assert!(names.iter().all(|name| *name == names[0]));
        assert_eq!(vault.count("secret_versions").await, 1);
        assert_eq!(vault.count("data_keys").await, 1);
    }

    async fn concurrent_writers_of_one_secret_get_versions_of_their_own(database: TestDatabase) {
        let vault = Vault::start(database).await;
        let connector = connector();
        let calls = (0..16).map(|number| {
            let mut registry = vault.registry();
            let request = add(SCOPE, connector, "authorization", &format!("value {number}"));
            async move {
                let outcome = registry.add_secret_version(request).await;
                outcome.map(|response| version(response.into_inner().secret))
            }
        });
        let outcomes = futures_util::future::join_all(calls).await;
        // Losing five times in a row is answered with ABORTED, which says to try again; never with two
        // values under one number.
        let mut names: Vec<String> = Vec::new();
        for outcome in outcomes {
            match outcome {
                Ok(name) => names.push(name),
                Err(status) => drop(refused::<()>(Err(status), Code::Aborted, "CONCURRENT_WRITE")),
            }
        }
        let all = names.len();
        names.sort();
        names.dedup();
        assert_eq!((names.len(), vault.count("secret_versions").await), (all, all));
        assert_eq!((vault.count("secrets").await, vault.count("data_keys").await), (1, 1));
    }

    async fn a_blob_is_changed_inside_the_vault(database: TestDatabase) {
        let vault = Vault::start(database).await;
        let connector = connector();
        let mut registry = vault.registry();
        let mut change = async |set: &[(&str, &str)], unset: &[&str]| {
            let request = patch(connector, set, unset);
            registry.patch_secret_blob(request).await.unwrap().into_inner().secret
        };
        let first = version(change(&[("A", "1"), ("B", "2")], &[]).await);
        let second = version(change(&[("C", "3"), ("B", "")], &["A", "UNKNOWN"]).await);
        assert_eq!(secret_of(&first), secret_of(&second));
        assert_eq!(vault.release(SCOPE, connector, &second).await.unwrap(), r#"{"B":"","C":"3"}"#);
        assert_eq!(change(&[], &["B", "C"]).await, None, "nothing left");
        let get = pb::GetSecretRequest { name: secret_of(&first) };
        refused(vault.registry().get_secret(get).await, Code::NotFound, "SECRET_NOT_FOUND");
        assert_eq!(change(&[], &["B"]).await, None, "still nothing");
        let anew = version(change(&[("A", "1")], &[]).await);
        assert_ne!(secret_of(&anew), secret_of(&first), "another life, another secret");
    }

    async fn a_repeated_patch_answers_as_the_first_did(database: TestDatabase) {
        let vault = Vault::start(database).await;
        let connector = connector();
        let mut registry = vault.registry();
        let request = patch(connector, &[("A", "1")], &[]);
        let first = registry.patch_secret_blob(request.clone()).await.unwrap().into_inner();
        let again = registry.patch_secret_blob(request.clone()).await.unwrap().into_inner();
        assert_eq!(first, again);
        let mut other = request;
        other.unset.push("B".into());
        refused(registry.patch_secret_blob(other).await, Code::AlreadyExists, "REQUEST_ID_REUSED");
        let remove = patch(connector, &[], &["A"]);
        for _ in 0..2 {
            let response = registry.patch_secret_blob(remove.clone()).await.unwrap().into_inner();
            assert_eq!(response.secret, None);
        }
    }

    async fn a_deleted_secret_leaves_a_tombstone_and_no_ciphertext(database: TestDatabase) {
        let vault = Vault::start(database).await;
        let connector = connector();
        let first = vault.add(SCOPE, connector, "authorization", "one").await;
        let second = vault.add(SCOPE, connector, "authorization", "two").await;
        let mut registry = vault.registry();
        let mut delete = async |allow_missing| {
            let name = secret_of(&first);
            registry.delete_secret(pb::DeleteSecretRequest { name, allow_missing }).await
        };
        delete(false).await.unwrap();
        assert!(vault.column("SELECT 'x' FROM secret_versions WHERE envelope IS NOT NULL").await.is_empty());
        for name in [&first, &second] {
            refused(vault.release(SCOPE, connector, name).await, Code::NotFound, "SECRET_NOT_FOUND");
        }
        refused(delete(false).await, Code::NotFound, "SECRET_NOT_FOUND");
        delete(true).await.unwrap();
        let anew = vault.add(SCOPE, connector, "authorization", "three").await;
        assert_ne!(secret_of(&anew), secret_of(&first));
        assert_eq!(vault.release(SCOPE, connector, &anew).await.unwrap(), "three");
    }

    async fn a_grant_on_a_version_that_goes_away_gives_nothing(database: TestDatabase) {
        let vault = Vault::start(database).await;
        let connector = connector();
        let name = vault.add(SCOPE, connector, "authorization", "one").await;
        let token = vault.grant(SCOPE, connector, &[&name]).await;
        let delete = pb::DeleteSecretRequest { name: secret_of(&name), allow_missing: false };
        vault.registry().delete_secret(delete).await.unwrap();
        let outcome = vault.runtime().redeem_grant(super::harness::redeem(&token)).await;
        refused(outcome, Code::NotFound, "SECRET_NOT_FOUND");
    }

    async fn foreign_and_missing_secrets_look_equal(database: TestDatabase) {
        let vault = Vault::start(database).await;
        let connector = connector();
        let ada = vault.add(SCOPE, connector, "authorization", "one").await;
        let id = secret_of(&ada).rsplit('/').next().unwrap().to_owned();
        let mut registry = vault.registry();
        let foreign = format!("users/eve/secrets/{id}");
        let missing = format!("users/eve/secrets/{}", Uuid::now_v7());
        let mut seen = Vec::new();
        for name in [foreign, missing] {
            let get = registry.get_secret(pb::GetSecretRequest { name: name.clone() }).await;
            let delete = pb::DeleteSecretRequest { name: name.clone(), allow_missing: false };
            let delete = registry.delete_secret(delete).await;
            let grant = super::harness::grant("users/eve", connector, &[&format!("{name}/versions/1")]);
            let grant = registry.create_grant(grant).await;
            seen.push([
                refused(get, Code::NotFound, "SECRET_NOT_FOUND").message().replace(&name, "NAME"),
                refused(delete, Code::NotFound, "SECRET_NOT_FOUND").message().replace(&name, "NAME"),
                refused(grant, Code::NotFound, "SECRET_NOT_FOUND").message().to_owned(),
            ]);
        }
        assert_eq!(seen[0], seen[1]);
        assert_eq!(vault.sql("UPDATE secrets SET kind = kind WHERE id = ?", [id_of(&ada)]).await, 1);
    }
}
