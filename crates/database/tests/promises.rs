//! What services rely on, on both databases: settings, transactions, classified errors, the schema check.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use database::testing::TestDatabase;
use database::{
    Database, DatabaseConfig, DatabaseUrl, Engine, Error, Schema, SchemaError, timestamp,
};
use sea_orm::{ConnectionTrait, DbBackend, Statement, Value};
use tokio::task::JoinSet;

fn backend(database: &Database) -> DbBackend {
    match database.engine() {
        Engine::Sqlite => DbBackend::Sqlite,
        Engine::Postgres => DbBackend::Postgres,
    }
}

async fn run(on: &impl ConnectionTrait, sql: &str) -> Result<(), Error> {
    on.execute_unprepared(sql).await?;
    Ok(())
}

async fn number(on: &impl ConnectionTrait, sql: &str) -> i64 {
    let statement = Statement::from_string(on.get_database_backend(), sql);
    let row = on.query_one_raw(statement).await.unwrap().unwrap();
    row.try_get_by_index::<i64>(0)
        .or_else(|_| row.try_get_by_index::<i32>(0).map(i64::from))
        .unwrap()
}

async fn text(on: &impl ConnectionTrait, sql: &str) -> String {
    let statement = Statement::from_string(on.get_database_backend(), sql);
    on.query_one_raw(statement)
        .await
        .unwrap()
        .unwrap()
        .try_get_by_index(0)
        .unwrap()
}

async fn counter(database: &Database) {
    let connection = database.connection();
    run(
        connection,
        "CREATE TABLE counter (id BIGINT PRIMARY KEY, n BIGINT NOT NULL)",
    )
    .await
    .unwrap();
    run(connection, "INSERT INTO counter VALUES (1, 0)")
        .await
        .unwrap();
}

