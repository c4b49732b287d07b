//! Attacks 3 to 9: somebody who can write the database but holds no key. Whatever is edited, nothing is
//! released, the caller hears one reason, and the audit has the detail.

use database::testing::TestDatabase;
use sea_orm::Value;
use tonic::Code;
use uuid::Uuid;

use super::harness::{SCOPE, Vault, connector, id_of, redeem, refused};

const LOST: (Code, &str) = (Code::DataLoss, "SECRET_UNREADABLE");

/// Two users with one connector each, two headers each, and two versions of the first header.
struct Victims {
    ada: Uuid,
    eve: Uuid,
    ada_old: String,
    ada_new: String,
    ada_key: String,
    eve_new: String,
}

async fn victims(vault: &Vault) -> Victims {
    let (ada, eve) = (connector(), connector());
    let ada_old = vault.add(SCOPE, ada, "authorization", "ada old").await;
    let ada_new = vault.add(SCOPE, ada, "authorization", "ada new").await;
    let ada_key = vault.add(SCOPE, ada, "x-api-key", "ada key").await;
    let eve_new = vault
        .add("users/eve", eve, "authorization", "eve new")
        .await;
    Victims {
        ada,
        eve,
        ada_old,
        ada_new,
        ada_key,
        eve_new,
    }
}

/// Asserts that Ada's current header is not released, neither through a new grant nor through one that
/// was made before the edit, and what the audit says.
async fn lost(vault: &Vault, victims: &Victims, before: &str, reason: &str) {
    refused(
        vault.release(SCOPE, victims.ada, &victims.ada_new).await,
        LOST.0,
        LOST.1,
    );
    let outcome = vault.runtime().redeem_grant(redeem(before)).await;
    refused(outcome, LOST.0, LOST.1);
    let refusals = vault.refusals().await;
    assert!(
        refusals.iter().all(|found| found == reason),
        "{refusals:?}, not {reason}"
    );
    let audited = "SELECT 'x' FROM audit_events WHERE decision = 'failed' AND version = 2 AND secret IS NOT NULL";
    assert!(
        !vault.column(audited).await.is_empty(),
        "the audit names the version asked for"
    );
}

const SET_ENVELOPE: &str = "UPDATE secret_versions SET envelope = (SELECT v.envelope FROM secret_versions v \
    WHERE v.secret = ? AND v.version = ?) WHERE secret = ? AND version = 2";

