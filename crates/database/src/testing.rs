//! Throw-away databases for tests: a fresh SQLite file or a fresh PostgreSQL database for each test.
//!
//! Both kinds are always tested: a PostgreSQL server that cannot be reached fails the test and never skips
//! it. Not here: schemas (`migrations`), nor anything a service does with a database.

use std::panic::{AssertUnwindSafe, resume_unwind};
use std::time::Duration;

use sea_orm::ConnectionTrait as _;
use tempfile::TempDir;
use uuid::Uuid;

use crate::config::Location;
use crate::{Database, DatabaseConfig, DatabaseUrl, Engine, Error};

/// The server of the tests, unless `PATCHBAY_TEST_POSTGRES` names another.
const DEFAULT_SERVER: &str = "postgres://postgres@127.0.0.1:5432/postgres";

/// One empty database that is removed when this value is dropped.
#[derive(Debug)]
pub struct TestDatabase {
    url: DatabaseUrl,
    engine: Engine,
    _place: Place,
}

#[derive(Debug)]
enum Place {
    Folder { _folder: TempDir },
    Server { _dropped: DropOnEnd },
}

impl TestDatabase {
    /// Makes an empty database.
    ///
    /// # Panics
    /// If it cannot be made, above all if there is no PostgreSQL server.
    pub async fn new(engine: Engine) -> Self {
        match engine {
            Engine::Sqlite => {
                let folder = TempDir::with_prefix("patchbay-test-").unwrap_or_else(|error| {
                    panic!("no temporary folder for a test database: {error}")
                });
                let url = DatabaseUrl::sqlite(folder.path().join("test.sqlite3"));
                Self {
                    url,
                    engine,
                    _place: Place::Folder { _folder: folder },
                }
            }
            Engine::Postgres => {
                let name = format!("patchbay_test_{}", Uuid::now_v7().simple());
                on_server(&format!("CREATE DATABASE {name} TEMPLATE template0")).await;
                let mut url = server();
                url.set_path(&name);
                let url = DatabaseUrl(Location::Postgres(Box::new(url)));
                Self {
                    url,
                    engine,
                    _place: Place::Server {
                        _dropped: DropOnEnd(name),
                    },
                }
            }
        }
    }

    /// Where it is, for a service's configuration.
    #[must_use]
    pub fn url(&self) -> DatabaseUrl {
        self.url.clone()
    }

    /// The same as text, with everything that a connection needs.
    #[must_use]
    pub fn url_text(&self) -> String {
        match &self.url.0 {
            Location::Sqlite(path) => format!("sqlite://{}", path.display()),
            Location::Postgres(url) => url.to_string(),
        }
    }

    /// The kind of database.
    #[must_use]
    pub fn engine(&self) -> Engine {
        self.engine
    }

    /// A new pool with the settings of a service, few connections.
    ///
    /// # Panics
    /// If it cannot connect.
    pub async fn connect(&self) -> Database {
        let config = DatabaseConfig::new(self.url(), "patchbay-test").connections(4);
        match Database::connect(config).await {
            Ok(database) => database,
            Err(error) => panic!("cannot connect to {}: {error}: {error:?}", self.url),
        }
    }
}

/// Runs one test on one database and removes the database, also after a failure.
pub async fn run<F: Future<Output = ()>>(engine: Engine, test: impl FnOnce(TestDatabase) -> F) {
    let database = TestDatabase::new(engine).await;
    test(database).await;
}

/// Declares tests that run on SQLite and on PostgreSQL, each on a fresh, empty database:
/// `name::sqlite` and `name::postgres`. The crate that uses it needs tokio with `macros`.
///
/// ```ignore
/// database::test_on_both! {
///     /// A row is read back as it was written.
///     async fn round_trip(database: TestDatabase) {
///         let database = database.connect().await;
///     }
/// }
/// ```
#[macro_export]
macro_rules! test_on_both {
    ($($(#[$meta:meta])* async fn $name:ident($database:ident: $type:ty) $body:block)+) => {$(
        $(#[$meta])*
        async fn $name($database: $type) $body

        mod $name {
            #[::tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                $crate::testing::run($crate::Engine::Sqlite, super::$name).await;
            }

            #[::tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                $crate::testing::run($crate::Engine::Postgres, super::$name).await;
            }
        }
    )+};
}

/// Drops the database of that name, from whatever thread and state the test ends in.
#[derive(Debug)]
struct DropOnEnd(String);

impl Drop for DropOnEnd {
    fn drop(&mut self) {
        let statement = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.0);
        // A thread of its own: the test's runtime may be in the middle of a panic, and cannot be waited on.
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            if let Ok(runtime) = runtime {
                runtime.block_on(on_server(&statement));
            }
        });
        if let Err(panic) = dropped.join()
            && !std::thread::panicking()
        {
            resume_unwind(AssertUnwindSafe(panic).0);
        }
    }
}

async fn on_server(statement: &str) {
    let url = DatabaseUrl(Location::Postgres(Box::new(server())));
    let config = DatabaseConfig::new(url.clone(), "patchbay-test-setup")
        .connections(1)
        .statement_timeout(Duration::from_secs(60));
    if let Err(error) = execute(config, statement).await {
        panic!(
            "the tests need a PostgreSQL server at {url} and the right to create databases there \
             (PATCHBAY_TEST_POSTGRES names another): {error}: {error:?}"
        );
    }
}

async fn execute(config: DatabaseConfig, statement: &str) -> Result<(), Error> {
    let database = Database::connect(config).await?;
    database.connection().execute_unprepared(statement).await?;
    database.close().await
}

fn server() -> url::Url {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place where tests learn their server"
    )]
    let text =
        std::env::var("PATCHBAY_TEST_POSTGRES").unwrap_or_else(|_| DEFAULT_SERVER.to_owned());
    let url = text.parse::<DatabaseUrl>();
    match url.map(|url| url.0) {
        Ok(Location::Postgres(mut url)) => {
            if url.path().trim_matches('/').is_empty() {
                url.set_path("postgres");
            }
            *url
        }
        Ok(Location::Sqlite(_)) | Err(_) => {
            panic!("PATCHBAY_TEST_POSTGRES must be a postgres:// URL")
        }
    }
}
