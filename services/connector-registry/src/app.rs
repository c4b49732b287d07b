//! The registry put together: tokens, database, vault client, use cases, tasks, server; started in that order, stopped
//! in the reverse one.
//!
//! Invariant: no task outlives the app. Not here: the command line (`command`), and signals.

use std::{net::SocketAddr, time::Duration};

use contracts::registry::v1::connector_service_server::ConnectorServiceServer;
use database::{Database, DatabaseConfig, Schema, SchemaError};
use identity::{Gate, StaticTokens, TokensFileError};
use lifecycle::{Clock, EarlyEnd, Tasks};
use rpc::{
    BindError, Listener, Running, Server, ServerOptions,
    client::{ClientOptions, ConnectError, Token},
};

use crate::{
    config::Config,
    domain::quota::Quotas,
    grpc::Service,
    registry::{Registry, Settings},
    store::{self, Store},
    upstream::vault::Vault,
};

const STOP_GRACE: Duration = Duration::from_secs(5);
/// The contract's longest silence of a watch, less a little for the way.
const LONGEST_SILENCE: Duration = Duration::from_secs(28);
const PACKAGE: &str = "/patchbay.registry.v1.";
const VAULT_PACKAGE: &str = "/patchbay.vault.v1.";

/// A registry that serves. Dropping it ends everything at once; [`App::stop`] is the orderly way.
#[derive(Debug)]
pub struct App {
    server: Running,
    tasks: Tasks,
    database: Database,
}

/// Why the registry did not start. Nothing serves.
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
    /// The change feed cannot be read.
    #[error("the change feed cannot be read")]
    Feed(#[source] store::Error),
    /// The vault's address or our own token.
    #[error("the vault cannot be called")]
    Vault(#[from] ConnectError),
    /// The address.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The server's own set-up: our bug.
    #[error(transparent)]
    Server(#[from] rpc::StartError),
}

impl App {
    /// Starts the registry. The vault need not be there yet.
    ///
    /// # Errors
    /// [`StartError`] says what an operator has to do.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        Self::start_at(config, Clock::system()).await
    }

    /// Starts the registry on a clock of the caller's, for tests of everything that expires.
    ///
    /// # Errors
    /// As [`App::start`].
    pub async fn start_at(config: Config, clock: Clock) -> Result<Self, StartError> {
        let tokens = StaticTokens::read(&config.tokens_file)?;
        let listener = Listener::bind(config.listen)?;
        let database = open_database(&config).await?;
        let store = Store::open(database.clone())
            .await
            .map_err(StartError::Feed)?;
        let vault = connect_vault(&config)?;
        let tasks = Tasks::new("connector-registry");
        let detached = tasks.child("detached");
        let registry = Registry::new(store, vault, clock, settings(&config), detached);
        start_workers(&registry, &tasks);
        let service = Service::new(registry, tasks.child("watches"));
        let gate = Gate::new(tokens, rules(PACKAGE));
        let server = Server::new(ServerOptions::default(), gate)
            .descriptors(contracts::FILE_DESCRIPTOR_SET)
            .add(rpc::within_limits!(ConnectorServiceServer::new(service)))
            .start(listener)?;
        tasks.spawn(
            "database-watch",
            program::watch_database(database.clone(), server.health(), tasks.token()),
        );
        server.set_ready(true);
        tracing::info!(address = %server.address(), database = %database.url(), "connector-registry serves");
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

    /// Completes if a part of the registry ends by itself, which is an error. Cancel safe.
    pub async fn early_end(&self) -> EarlyEnd {
        tokio::select! {
            end = self.server.early_end() => end,
            end = self.tasks.early_end() => end,
        }
    }

    /// Stops in order: no new calls, watches are told to resume elsewhere, calls in flight finish within their bound,
    /// then the workers, then the database.
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
        tracing::info!(clean, "connector-registry stopped");
    }
}

fn start_workers(registry: &Registry, tasks: &Tasks) {
    let (worker, stop) = (registry.clone(), tasks.token());
    tasks.spawn("revocations", async move { worker.revoke(stop).await });
    let (worker, stop) = (registry.clone(), tasks.token());
    tasks.spawn("outbox", async move { worker.work_off(stop).await });
    let (worker, stop) = (registry.clone(), tasks.token());
    tasks.spawn("sweeper", async move { worker.keep_clean(stop).await });
    let (worker, stop) = (registry.clone(), tasks.token());
    tasks.spawn("feed", async move { worker.follow_feed(stop).await });
}

fn settings(config: &Config) -> Settings {
    Settings {
        quotas: Quotas {
            user: config.user_quota,
            project: config.project_quota,
        },
        policy: config.policy.clone(),
        presence: config.presence,
        provisioning: config.provisioning,
        deletions: config.retention,
        progress: config.progress.min(LONGEST_SILENCE),
        slow_reader: config.slow_reader,
        ..Settings::default()
    }
}

fn rules(package: &'static str) -> impl Iterator<Item = &'static names::access::MethodRule> {
    contracts::method_rules()
        .iter()
        .filter(move |rule| rule.path.starts_with(package))
}

fn connect_vault(config: &Config) -> Result<Vault, ConnectError> {
    let token = Token::File(config.token_file.clone());
    let options = ClientOptions::new(config.vault_address.clone(), token, rules(VAULT_PACKAGE));
    Ok(Vault::new(rpc::client::connect(options)?.unary))
}

async fn open_database(config: &Config) -> Result<Database, StartError> {
    let url = config.database_url.to_string();
    let database = connect(config.database_url.clone())
        .await
        .map_err(|error| StartError::Database { url, error })?;
    if config.migrate {
        migrations::up::<migrations::Registry>(database.connection()).await?;
    }
    let schema = Schema {
        tracking_table: migrations::tracking_table::<migrations::Registry>(),
        migrations: migrations::names::<migrations::Registry>(),
        command: "connector-registry migrate up".into(),
    };
    database.check_schema(&schema).await?;
    Ok(database)
}

/// Connects as the registry does.
pub(crate) async fn connect(url: database::DatabaseUrl) -> Result<Database, database::Error> {
    Database::connect(DatabaseConfig::new(url, "connector-registry")).await
}
