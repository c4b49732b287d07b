//! The chain: every row is linked to the one before it, under a key that the database does not hold.

use database::Database;
use database::testing::TestDatabase;
use sea_orm::{ConnectionTrait as _, Statement};

use super::*;
use crate::vault::testing::start;

fn events(scope: &str, count: usize) -> Vec<AuditEvent> {
    let caller = Caller {
        subject: "registry".into(),
        acting_user: Some("ada".into()),
    };
    let scope: ScopeName = scope.parse().unwrap();
    let one = |number: usize| {
        let number = number as u64;
        let event = event(&caller, Method::RedeemGrant, &scope, Micros(number as i64));
        let at = VersionRef {
            secret: Uuid::from_u128(1),
            version: number,
        };
        event
            .connector(Uuid::from_u128(2))
            .grant(Uuid::from_u128(3))
            .at(at)
    };
    (0..count).map(one).collect()
}

async fn rows(database: &Database, scope: &str) -> Vec<(i64, Vec<u8>, Vec<u8>)> {
    let connection = database.connection();
    let sql = "SELECT seq, prev, mac FROM audit_events WHERE scope = $1 ORDER BY seq";
    let backend = connection.get_database_backend();
    let rows = Statement::from_sql_and_values(backend, sql, [scope.into()]);
    let rows = connection.query_all_raw(rows).await.unwrap();
    let row = |row: &sea_orm::QueryResult| {
        let by = |name| row.try_get("", name).unwrap();
        (row.try_get("", "seq").unwrap(), by("prev"), by("mac"))
    };
    rows.iter().map(row).collect()
}

database::test_on_both! {
    async fn every_row_is_linked_to_the_one_before_it(test: TestDatabase) {
        let started = start(test).await;
        let inner = &started.vault.inner;
        for count in [1, 3, 700] {
            let transaction = started.database.begin_write().await.unwrap();
            let mut batch = events("users/ada", count);
            batch.extend(events("users/eve", 2));
            inner.write_audit(&*transaction, batch).await.unwrap();
            transaction.commit().await.unwrap();
        }
        let written: Vec<AuditEvent> =
            [1, 3, 700].into_iter().flat_map(|count| events("users/ada", count)).collect();
        let rows = rows(&started.database, "users/ada").await;
        assert_eq!(rows.len(), written.len());
        let mut last = Vec::new();
        for (index, ((seq, prev, mac), event)) in rows.into_iter().zip(&written).enumerate() {
            assert_eq!((seq as usize, &prev), (index + 1, &last));
            assert_eq!(mac, inner.keyring.macs().audit(event, seq as u64, &prev));
            last = mac;
        }
        let transaction = started.database.begin_write().await.unwrap();
        let head = lock_head(&*transaction, &"users/ada".parse().unwrap()).await.unwrap();
        assert_eq!((head.seq, head.mac), (704, last));
    }

    async fn what_was_rolled_back_leaves_no_gap(test: TestDatabase) {
        let started = start(test).await;
        let inner = &started.vault.inner;
        for commit in [true, false, true] {
            let transaction = started.database.begin_write().await.unwrap();
            inner.write_audit(&*transaction, events("users/ada", 2)).await.unwrap();
            if commit {
                transaction.commit().await.unwrap();
            } else {
                transaction.rollback().await.unwrap();
            }
        }
        let numbers: Vec<i64> =
            rows(&started.database, "users/ada").await.into_iter().map(|row| row.0).collect();
        assert_eq!(numbers, [1, 2, 3, 4]);
    }

    async fn concurrent_writers_make_one_chain(test: TestDatabase) {
        let started = start(test).await;
        let inner = &started.vault.inner;
        let write = |_| async {
            let transaction = started.database.begin_write().await.unwrap();
            inner.write_audit(&*transaction, events("users/ada", 2)).await.unwrap();
            transaction.commit().await.unwrap();
        };
        futures_util::future::join_all((0..10).map(write)).await;
        let rows = rows(&started.database, "users/ada").await;
        assert_eq!(rows.len(), 20);
        for pair in rows.windows(2) {
            assert_eq!((pair[1].0, &pair[1].1), (pair[0].0 + 1, &pair[0].2));
        }
    }

    async fn every_field_of_a_row_is_in_its_mac(test: TestDatabase) {
        let started = start(test).await;
        let macs = started.vault.inner.keyring.macs();
        let event = events("users/ada", 1).remove(0);
        let other = Uuid::from_u128(9);
        let changed = [
            AuditEvent { scope: "users/eve".parse().unwrap(), ..event.clone() },
            AuditEvent { time: Micros(1), ..event.clone() },
            AuditEvent { actor: "other".into(), ..event.clone() },
            AuditEvent { acting_user: None, ..event.clone() },
            AuditEvent { acting_user: Some(String::new()), ..event.clone() },
            AuditEvent { method: Method::RenewLease, ..event.clone() },
            AuditEvent { connector: Some(other), ..event.clone() },
            AuditEvent { connector: None, ..event.clone() },
            AuditEvent { secret: Some(other), ..event.clone() },
            AuditEvent { version: None, ..event.clone() },
            AuditEvent { version: Some(7), ..event.clone() },
            AuditEvent { grant: None, ..event.clone() },
            AuditEvent { lease: Some(other), ..event.clone() },
            AuditEvent { decision: Decision::Denied, ..event.clone() },
            AuditEvent { reason: Reason::GrantAltered, ..event.clone() },
            AuditEvent { request_id: Some(other), ..event.clone() },
        ];
        let genuine = macs.audit(&event, 1, b"prev");
        for changed in changed {
            assert_ne!(macs.audit(&changed, 1, b"prev"), genuine, "{changed:?}");
        }
        assert_ne!(macs.audit(&event, 2, b"prev"), genuine);
        assert_ne!(macs.audit(&event, 1, b"other"), genuine);
    }
}
