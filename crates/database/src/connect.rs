//! Opens the pool with the settings that every service relies on.
//!
//! SQLite: write-ahead log, `synchronous = FULL` (a commit that was answered survives a power failure),
//! foreign keys on, a wait of at most 5 s for another writer, file mode 0600. PostgreSQL: application
//! name, statement time limit, a ping before a connection is used that has been idle for a while.

use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use lifecycle::Tasks;
use percent_encoding::percent_decode_str;
use sea_orm::sqlx::sqlite::{SqliteJournalMode, SqliteSynchronous};
use sea_orm::{ConnectOptions, DatabaseConnection};
use tokio::sync::Semaphore;
use url::Url;

use crate::config::{Deleted, Location};
use crate::{DatabaseConfig, DatabaseUrl, Engine, Error};

/// How long to wait for a connection, and on SQLite for another writer.
pub(crate) const WAIT: Duration = Duration::from_secs(5);
/// A PostgreSQL connection idle for longer than this is checked before it is used.
const CHECK_AFTER_IDLE: Duration = Duration::from_secs(30);

/// A pool of connections to one service's database. Cheap to clone; clones share the pool.
#[derive(Debug, Clone)]
pub struct Database {
    pub(crate) connection: DatabaseConnection,
    /// One writer at a time on SQLite, queued here and in order: a writer that waits inside SQLite holds
    /// a connection which readers need, and is woken in no order at all.
    pub(crate) writer: Option<Arc<Semaphore>>,
    /// Transactions that are being begun; see [`Database::begin_write`].
    pub(crate) beginning: Arc<Tasks>,
    url: DatabaseUrl,
}

impl Database {
    /// Connects, and on SQLite creates the file (mode 0600) if there is none. Its folder must exist.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if the server or the file cannot be reached within 5 s.
    pub async fn connect(config: DatabaseConfig) -> Result<Self, Error> {
        let url = config.url.clone();
        let options = match &config.url.0 {
            Location::Sqlite(path) => sqlite(path.clone(), &config)?,
            Location::Postgres(url) => postgres(url, &config)?,
        };
        let writer = match url.engine() {
            Engine::Sqlite => Some(Arc::new(Semaphore::new(1))),
            Engine::Postgres => None,
        };
        let connection = sea_orm::Database::connect(options).await?;
        Ok(Self {
            connection,
            writer,
            beginning: Arc::new(Tasks::new("database")),
            url,
        })
    }

    /// For single reads, and for statements that are whole by themselves. Several statements that belong
    /// together need [`begin_read`](Self::begin_read) or [`begin_write`](Self::begin_write).
    #[must_use]
    pub fn connection(&self) -> &DatabaseConnection {
        &self.connection
    }

    /// The kind of database.
    #[must_use]
    pub fn engine(&self) -> Engine {
        self.url.engine()
    }

    /// Where the database is; prints without the password.
    #[must_use]
    pub fn url(&self) -> &DatabaseUrl {
        &self.url
    }

    /// Asks the database whether it is there, for health checks.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if it does not answer.
    pub async fn ping(&self) -> Result<(), Error> {
        self.connection.ping().await.map_err(Error::unavailable)
    }

    /// Waits for the connections in use and closes the pool, for every clone. On SQLite the last one
    /// folds the write-ahead log into the file.
    ///
    /// # Errors
    /// [`Error::Other`] if the driver reports one; the pool is closed all the same.
    pub async fn close(&self) -> Result<(), Error> {
        Ok(self.connection.clone().close().await?)
    }
}

fn quiet(options: &mut ConnectOptions, config: &DatabaseConfig) {
    // Statements carry values of ours into logs and spans; neither is ever wanted.
    options
        .sqlx_logging(false)
        .record_stmt_in_spans(false)
        .max_connections(config.connections)
        .acquire_timeout(WAIT);
}

fn sqlite(path: std::path::PathBuf, config: &DatabaseConfig) -> Result<ConnectOptions, Error> {
    create_private(&path).map_err(Error::unavailable)?;
    let secure = match config.deleted {
        Deleted::LeftInFreePages => "OFF",
        Deleted::Overwritten => "ON",
    };
    // The real path is set below: a path need not be valid in a URL.
    let mut options = ConnectOptions::new("sqlite://file");
    quiet(&mut options, config);
    options.map_sqlx_sqlite_opts(move |sqlite| {
        sqlite
            .filename(&path)
            .create_if_missing(false)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(WAIT)
            .foreign_keys(true)
            .pragma("secure_delete", secure)
            .optimize_on_close(true, None)
    });
    Ok(options)
}

/// Creates the file for its owner alone; SQLite gives its log and index files the same mode.
fn create_private(path: &Path) -> std::io::Result<()> {
    match OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
    {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

fn postgres(url: &Url, config: &DatabaseConfig) -> Result<ConnectOptions, Error> {
    // The driver's own trace span prints the URL: the password takes another way.
    let mut plain = url.clone();
    let password = match url.password() {
        Some(encoded) => {
            let decoded = percent_decode_str(encoded)
                .decode_utf8()
                .map_err(Error::other)?;
            Some(decoded.into_owned())
        }
        None => None,
    };
    if plain.set_password(None).is_err() {
        return Err(Error::other(crate::DatabaseUrlError::Postgres));
    }
    let mut options = ConnectOptions::new(plain.as_str());
    quiet(&mut options, config);
    options
        .set_application_name(&config.application_name)
        .statement_timeout(config.statement_timeout)
        .test_before_acquire_if_idle_for(CHECK_AFTER_IDLE)
        .map_sqlx_postgres_opts(move |postgres| match &password {
            Some(password) => postgres.password(password),
            None => postgres,
        });
    Ok(options)
}