database::test_on_both! {
    async fn attack_3_what_is_no_envelope_is_never_taken_for_a_value(database: TestDatabase) {
        let vault = Vault::start(database).await;
        let victims = victims(&vault).await;
        let plain = b"sk-live-plaintext-that-somebody-wrote-into-the-column".repeat(4);
        let version_2 = |first: u8, second: u8| {
            let mut bytes = vec![0_u8; 150];
            bytes[..2].copy_from_slice(&[first, second]);
            bytes
        };
        let blobs = [plain, version_2(0, 1), version_2(2, 1), version_2(255, 1), version_2(1, 0), version_2(1, 2)];
        for blob in blobs {
            let before = vault.grant(SCOPE, victims.ada, &[&victims.ada_new]).await;
            let edit = "UPDATE secret_versions SET envelope = ? WHERE secret = ? AND version = 2";
            assert_eq!(vault.sql(edit, [blob.into(), id_of(&victims.ada_new)]).await, 1);
            lost(&vault, &victims, &before, "UNSUPPORTED_FORMAT").await;
        }
    }

    async fn attack_3_an_empty_column_is_no_value(database: TestDatabase) {
        let vault = Vault::start(database).await;
        let victims = victims(&vault).await;
        for blob in [Value::Bytes(Some(Vec::new())), Value::Bytes(None)] {
            let before = vault.grant(SCOPE, victims.ada, &[&victims.ada_new]).await;
            let edit = "UPDATE secret_versions SET envelope = ? WHERE secret = ? AND version = 2";
            vault.sql(edit, [blob, id_of(&victims.ada_new)]).await;
            lost(&vault, &victims, &before, "ENVELOPE_ALTERED").await;
        }
    }

    async fn attack_4_an_envelope_of_another_field_or_version_does_not_open(database: TestDatabase) {
        let vault = Vault::start(database).await;
        let victims = victims(&vault).await;
        for (other, number) in [(&victims.ada_key, 1_i64), (&victims.ada_old, 1)] {
            let before = vault.grant(SCOPE, victims.ada, &[&victims.ada_new]).await;
            let values = [id_of(other), number.into(), id_of(&victims.ada_new)];
            assert_eq!(vault.sql(SET_ENVELOPE, values).await, 1);
            lost(&vault, &victims, &before, "ENVELOPE_ALTERED").await;
        }
    }

    async fn attack_4_an_envelope_of_another_user_does_not_open(database: TestDatabase) {
        let vault = Vault::start(database).await;
        let victims = victims(&vault).await;
        let before = vault.grant(SCOPE, victims.ada, &[&victims.ada_new]).await;
        let values = [id_of(&victims.eve_new), 1_i64.into(), id_of(&victims.ada_new)];
        assert_eq!(vault.sql(SET_ENVELOPE, values).await, 1);
        lost(&vault, &victims, &before, "KEY_MISMATCH").await;
        assert_eq!(vault.release("users/eve", victims.eve, &victims.eve_new).await.unwrap(), "eve new");
    }

    async fn attack_5_a_secret_moved_to_another_owner_is_not_released(database: TestDatabase) {
        let vault = Vault::start(database).await;
        let victims = victims(&vault).await;
        let set_scope = "UPDATE secrets SET scope = 'users/eve', connector = ? WHERE id = ?";
        vault.sql(set_scope, [victims.eve.into(), id_of(&victims.ada_key)]).await;
        refused(vault.release(SCOPE, victims.ada, &victims.ada_key).await, Code::NotFound, "SECRET_NOT_FOUND");
        let stolen = victims.ada_key.replace(SCOPE, "users/eve");
        refused(vault.release("users/eve", victims.eve, &stolen).await, LOST.0, LOST.1);
        let mut refusals = vault.refusals().await;
        refusals.sort();
        assert_eq!(refusals, ["HEAD_ALTERED", "SECRET_GONE"]);
    }

    async fn attack_5_every_column_that_decides_is_protected(database: TestDatabase) {
        let vault = Vault::start(database).await;
        let victims = victims(&vault).await;
        let edits: [(&str, &str, &str); 6] = [
            ("UPDATE secrets SET kind = 1 WHERE id = ?", "UPDATE secrets SET kind = 2 WHERE id = ?", "HEAD_ALTERED"),
            (
                "UPDATE secrets SET field_name = 'x-log' WHERE id = ?",
                "UPDATE secrets SET field_name = 'authorization' WHERE id = ?",
                "HEAD_ALTERED",
            ),
            ("UPDATE secrets SET kind = 77 WHERE id = ?", "UPDATE secrets SET kind = 2 WHERE id = ?", "ROW_IMPOSSIBLE"),
            (
                "UPDATE secret_versions SET state = 'hidden' WHERE version = 2 AND secret = ?",
                "UPDATE secret_versions SET state = 'active' WHERE version = 2 AND secret = ?",
                "ROW_IMPOSSIBLE",
            ),
            (
                "UPDATE secrets SET current_version = 1 WHERE id = ?",
                "UPDATE secrets SET current_version = 2 WHERE id = ?",
                "HEAD_ALTERED",
            ),
            (
                "UPDATE secret_versions SET data_key = NULL WHERE version = 2 AND secret = ?",
                "SELECT ?",
                "ENVELOPE_ALTERED",
            ),
        ];
        for (edit, undo, reason) in edits {
            vault.sql(edit, [id_of(&victims.ada_new)]).await;
            refused(vault.release(SCOPE, victims.ada, &victims.ada_new).await, LOST.0, LOST.1);
            assert_eq!(vault.refusals().await.last().map(String::as_str), Some(reason), "{edit}");
            vault.clock.advance(std::time::Duration::from_secs(1));
            vault.sql(undo, [id_of(&victims.ada_new)]).await;
        }
    }

    async fn attack_5_an_edited_destination_record_releases_nothing(database: TestDatabase) {
        let vault = Vault::start(database).await;
        let victims = victims(&vault).await;
        let edits = [
            r#"UPDATE destinations SET destinations = '["https://api.example.com:443","https://evil.example.com:443"]'"#,
            "UPDATE destinations SET destinations = '[\"https://api.example.com:443\"]', record_version = 2",
            "UPDATE destinations SET record_version = 1, create_time = 0",
        ];
        for edit in edits {
            let before = vault.sql(edit, []).await;
            assert_eq!(before, 2);
            refused(vault.release(SCOPE, victims.ada, &victims.ada_new).await, LOST.0, LOST.1);
            assert_eq!(vault.refusals().await.last().unwrap(), "DESTINATION_ALTERED", "{edit}");
        }
        let evil = contracts::vault::v1::CreateGrantRequest {
            destination: "https://evil.example.com:443".into(),
            ..super::harness::grant(SCOPE, victims.ada, &[&victims.ada_new])
        };
        vault.sql(edits[0], []).await;
        refused(vault.registry().create_grant(evil).await, LOST.0, LOST.1);
        let more = super::harness::add(SCOPE, victims.ada, "x-more", "value");
        refused(vault.registry().add_secret_version(more).await, LOST.0, LOST.1);
    }

    async fn attack_5_a_destination_of_another_connector_does_not_fit(database: TestDatabase) {
        let vault = Vault::start(database).await;
        let victims = victims(&vault).await;
        let before = vault.grant(SCOPE, victims.ada, &[&victims.ada_new]).await;
        let edit = "UPDATE secret_versions SET destination = (SELECT v.destination FROM secret_versions v \
            WHERE v.secret = ?) WHERE secret = ? AND version = 2";
        vault.sql(edit, [id_of(&victims.eve_new), id_of(&victims.ada_new)]).await;
        lost(&vault, &victims, &before, "HEAD_ALTERED").await;
    }

    async fn attack_6_a_key_of_another_scope_is_refused_before_any_decryption(database: TestDatabase) {
        let vault = Vault::start(database).await;
        let victims = victims(&vault).await;
        let before = vault.grant(SCOPE, victims.ada, &[&victims.ada_new]).await;
        let edit = "UPDATE secret_versions SET data_key = (SELECT k.key_id FROM data_keys k \
            WHERE k.scope = 'users/eve') WHERE secret = ? AND version = 2";
        assert_eq!(vault.sql(edit, [id_of(&victims.ada_new)]).await, 1);
        assert!(vault.release(SCOPE, victims.ada, &victims.ada_old).await.is_ok());
        refused(vault.runtime().redeem_grant(redeem(&before)).await, LOST.0, LOST.1);
        assert_eq!(vault.refusals().await, ["KEY_FOREIGN"]);
    }

    async fn attack_6_a_retired_key_opens_nothing(database: TestDatabase) {
        let vault = Vault::start(database).await;
        let victims = victims(&vault).await;
        vault.sql("UPDATE data_keys SET state = 'retired' WHERE scope = 'users/ada'", []).await;
        refused(vault.release(SCOPE, victims.ada, &victims.ada_new).await, LOST.0, LOST.1);
        assert_eq!(vault.refusals().await, ["KEY_RETIRED"]);
        let next = vault.add(SCOPE, victims.ada, "authorization", "under the next term").await;
        assert_eq!(vault.release(SCOPE, victims.ada, &next).await.unwrap(), "under the next term");
        let terms = vault.column("SELECT CAST(term AS TEXT) FROM data_keys WHERE scope = 'users/ada' ORDER BY term");
        assert_eq!(terms.await, ["1", "2"]);
    }

    async fn attack_6_an_unknown_key_is_not_searched_for(database: TestDatabase) {
        let vault = Vault::start(database).await;
        let victims = victims(&vault).await;
        // Both databases refuse a version without its key; the attacker switches that off first.
        let unbind = match vault.database.engine() {
            database::Engine::Sqlite => "PRAGMA foreign_keys = OFF",
            database::Engine::Postgres => "SET session_replication_role = replica",
        };
        let edit = "UPDATE secret_versions SET data_key = secret WHERE version = 2";
        vault.sql_in_turn(&[unbind, edit]).await;
        refused(vault.release(SCOPE, victims.ada, &victims.ada_new).await, LOST.0, LOST.1);
        assert_eq!(vault.refusals().await, ["KEY_UNKNOWN"]);
    }

    async fn attack_8_an_older_version_does_not_become_current(database: TestDatabase) {
        let vault = Vault::start(database).await;
        let victims = victims(&vault).await;
        let before = vault.grant(SCOPE, victims.ada, &[&victims.ada_new]).await;
        let edit = "UPDATE secrets SET current_version = 1 WHERE id = ?";
        assert_eq!(vault.sql(edit, [id_of(&victims.ada_new)]).await, 1);
        lost(&vault, &victims, &before, "HEAD_ALTERED").await;
        refused(vault.release(SCOPE, victims.ada, &victims.ada_old).await, LOST.0, LOST.1);
    }

    async fn attack_8_a_deleted_secret_does_not_come_back(database: TestDatabase) {
        let vault = Vault::start(database).await;
        let victims = victims(&vault).await;
        let name = super::harness::secret_of(&victims.ada_new);
        let delete = contracts::vault::v1::DeleteSecretRequest { name, allow_missing: false };
        vault.registry().delete_secret(delete).await.unwrap();
        vault.sql("UPDATE secrets SET state = 'active' WHERE id = ?", [id_of(&victims.ada_new)]).await;
        refused(vault.release(SCOPE, victims.ada, &victims.ada_new).await, LOST.0, LOST.1);
    }

    async fn attack_9_a_data_key_copied_to_another_scope_does_not_unwrap(database: TestDatabase) {
        let mut vault = Vault::start(database).await;
        let victims = victims(&vault).await;
        let edit = "UPDATE data_keys SET wrapped = (SELECT k.wrapped FROM data_keys k \
            WHERE k.scope = 'users/eve') WHERE scope = 'users/ada'";
        assert_eq!(vault.sql(edit, []).await, 1);
        // The genuine key may still be cached; a restart takes the row at its word.
        vault.restart().await;
        refused(vault.release(SCOPE, victims.ada, &victims.ada_new).await, LOST.0, LOST.1);
        assert_eq!(vault.refusals().await, ["KEY_UNREADABLE"]);
        assert_eq!(vault.release("users/eve", victims.eve, &victims.eve_new).await.unwrap(), "eve new");
        vault.sql("UPDATE data_keys SET term = 9 WHERE scope = 'users/eve'", []).await;
        vault.restart().await;
        refused(vault.release("users/eve", victims.eve, &victims.eve_new).await, LOST.0, LOST.1);
    }

    async fn an_edited_grant_releases_nothing(database: TestDatabase) {
        let vault = Vault::start(database).await;
        let victims = victims(&vault).await;
        let old = super::harness::secret_of(&victims.ada_key).rsplit('/').next().unwrap().to_owned();
        let edits = [
            format!("UPDATE grants SET secrets = '{old}/1' WHERE uses = 0"),
            "UPDATE grants SET destination = 'https://evil.example.com:443' WHERE uses = 0".to_owned(),
            "UPDATE grants SET expire_time = expire_time + 1 WHERE uses = 0".to_owned(),
            "UPDATE grants SET connector = id WHERE uses = 0".to_owned(),
            "UPDATE grants SET scope = 'users/eve' WHERE uses = 0".to_owned(),
            // What cannot even be read is spent and written down like what does not verify.
            "UPDATE grants SET scope = 'nobody' WHERE uses = 0".to_owned(),
            "UPDATE grants SET secrets = 'x' WHERE uses = 0".to_owned(),
            "UPDATE grants SET mac = token_mac WHERE uses = 0".to_owned(),
        ];
        for edit in &edits {
            let token = vault.grant(SCOPE, victims.ada, &[&victims.ada_new]).await;
            assert_eq!(vault.sql(edit, []).await, 1, "{edit}");
            let outcome = vault.runtime().redeem_grant(redeem(&token)).await;
            refused(outcome, Code::NotFound, "GRANT_NOT_FOUND");
            assert!(vault.column("SELECT 'x' FROM grants WHERE uses = 0").await.is_empty(), "{edit}: spent");
        }
        let holder = vault.grant(SCOPE, victims.ada, &[&victims.ada_new]).await;
        vault.sql("UPDATE grants SET subject = 'runtime-other' WHERE uses = 0", []).await;
        let outcome = vault.client(super::harness::OTHER_RUNTIME).redeem_grant(redeem(&holder)).await;
        refused(outcome, Code::NotFound, "GRANT_NOT_FOUND");
        assert_eq!(vault.refusals().await, ["GRANT_ALTERED"; 9]);
        assert_eq!(vault.count("leases").await, 0);
    }
}
