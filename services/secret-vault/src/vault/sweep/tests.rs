//! What is forgotten, and what is not.

use database::testing::TestDatabase;
use sea_orm::{ConnectionTrait as _, Statement};
use sensitive::Bytes;
use uuid::Uuid;

use crate::domain::{Destinations, Field, FieldKind};
use crate::vault::testing::{Started, start};
use crate::vault::{AddVersion, Caller};

fn caller() -> Caller {
    Caller {
        subject: "registry".into(),
        acting_user: None,
    }
}

async fn add(started: &Started, destination: &str) -> names::SecretVersionName {
    let request = AddVersion {
        scope: "users/ada".parse().unwrap(),
        connector: Uuid::from_u128(1),
        field: Field::single(FieldKind::Header, "authorization".into()).unwrap(),
        value: Bytes::new(b"value".to_vec()),
        destinations: Destinations::new(vec![destination.into()]).unwrap(),
        request_id: Uuid::new_v4(),
    };
    let view = started.vault.add_version(&caller(), request).await.unwrap();
    view.secret.name().version(view.version.version)
}

async fn kept(started: &Started) -> Vec<String> {
    let connection = started.database.connection();
    let sql = "SELECT destinations FROM destinations ORDER BY destinations";
    let rows = Statement::from_string(connection.get_database_backend(), sql);
    let rows = connection.query_all_raw(rows).await.unwrap();
    rows.iter()
        .map(|row| row.try_get_by_index(0).unwrap())
        .collect()
}

database::test_on_both! {
    async fn a_destination_that_nothing_goes_to_is_forgotten(test: TestDatabase) {
        let started = start(test).await;
        let inner = &started.vault.inner;
        let (a, b) = (r#"["https://a.example:443"]"#, r#"["https://b.example:443"]"#);
        let first = add(&started, "https://a.example:443").await;
        add(&started, "https://b.example:443").await;
        started.clock.advance(super::KEPT * 2);
        inner.sweep().await.unwrap();
        assert_eq!(kept(&started).await, [a, b], "a superseded version still goes there");
        started.vault.destroy_version(&caller(), &first).await.unwrap();
        inner.sweep().await.unwrap();
        assert_eq!(kept(&started).await, [b]);
        let again = add(&started, "https://a.example:443").await;
        started.vault.destroy_version(&caller(), &again).await.unwrap();
        inner.sweep().await.unwrap();
        assert_eq!(kept(&started).await, [a, b], "a new one is left alone for a while");
        let view = started.vault.get_secret(again.secret()).await.unwrap();
        assert!(view.destination.is_none(), "a destroyed current version goes nowhere");
    }
}
