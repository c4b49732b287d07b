//! Requests that break a rule: one field is named, nothing is stored, nothing is repeated.

use contracts::vault::v1 as pb;
use database::testing::TestDatabase;
use rpc::error::ErrorView;
use tonic::{Code, Status};

use super::harness::{SCOPE, Vault, add, connector, grant, patch, redeem, refused};

#[track_caller]
fn names_field<T: std::fmt::Debug>(outcome: Result<T, Status>, field: &str) {
    let status = refused(outcome, Code::InvalidArgument, "FIELD_INVALID");
    let view = ErrorView::of(&status).unwrap();
    assert_eq!(view.fields[0].0, field, "{status:?}");
    assert!(!format!("{status:?}").contains("hunter2"), "{status:?}");
}

database::test_on_both! {
    async fn a_value_that_breaks_a_rule_is_not_stored(database: TestDatabase) {
        let vault = Vault::start(database).await;
        let good = add(SCOPE, connector(), "authorization", "hunter2");
        let mut registry = vault.registry();
        type Request = pb::AddSecretVersionRequest;
        let cases: Vec<(&str, Request)> = vec![
            ("parent", Request { parent: "users/-".into(), ..good.clone() }),
            ("parent", Request { parent: String::new(), ..good.clone() }),
            ("connector_uid", Request { connector_uid: "x".into(), ..good.clone() }),
            ("field_kind", Request { field_kind: 0, ..good.clone() }),
            ("field_kind", Request { field_kind: 99, ..good.clone() }),
            ("field_kind", Request { field_kind: 4, ..good.clone() }),
            ("field_name", Request { field_name: "Authorization".into(), ..good.clone() }),
            ("field_name", Request { field_name: "a\r\nb".into(), ..good.clone() }),
            ("value", Request { value: vec![], ..good.clone() }),
            ("value", Request { value: b"hunter2\r\nx: y".to_vec(), ..good.clone() }),
            ("value", Request { value: b"hunter2\0".to_vec(), ..good.clone() }),
            ("value", Request { value: vec![b'x'; 64 * 1024 + 1], ..good.clone() }),
            ("destinations", Request { destinations: vec![], ..good.clone() }),
            ("destinations[0]", Request { destinations: vec!["https://a.example".into()], ..good.clone() }),
            ("request_id", Request { request_id: "x".into(), ..good.clone() }),
        ];
        for (field, request) in cases {
            names_field(registry.add_secret_version(request).await, field);
        }
        assert_eq!(vault.count("secrets").await, 0);
        let largest = pb::AddSecretVersionRequest { value: vec![b'x'; 64 * 1024], ..good };
        registry.add_secret_version(largest).await.unwrap();
    }

    async fn a_patch_that_breaks_a_rule_is_not_stored(database: TestDatabase) {
        let vault = Vault::start(database).await;
        let mut registry = vault.registry();
        let cases = [
            ("set", patch(connector(), &[], &[])),
            ("set[0].name", patch(connector(), &[("A=B", "hunter2")], &[])),
            ("set[1].name", patch(connector(), &[("A", "1"), ("A", "hunter2")], &[])),
            ("set[0].value", patch(connector(), &[("A", "hunter2\0")], &[])),
            ("unset[0]", patch(connector(), &[("A", "hunter2")], &["A"])),
            ("set", patch(connector(), &[("A", &"x".repeat(64 * 1024))], &[])),
        ];
        for (field, request) in cases {
            names_field(registry.patch_secret_blob(request).await, field);
        }
        assert_eq!(vault.count("secrets").await, 0);
    }

    async fn a_grant_that_breaks_a_rule_is_not_made(database: TestDatabase) {
        let vault = Vault::start(database).await;
        let connector = connector();
        let name = vault.add(SCOPE, connector, "authorization", "value").await;
        let good = grant(SCOPE, connector, &[&name]);
        let holder = good.holder.clone().unwrap();
        type Request = pb::CreateGrantRequest;
        let ttl = |seconds| Some(prost_types::Duration { seconds, nanos: 0 });
        let cases: Vec<(&str, Request)> = vec![
            ("parent", Request { parent: "x".into(), ..good.clone() }),
            ("secret_versions", Request { secret_versions: vec![], ..good.clone() }),
            ("secret_versions", Request { secret_versions: vec![name.clone(), name.clone()], ..good.clone() }),
            ("secret_versions", Request { secret_versions: vec![name.replace("ada", "eve")], ..good.clone() }),
            ("secret_versions", Request { secret_versions: vec![name.clone(); 65], ..good.clone() }),
            ("destination", Request { destination: String::new(), ..good.clone() }),
            ("holder", Request { holder: None, ..good.clone() }),
            ("holder.subject", Request { holder: Some(pb::GrantHolder { subject: String::new(), ..holder.clone() }), ..good.clone() }),
            ("holder.lease_epoch", Request { holder: Some(pb::GrantHolder { lease_epoch: 0, ..holder }), ..good.clone() }),
            ("ttl", Request { ttl: ttl(61), ..good.clone() }),
            ("ttl", Request { ttl: ttl(0), ..good.clone() }),
            ("ttl", Request { ttl: ttl(-1), ..good.clone() }),
        ];
        for (field, request) in cases {
            names_field(vault.registry().create_grant(request).await, field);
        }
        assert_eq!(vault.count("grants").await, 0);
        names_field(vault.runtime().redeem_grant(redeem("")).await, "grant_token");
        names_field(vault.runtime().redeem_grant(redeem(&"x".repeat(257))).await, "grant_token");
    }

    async fn a_request_over_its_size_is_refused_and_the_vault_goes_on(database: TestDatabase) {
        let vault = Vault::start(database).await;
        let connector = connector();
        let huge = pb::AddSecretVersionRequest {
            value: vec![b'x'; 3 * 1024 * 1024],
            ..add(SCOPE, connector, "authorization", "")
        };
        let status = vault.registry().add_secret_version(huge).await.expect_err("too large");
        assert_eq!(status.code(), Code::OutOfRange, "{status:?}");
        vault.add(SCOPE, connector, "authorization", "value").await;
    }

    async fn names_of_secrets_are_checked(database: TestDatabase) {
        let vault = Vault::start(database).await;
        let mut registry = vault.registry();
        for name in ["", "users/ada", "users/ada/secrets/x", "users/ada/secrets/../x"] {
            names_field(registry.get_secret(pb::GetSecretRequest { name: name.into() }).await, "name");
        }
        let negative = pb::ListSecretsRequest { parent: SCOPE.into(), page_size: -1, ..Default::default() };
        names_field(registry.list_secrets(negative).await, "page_size");
    }
}