database::test_on_both! {
    /// Read-then-write transactions of many tasks all succeed: none of them starts as a mere reader.
    async fn concurrent_writers_all_succeed(database: TestDatabase) {
        let database = database.connect().await;
        counter(&database).await;
        let mut tasks = JoinSet::new();
        for _ in 0..16 {
            let database = database.clone();
            tasks.spawn(async move {
                for _ in 0..10 {
                    let transaction = database.begin_write().await.unwrap();
                    let lock = match database.engine() {
                        Engine::Sqlite => "",
                        Engine::Postgres => " FOR UPDATE",
                    };
                    let sql = format!("SELECT n FROM counter WHERE id = 1{lock}");
                    let n = number(&*transaction, &sql).await;
                    let sql = format!("UPDATE counter SET n = {} WHERE id = 1", n + 1);
                    run(&*transaction, &sql).await.unwrap();
                    transaction.commit().await.unwrap();
                }
            });
        }
        tasks.join_all().await;
        assert_eq!(number(database.connection(), "SELECT n FROM counter").await, 160);
    }

    /// A read transaction sees one state, whatever is committed meanwhile.
    async fn a_reader_sees_one_state(database: TestDatabase) {
        let database = database.connect().await;
        counter(&database).await;
        let reader = database.begin_read().await.unwrap();
        assert_eq!(number(&*reader, "SELECT n FROM counter").await, 0);
        let writer = database.begin_write().await.unwrap();
        run(&*writer, "UPDATE counter SET n = 7").await.unwrap();
        writer.commit().await.unwrap();
        assert_eq!(number(&*reader, "SELECT n FROM counter").await, 0);
        reader.end().await.unwrap();
        assert_eq!(number(database.connection(), "SELECT n FROM counter").await, 7);
    }

    /// What was not committed did not happen, and the next writer gets its turn.
    async fn a_dropped_transaction_is_undone(database: TestDatabase) {
        let database = database.connect().await;
        counter(&database).await;
        let writer = database.begin_write().await.unwrap();
        run(&*writer, "UPDATE counter SET n = 7").await.unwrap();
        drop(writer);
        let writer = database.begin_write().await.unwrap();
        assert_eq!(number(&*writer, "SELECT n FROM counter").await, 0);
        writer.rollback().await.unwrap();
    }

    /// A statement that fails inside a savepoint leaves the transaction usable.
    async fn a_savepoint_is_undone_alone(database: TestDatabase) {
        let database = database.connect().await;
        counter(&database).await;
        let writer = database.begin_write().await.unwrap();
        run(&*writer, "INSERT INTO counter VALUES (2, 2)").await.unwrap();
        let savepoint = writer.savepoint().await.unwrap();
        let error = run(&*savepoint, "INSERT INTO counter VALUES (2, 3)").await.unwrap_err();
        assert!(matches!(error, Error::Unique(_)), "{error:?}");
        savepoint.rollback().await.unwrap();
        let savepoint = writer.savepoint().await.unwrap();
        run(&*savepoint, "INSERT INTO counter VALUES (3, 3)").await.unwrap();
        savepoint.release().await.unwrap();
        writer.commit().await.unwrap();
        assert_eq!(number(database.connection(), "SELECT sum(n)::int FROM counter"
            .replace("::int", if database.engine() == Engine::Sqlite { "" } else { "::bigint" })
            .as_str()).await, 5);
    }

    /// Errors are told apart by what a caller can do about them.
    async fn errors_are_classified(database: TestDatabase) {
        let database = database.connect().await;
        counter(&database).await;
        let connection = database.connection();
        run(connection, "CREATE TABLE child (id BIGINT PRIMARY KEY REFERENCES counter (id))").await.unwrap();
        let error = run(connection, "INSERT INTO counter VALUES (1, 1)").await.unwrap_err();
        assert!(matches!(error, Error::Unique(_)), "{error:?}");
        let error = run(connection, "INSERT INTO child VALUES (99)").await.unwrap_err();
        assert!(matches!(error, Error::ForeignKey(_)), "{error:?}");
        let error = run(connection, "INSERT INTO counter VALUES (3, NULL)").await.unwrap_err();
        assert!(matches!(error, Error::Other(_)), "{error:?}");
    }

    /// A stored time reads back as it was written.
    async fn times_survive_the_round_trip(database: TestDatabase) {
        let database = database.connect().await;
        let connection = database.connection();
        run(connection, "CREATE TABLE moment (at TIMESTAMP WITH TIME ZONE NOT NULL)").await.unwrap();
        let at = timestamp(lifecycle::Clock::system().now());
        let insert = "INSERT INTO moment VALUES ($1)";
        let insert = Statement::from_sql_and_values(backend(&database), insert, [Value::from(at)]);
        connection.execute_raw(insert).await.unwrap();
        let select = Statement::from_string(backend(&database), "SELECT at FROM moment");
        let row = connection.query_one_raw(select).await.unwrap().unwrap();
        assert_eq!(row.try_get::<DateTime<Utc>>("", "at").unwrap(), at);
    }

    /// The schema check reads the tracking table, and an empty database is one that is behind.
    async fn the_schema_check_reads_the_tracking_table(database: TestDatabase) {
        let database = database.connect().await;
        let schema = Schema {
            tracking_table: "service_migrations".into(),
            migrations: vec!["r0001_0001_first".into()],
            command: "service migrate up".into(),
        };
        let error = database.check_schema(&schema).await.unwrap_err();
        assert!(error.to_string().contains("service migrate up"), "{error}");
        let connection = database.connection();
        run(connection, "CREATE TABLE service_migrations (version VARCHAR PRIMARY KEY)").await.unwrap();
        run(connection, "INSERT INTO service_migrations VALUES ('r0001_0001_first')").await.unwrap();
        database.check_schema(&schema).await.unwrap();
        run(connection, "INSERT INTO service_migrations VALUES ('r0002_0001_next')").await.unwrap();
        database.check_schema(&schema).await.unwrap();
        run(connection, "INSERT INTO service_migrations VALUES ('r0003_0001_later')").await.unwrap();
        let error = database.check_schema(&schema).await.unwrap_err();
        assert!(matches!(error, SchemaError::TooNew { found: 3, ours: 1 }), "{error}");
    }

    /// A closed pool answers that it is unavailable, to every clone.
    async fn a_closed_database_is_unavailable(database: TestDatabase) {
        let database = database.connect().await;
        let clone = database.clone();
        database.ping().await.unwrap();
        database.close().await.unwrap();
        let error = clone.begin_write().await.unwrap_err();
        assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
    }
}

#[tokio::test]
async fn sqlite_has_the_settings_that_services_rely_on() {
    let place = TestDatabase::new(Engine::Sqlite).await;
    let config = DatabaseConfig::new(place.url(), "test").secure_delete();
    let database = Database::connect(config).await.unwrap();
    let connection = database.connection();
    assert_eq!(text(connection, "PRAGMA journal_mode").await, "wal");
    assert_eq!(number(connection, "PRAGMA synchronous").await, 2, "FULL");
    assert_eq!(number(connection, "PRAGMA foreign_keys").await, 1);
    assert_eq!(number(connection, "PRAGMA busy_timeout").await, 5000);
    assert_eq!(number(connection, "PRAGMA secure_delete").await, 1);
}

