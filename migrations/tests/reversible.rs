//! Every schema goes up, down to nothing and up again, on both databases, and several processes may do so at
//! once.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;

use database::testing::TestDatabase;
use database::{Database, Engine};
use migrations::{Registry, State, Vault, down, names, status, tracking_table, up};
use sea_orm::{ConnectionTrait as _, DbBackend, Statement};
use sea_orm_migration::MigratorTrait;
use tokio::task::JoinSet;

/// Everything that a schema consists of, one line each, without the tracking tables.
async fn schema(database: &Database) -> BTreeSet<String> {
    let (backend, queries) = match database.engine() {
        Engine::Sqlite => (
            DbBackend::Sqlite,
            vec!["SELECT type || ' ' || name || ': ' || COALESCE(sql, '') AS line FROM sqlite_master"],
        ),
        Engine::Postgres => (
            DbBackend::Postgres,
            vec![
                "SELECT table_name || '.' || column_name || ': ' || data_type || ' ' || is_nullable || ' '
                 || COALESCE(column_default, '') AS line FROM information_schema.columns
                 WHERE table_schema = 'public'",
                "SELECT indexdef AS line FROM pg_indexes WHERE schemaname = 'public'",
                "SELECT conrelid::regclass || ' ' || conname || ': ' || pg_get_constraintdef(oid) AS line
                 FROM pg_constraint WHERE connamespace = 'public'::regnamespace",
            ],
        ),
    };
    let mut lines = BTreeSet::new();
    for query in queries {
        let rows = Statement::from_string(backend, query);
        for row in database.connection().query_all_raw(rows).await.unwrap() {
            lines.insert(row.try_get::<String>("", "line").unwrap());
        }
    }
    lines.retain(|line| !line.contains("_migrations"));
    lines
}

async fn up_down_up<M: MigratorTrait>(database: &Database) {
    let connection = database.connection();
    let empty = schema(database).await;
    let applied = up::<M>(connection).await.unwrap().migrations;
    assert_eq!(applied, names::<M>());
    let full = schema(database).await;
    assert!(
        up::<M>(connection).await.unwrap().migrations.is_empty(),
        "a second `up` does nothing"
    );

    // Down one at a time, so that each step is seen to undo its own work and nothing else.
    let mut steps = vec![full.clone()];
    for name in names::<M>().iter().rev() {
        assert_eq!(
            down::<M>(connection, 1).await.unwrap().migrations,
            std::slice::from_ref(name)
        );
        steps.push(schema(database).await);
    }
    assert_eq!(steps.last(), Some(&empty), "everything is gone again");

    up::<M>(connection).await.unwrap();
    assert_eq!(
        schema(database).await,
        full,
        "the second time makes the same schema"
    );
}

database::test_on_both! {
    /// The registry's schema can be taken back and made again.
    async fn the_registry_goes_up_down_and_up(database: TestDatabase) {
        up_down_up::<Registry>(&database.connect().await).await;
    }

    /// The vault's schema can be taken back and made again.
    async fn the_vault_goes_up_down_and_up(database: TestDatabase) {
        up_down_up::<Vault>(&database.connect().await).await;
    }

    /// The questions that are asked again and again have an index each.
    async fn the_vault_has_its_indexes(database: TestDatabase) {
        let database = database.connect().await;
        up::<Vault>(database.connection()).await.unwrap();
        let lines = schema(&database).await;
        for (name, columns) in [
            ("secrets_by_scope", ["scope", "id"].as_slice()),
            ("secrets_by_connector", ["scope", "connector", "id"].as_slice()),
            ("secret_versions_by_data_key", ["data_key"].as_slice()),
            ("secret_versions_by_destination", ["destination"].as_slice()),
        ] {
            let columns = columns.join(",");
            let is_it = |line: &String| {
                let line = line.replace(['"', ' '], "");
                line.contains(name) && line.contains(&format!("({columns})"))
            };
            assert!(lines.iter().any(is_it), "{name} ({columns}) in {lines:?}");
        }
    }

    /// Replicas that start together apply each migration once.
    async fn four_at_once_apply_each_migration_once(database: TestDatabase) {
        let mut runs = JoinSet::new();
        for _ in 0..4 {
            let pool = database.connect().await;
            runs.spawn(async move { up::<Registry>(pool.connection()).await.unwrap().migrations });
        }
        let applied: Vec<String> = runs.join_all().await.into_iter().flatten().collect();
        assert_eq!(applied, names::<Registry>());
    }

    /// A build never changes a schema that a newer one has been at, and says which part it does not know.
    async fn a_newer_schema_is_left_alone(database: TestDatabase) {
        let database = database.connect().await;
        let connection = database.connection();
        up::<Vault>(connection).await.unwrap();
        let newer = format!(
            "INSERT INTO {} (version, applied_at) VALUES ('r9999_0001_newer', 0)",
            tracking_table::<Vault>()
        );
        connection.execute_unprepared(&newer).await.unwrap();

        assert!(up::<Vault>(connection).await.unwrap().migrations.is_empty());
        let error = down::<Vault>(connection, 1).await.unwrap_err().to_string();
        assert!(error.contains("r9999_0001_newer"), "{error}");
        let states = status::<Vault>(connection).await.unwrap();
        assert_eq!(states.last().unwrap(), &("r9999_0001_newer".to_owned(), State::Unknown));
    }

    /// `status` tells what is pending and changes nothing, not even by making its own table.
    async fn status_changes_nothing(database: TestDatabase) {
        let database = database.connect().await;
        let before = status::<Registry>(database.connection()).await.unwrap();
        assert!(before.iter().all(|(_, state)| *state == State::Pending));
        assert_eq!(before.len(), names::<Registry>().len());
        let table = tracking_table::<Registry>();
        let gone = database.connection().execute_unprepared(&format!("SELECT 1 FROM {table}")).await;
        assert!(gone.is_err(), "the tracking table was made");
    }
}
