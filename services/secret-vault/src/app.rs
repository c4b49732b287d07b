//! The vault put together: tokens, database, keys, use cases, server; started in that order, stopped in the
//! reverse one.
//!
//! Not here: the command line (`command`), and signals.

use std::error::Error as StdError;
use std::net::SocketAddr;
use std::time::Duration;

use database::{Database, DatabaseConfig, Schema, SchemaError};
use identity::{Gate, StaticTokens, TokensFileError};
use lifecycle::{Clock, EarlyEnd, Tasks};
use rpc::{BindError, Listener, Running, Server, ServerOptions};

use crate::config::Config;
use crate::grpc;
use crate::keyring::{KeyFile, Keyring};
use crate::vault::{Limits, Vault};

const STOP_GRACE: Duration = Duration::from_secs(5);

/// A vault that serves. Dropping it ends everything at once; [`App::stop`] is the orderly way.
#[derive(Debug)]
pub struct App {
    server: Running,
    tasks: Tasks,
    database: Database,
}

/// Why the vault did not start. Nothing serves, and no key was made over existing data.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The callers' token hashes.
    #[error("the tokens file cannot be used")]
    Tokens(#[from] TokensFileError),
    /// The database cannot be reached.
    #[error("the database at {url} cannot be used")]
    Database {
        /// Where it should be.
        url: String,
        /// Why not.
        #[source]
        error: database::Error,
    },
    /// The schema could not be brought up to date.
    #[error("the schema cannot be brought up to date")]
    Migrate(#[from] migrations::Error),
    /// The schema is not one this build runs on.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// The keys cannot be unlocked.
    #[error("the vault's keys cannot be unlocked")]
    Keys(#[source] Box<dyn StdError + Send + Sync>),
    /// The address.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The server's own set-up: our bug.
    #[error(transparent)]
    Server(#[from] rpc::StartError),
}

impl App {
    /// Starts the vault.
    ///
    /// # Errors
    /// [`StartError`] says what an operator has to do.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        Self::start_at(config, Clock::system()).await
    }

    /// Starts the vault on a clock of the caller's, for tests of everything that expires.
    ///
    /// # Errors
    /// As [`App::start`].
    pub async fn start_at(config: Config, clock: Clock) -> Result<Self, StartError> {
        let tokens = StaticTokens::read(&config.tokens_file)?;
        let listener = Listener::bind(config.listen)?;
        let database = open_database(&config).await?;
        let key_file = KeyFile::new(config.key_file);
        let keyring = Keyring::open(&database, &key_file, &clock)
            .await
            .map_err(|error| StartError::Keys(Box::new(error)))?;
        let tasks = Tasks::new("secret-vault");
        let limits = Limits {
            lease_ttl: config.lease_ttl.min(Duration::from_secs(60 * 60)),
            grants_per_second: config.grants_per_second,
            grant_burst: config.grant_burst,
        };
        let vault = Vault::start(database.clone(), keyring, clock, limits, &tasks);
        let gate = Gate::new(tokens, contracts::method_rules());
        let server = Server::new(ServerOptions::default(), gate)
            .descriptors(contracts::FILE_DESCRIPTOR_SET)
            .add(grpc::service(vault))
            .start(listener)?;
        let watch = program::watch_database(database.clone(), server.health(), tasks.token());
        tasks.spawn("database-watch", watch);
        server.set_ready(true);
        tracing::info!(address = %server.address(), database = %database.url(), "secret-vault serves");
        Ok(Self {
            server,
            tasks,
            database,
        })
    }

    /// The address it serves on, with the real port.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Completes if a part of the vault ends by itself, which is an error. Cancel safe.
    pub async fn early_end(&self) -> EarlyEnd {
        tokio::select! {
            end = self.server.early_end() => end,
            end = self.tasks.early_end() => end,
        }
    }

    /// Stops in order: no new calls, calls in flight finish within their bound, then the writer, then the
    /// database.
    pub async fn stop(self) {
        let Self {
            server,
            tasks,
            database,
        } = self;
        let served = server.stop().await;
        let worked = tasks.stop(STOP_GRACE).await;
        if let Err(error) = database.close().await {
            tracing::warn!(%error, "the database was not closed cleanly");
        }
        let clean = served.is_clean() && worked.is_clean();
        tracing::info!(clean, "secret-vault stopped");
    }
}

async fn open_database(config: &Config) -> Result<Database, StartError> {
    let url = config.database_url.to_string();
    let database = connect(config.database_url.clone())
        .await
        .map_err(|error| StartError::Database { url, error })?;
    if config.migrate {
        migrations::up::<migrations::Vault>(database.connection()).await?;
    }
    let schema = Schema {
        tracking_table: migrations::tracking_table::<migrations::Vault>(),
        migrations: migrations::names::<migrations::Vault>(),
        command: "secret-vault migrate up".into(),
    };
    database.check_schema(&schema).await?;
    Ok(database)
}

/// Connects as the vault does: what is deleted is overwritten.
pub(crate) async fn connect(url: database::DatabaseUrl) -> Result<Database, database::Error> {
    Database::connect(DatabaseConfig::new(url, "secret-vault").secure_delete()).await
}