#[tokio::test]
async fn a_sqlite_file_and_its_log_belong_to_their_owner_alone() {
    let place = TestDatabase::new(Engine::Sqlite).await;
    let database = place.connect().await;
    counter(&database).await;
    let url = place.url();
    let path = url.sqlite_path().unwrap();
    for suffix in ["", "-wal", "-shm"] {
        let path = format!("{}{suffix}", path.display());
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{path}");
    }
}

#[tokio::test]
async fn a_sqlite_file_in_a_missing_folder_is_unavailable() {
    let url = DatabaseUrl::sqlite("/nonexistent/folder/file.sqlite3");
    let error = Database::connect(DatabaseConfig::new(url, "test"))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
}

#[tokio::test]
async fn sqlite_readers_are_served_while_writers_queue() {
    let place = TestDatabase::new(Engine::Sqlite).await;
    let database = place.connect().await;
    counter(&database).await;
    let first = database.begin_write().await.unwrap();
    let started = Arc::new(tokio::sync::Barrier::new(9));
    let mut writers = JoinSet::new();
    for _ in 0..8 {
        let (database, started) = (database.clone(), started.clone());
        writers.spawn(async move {
            started.wait().await;
            database
                .begin_write()
                .await
                .unwrap()
                .commit()
                .await
                .unwrap();
        });
    }
    started.wait().await;
    // More writers wait than the pool has connections; this one is free all the same.
    assert_eq!(
        number(database.connection(), "SELECT n FROM counter").await,
        0
    );
    first.commit().await.unwrap();
    writers.join_all().await;
}

database::test_on_both! {
    /// A caller that gives up while its transaction begins leaves no connection with a transaction open:
    /// what is written on that connection later would never be committed.
    async fn a_begin_that_is_cancelled_leaves_no_transaction_open(place: TestDatabase) {
        let database = place.connect().await;
        counter(&database).await;
        for patience in 0..200 {
            tokio::select! {
                biased;
                begun = database.begin_write() => drop(begun.unwrap()),
                () = give_up_after(patience % 10) => {}
            }
            tokio::select! {
                biased;
                begun = database.begin_read() => drop(begun.unwrap()),
                () = give_up_after(patience % 10) => {}
            }
        }
        for _ in 0..32 {
            run(database.connection(), "UPDATE counter SET n = n + 1").await.unwrap();
        }
        let elsewhere = place.connect().await;
        assert_eq!(number(elsewhere.connection(), "SELECT n FROM counter").await, 32);
    }
}

async fn give_up_after(turns: u32) {
    for _ in 0..turns {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn postgres_sees_the_application_name_and_the_time_limit() {
    let place = TestDatabase::new(Engine::Postgres).await;
    let config = DatabaseConfig::new(place.url(), "patchbay-vault")
        .statement_timeout(std::time::Duration::from_millis(300));
    let database = Database::connect(config).await.unwrap();
    let connection = database.connection();
    assert_eq!(
        text(connection, "SHOW application_name").await,
        "patchbay-vault"
    );
    assert_eq!(text(connection, "SHOW statement_timeout").await, "300ms");
    let error = run(connection, "SELECT pg_sleep(30)").await.unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
}

#[tokio::test]
async fn a_postgres_reader_cannot_write() {
    let place = TestDatabase::new(Engine::Postgres).await;
    let database = place.connect().await;
    counter(&database).await;
    let reader = database.begin_read().await.unwrap();
    assert!(run(&*reader, "UPDATE counter SET n = 1").await.is_err());
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable_and_no_error_tells_the_password() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let url: DatabaseUrl = format!("postgres://app:hunter2@127.0.0.1:{port}/x")
        .parse()
        .unwrap();
    let error = Database::connect(DatabaseConfig::new(url, "test"))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
    assert!(!format!("{error} {error:?}").contains("hunter2"));
}

#[tokio::test]
async fn a_test_database_is_gone_after_its_test() {
    let place = TestDatabase::new(Engine::Postgres).await;
    let url = place.url();
    drop(place);
    let error = Database::connect(DatabaseConfig::new(url, "test"))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
}
