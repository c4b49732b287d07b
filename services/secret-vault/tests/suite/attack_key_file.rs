//! Attacks 9 and 16 on the key file and the root key: the vault refuses to start, makes no new key, and
//! leaves the database as it was.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use super::harness::{SCOPE, Vault, connector};
use database::testing::TestDatabase;

/// A vault that holds one secret and is stopped; with a picture of its keys.
async fn stopped(database: TestDatabase) -> (Vault, uuid::Uuid, String, Vec<String>) {
    let mut vault = Vault::start(database).await;
    let connector = connector();
    let name = vault.add(SCOPE, connector, "authorization", "value").await;
    vault.stop().await;
    let keys = picture(&vault).await;
    (vault, connector, name, keys)
}

async fn picture(vault: &Vault) -> Vec<String> {
    let mut rows = Vec::new();
    for sql in [
        "SELECT provider || state FROM root_keys ORDER BY id",
        "SELECT kind || state FROM system_keys ORDER BY kind",
        "SELECT scope || state FROM data_keys ORDER BY scope",
    ] {
        rows.extend(vault.column(sql).await);
    }
    rows
}

/// Asserts that the vault does not start, says why, and changed nothing.
async fn refuses(vault: &mut Vault, keys: &[String], why: &str) {
    let file = fs::read(vault.key_file()).ok();
    let error = vault.try_start().await.expect_err("must not start");
    let text = chain(&error);
    assert!(text.contains(why), "{text}");
    assert_eq!(picture(vault).await, keys, "the database is as it was");
    assert_eq!(
        fs::read(vault.key_file()).ok(),
        file,
        "the key file is as it was"
    );
}

fn chain(error: &dyn std::error::Error) -> String {
    let links = std::iter::successors(Some(error), |error| error.source());
    links
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}

