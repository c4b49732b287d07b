//! Attack 15: whoever steals the database without the key finds no value in it, in no spelling.

use std::fs;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use contracts::vault::v1 as pb;
use database::testing::TestDatabase;
use uuid::Uuid;

use super::harness::{SCOPE, Vault, add, connector, patch, redeem, version};

/// A value no spelling of which can appear by chance.
fn canary(number: usize) -> String {
    format!("canary~{number}~{}", Uuid::new_v4().simple())
}

/// The spellings in which a value might be found. Base64 is searched without its ends, which depend on
/// what stands around the value.
fn spellings(canary: &str) -> Vec<Vec<u8>> {
    let bytes = canary.as_bytes();
    let mut spellings = vec![
        bytes.to_vec(),
        canary.to_uppercase().into_bytes(),
        bytes
            .iter()
            .flat_map(|byte| format!("{byte:02x}").into_bytes())
            .collect(),
        bytes
            .iter()
            .flat_map(|byte| format!("{byte:02X}").into_bytes())
            .collect(),
        canary.replace('~', "%7E").into_bytes(),
        bytes.iter().flat_map(|byte| [*byte, 0]).collect(),
        bytes.iter().flat_map(|byte| [0, *byte]).collect(),
    ];
    for shift in 0..3 {
        let shifted = [&b"xx"[..shift], bytes].concat();
        for text in [
            STANDARD_NO_PAD.encode(&shifted),
            URL_SAFE_NO_PAD.encode(&shifted),
        ] {
            spellings.push(text.as_bytes()[4..text.len() - 4].to_vec());
        }
    }
    spellings
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack
        .windows(needle.len())
        .any(|window| window == needle)
}

fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let files = entries.filter(|path| path.is_file());
    files
        .map(|path| (path.display().to_string(), fs::read(&path).unwrap()))
        .collect()
}

/// Everything the database holds: the files of SQLite, the rows of PostgreSQL.
async fn stolen(vault: &Vault) -> Vec<(String, Vec<u8>)> {
    let url = vault.database.url();
    if let Some(path) = url.sqlite_path() {
        return files(path.parent().unwrap());
    }
    let tables = "SELECT tablename::text FROM pg_tables WHERE schemaname = 'public'";
    let mut found = Vec::new();
    for table in vault.column(tables).await {
        let rows = vault
            .column(&format!("SELECT t::text FROM {table} t"))
            .await;
        found.push((table, rows.join("\n").into_bytes()));
    }
    found
}

database::test_on_both! {
    async fn attack_15_a_stolen_database_shows_no_value(database: TestDatabase) {
        let mut vault = Vault::start(database).await;
        let connector = connector();
        let canaries: Vec<String> = (0..24).map(canary).collect();
        let mut registry = vault.registry();
        let mut names = Vec::new();
        for (number, canary) in canaries.iter().enumerate() {
            let request = add(SCOPE, connector, &format!("x-{}", number % 8), canary);
            let stored = registry.add_secret_version(request).await.unwrap().into_inner();
            names.push(version(stored.secret));
            let set = patch(connector, &[(&format!("N{}", number % 5), canary)], &[]);
            registry.patch_secret_blob(set).await.unwrap();
        }
        let token = vault.grant(SCOPE, connector, &[&names[23], &names[22]]).await;
        let lease = vault.runtime().redeem_grant(redeem(&token)).await.unwrap().into_inner().lease_token;
        let name = super::harness::secret_of(&names[20]);
        let delete = pb::DeleteSecretRequest { name, allow_missing: false };
        registry.delete_secret(delete).await.unwrap();

        let mut places = stolen(&vault).await;
        vault.stop().await;
        places.extend(stolen(&vault).await);
        places.extend(files(vault.folder.path()));
        assert!(places.iter().map(|(_, bytes)| bytes.len()).sum::<usize>() > 10_000);
        for (place, bytes) in &places {
            for canary in canaries.iter().chain([&token, &lease]) {
                for spelling in spellings(canary) {
                    assert!(!contains(bytes, &spelling), "a value was found in {place}");
                }
            }
        }
        let tables = places.iter().any(|(_, bytes)| contains(bytes, b"x-7"));
        assert!(tables, "what is no secret is found, so the search works");
    }

    async fn attack_15_a_stolen_database_has_no_key_in_it(database: TestDatabase) {
        let vault = Vault::start(database).await;
        vault.add(SCOPE, connector(), "authorization", "value").await;
        let line = fs::read_to_string(vault.key_file()).unwrap();
        let encoded = line.split_whitespace().nth(2).unwrap().to_owned();
        let key = base64::engine::general_purpose::STANDARD.decode(&encoded).unwrap();
        for (place, bytes) in stolen(&vault).await {
            assert!(!contains(&bytes, &key) && !contains(&bytes, encoded.as_bytes()), "{place}");
            let hex: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
            assert!(!contains(&bytes, hex.as_bytes()), "{place}");
        }
    }
}