database::test_on_both! {
    async fn attack_16_a_lost_key_is_not_replaced(database: TestDatabase) {
        let (mut vault, connector, name, keys) = stopped(database).await;
        let kept = fs::read(vault.key_file()).unwrap();
        fs::remove_file(vault.key_file()).unwrap();
        refuses(&mut vault, &keys, "put it back").await;
        assert!(!vault.key_file().exists(), "no new key was made");
        fs::write(vault.key_file(), kept).unwrap();
        fs::set_permissions(vault.key_file(), fs::Permissions::from_mode(0o600)).unwrap();
        vault.try_start().await.unwrap();
        assert_eq!(vault.release(SCOPE, connector, &name).await.unwrap(), "value");
    }

    async fn attack_16_another_key_is_refused(database: TestDatabase) {
        let (mut vault, _, _, keys) = stopped(database).await;
        let kept = fs::read_to_string(vault.key_file()).unwrap();
        let words: Vec<&str> = kept.split_whitespace().collect();
        let flipped = if words[2].starts_with('A') { 'B' } else { 'A' };
        let same_id = format!("SVKEK1 {} {flipped}{}\n", words[1], &words[2][1..]);
        let same_key = format!("SVKEK1 {} {}\n", uuid::Uuid::new_v4(), words[2]);
        for content in [same_id, same_key] {
            fs::write(vault.key_file(), content).unwrap();
            refuses(&mut vault, &keys, "holds another key").await;
        }
    }

    async fn attack_16_a_damaged_or_exposed_key_is_refused(database: TestDatabase) {
        let (mut vault, _, _, keys) = stopped(database).await;
        let kept = fs::read_to_string(vault.key_file()).unwrap();
        fs::write(vault.key_file(), &kept[..kept.len() - 5]).unwrap();
        refuses(&mut vault, &keys, "must hold one line").await;
        fs::write(vault.key_file(), &kept).unwrap();
        fs::set_permissions(vault.key_file(), fs::Permissions::from_mode(0o640)).unwrap();
        refuses(&mut vault, &keys, "chmod 600").await;
        let real = vault.folder.path().join("real.key");
        fs::rename(vault.key_file(), &real).unwrap();
        fs::set_permissions(&real, fs::Permissions::from_mode(0o600)).unwrap();
        symlink(&real, vault.key_file()).unwrap();
        refuses(&mut vault, &keys, "must be a regular file").await;
    }

    async fn attack_9_a_root_key_of_another_deployment_does_not_unwrap(database: TestDatabase) {
        let (mut vault, ..) = stopped(database).await;
        // The whole key row and the key file of another vault, which belong together.
        let other = TestDatabase::new(vault.database.engine()).await;
        let (other, ..) = stopped(other).await;
        let columns = ["provider", "encode(provider_check, 'hex')", "encode(wrapped, 'hex')"];
        for column in columns {
            let (name, from, to) = match (other.database.engine(), column) {
                (_, "provider") => ("provider", "provider".to_owned(), "?".to_owned()),
                (database::Engine::Postgres, expression) => {
                    let name = expression.trim_start_matches("encode(").split(',').next().unwrap();
                    (name, expression.to_owned(), "decode(?, 'hex')".to_owned())
                }
                (database::Engine::Sqlite, expression) => {
                    let name = expression.trim_start_matches("encode(").split(',').next().unwrap();
                    (name, format!("hex({name})"), "unhex(?)".to_owned())
                }
            };
            let value = other.column(&format!("SELECT {from} FROM root_keys")).await.remove(0);
            vault.sql(&format!("UPDATE root_keys SET {name} = {to}"), [value.into()]).await;
        }
        fs::copy(other.key_file(), vault.key_file()).unwrap();
        let keys = picture(&vault).await;
        refuses(&mut vault, &keys, "does not unwrap").await;
    }

    async fn a_database_whose_root_key_is_gone_gets_no_new_one(database: TestDatabase) {
        let (mut vault, ..) = stopped(database).await;
        vault.sql("DELETE FROM root_keys", []).await;
        let keys = picture(&vault).await;
        refuses(&mut vault, &keys, "no root key").await;
        fs::remove_file(vault.key_file()).unwrap();
        refuses(&mut vault, &keys, "no root key").await;
        assert!(!vault.key_file().exists());
    }

    async fn an_edited_deployment_or_system_key_is_refused(database: TestDatabase) {
        let (mut vault, ..) = stopped(database).await;
        let keys = picture(&vault).await;
        let swap = "UPDATE system_keys SET wrapped = (SELECT k.wrapped FROM system_keys k WHERE k.kind = 'grant') \
            WHERE kind = 'audit'";
        vault.sql(swap, []).await;
        refuses(&mut vault, &keys, "a system key does not unwrap").await;
        vault.sql("UPDATE deployment SET deployment_id = ?", [uuid::Uuid::new_v4().into()]).await;
        refuses(&mut vault, &keys, "the root key does not unwrap").await;
    }

    async fn two_vaults_that_start_at_once_share_one_key(database: TestDatabase) {
        let mut vault = Vault::start(database).await;
        vault.stop().await;
        let fresh = TestDatabase::new(vault.database.engine()).await;
        let mut config = vault.config.clone();
        config.database_url = fresh.url();
        config.key_file = vault.folder.path().join("fresh.key");
        let connection = fresh.connect().await;
        migrations::up::<migrations::Vault>(connection.connection()).await.unwrap();
        let start = || secret_vault::App::start_at(config.clone(), vault.clock.clone());
        let (one, two) = tokio::join!(start(), start());
        let (one, two) = (one.unwrap(), two.unwrap());
        use sea_orm::ConnectionTrait as _;
        let rows = connection.connection();
        let rows = sea_orm::Statement::from_string(rows.get_database_backend(), "SELECT provider FROM root_keys");
        assert_eq!(connection.connection().query_all_raw(rows).await.unwrap().len(), 1);
        one.stop().await;
        two.stop().await;
    }
}
