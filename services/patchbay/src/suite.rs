//! The three services in one process, on one data folder: started in the order in which they need each
//! other, stopped in the other.
//!
//! They still meet only over gRPC, each with its own token; nothing is shared but the process. Not here:
//! anything a service does.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use database::DatabaseUrl;
use identity::{issue_tokens, suite_tokens};
use names::access::Role;
use policy::Policy;
use program::PolicyChoice;

use crate::cli::{Global, ServerArgs};
use crate::client::{Client, Peers};
use crate::data_folder::{Addresses, DataFolder};
use crate::failure::Failure;

/// The name of the one runtime of a data folder. It is the same at every start, and so the sessions of a
/// process that was killed are taken over at once.
const INSTANCE_NAME: &str = "up";

/// What a suite is started with.
#[derive(Debug)]
pub(crate) struct SuiteOptions {
    pub(crate) folder: DataFolder,
    pub(crate) registry_listen: SocketAddr,
    pub(crate) vault_listen: SocketAddr,
    pub(crate) runtime_listen: SocketAddr,
    /// This program, which is started again as the guard of each stdio server.
    pub(crate) guard: PathBuf,
    /// What stdio servers get of this environment.
    pub(crate) servers: ServerArgs,
}

impl SuiteOptions {
    /// A suite on ports that the system chooses.
    pub(crate) fn ephemeral(folder: &Path, guard: &Path) -> Result<Self, Failure> {
        let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Ok(Self {
            folder: DataFolder::create(folder)?,
            registry_listen: anywhere,
            vault_listen: anywhere,
            runtime_listen: anywhere,
            guard: guard.to_owned(),
            servers: ServerArgs::default(),
        })
    }
}

/// A running suite. Dropping it ends everything at once; [`Suite::stop`] is the orderly way.
pub(crate) struct Suite {
    folder: DataFolder,
    vault: secret_vault::App,
    registry: connector_registry::App,
    runtime: runtime_sync::App,
}

impl Suite {
    /// Makes tokens, key and databases where there are none, and starts the services. All of them serve
    /// when this returns.
    pub(crate) async fn start(options: SuiteOptions) -> Result<Self, Failure> {
        let SuiteOptions {
            folder,
            registry_listen,
            vault_listen,
            runtime_listen,
            guard,
            servers,
        } = options;
        let tokens =
            issue_tokens(folder.path(), &suite_tokens()).context("the tokens of the suite")?;

        let database = DatabaseUrl::sqlite(folder.vault_database());
        let config = secret_vault::Config {
            listen: vault_listen,
            migrate: true,
            ..secret_vault::Config::new(database, folder.vault_key(), &tokens)
        };
        let vault = secret_vault::App::start(config)
            .await
            .context("secret-vault did not start")?;

        let database = DatabaseUrl::sqlite(folder.registry_database());
        let config = connector_registry::Config {
            listen: registry_listen,
            vault_address: url(vault.address()),
            policy: Policy::local(),
            token_file: folder.token(Role::ConnectorRegistry),
            migrate: true,
            ..connector_registry::Config::new(database, &tokens)
        };
        let started = connector_registry::App::start(config).await;
        let registry = started.context("connector-registry did not start")?;

        let defaults = runtime_sync::Config::default();
        let config = runtime_sync::Config {
            listen: runtime_listen,
            registry_address: url(registry.address()),
            vault_address: url(vault.address()),
            tokens_file: tokens,
            token_file: folder.token(Role::RuntimeSync),
            instance_name: INSTANCE_NAME.to_owned(),
            policy: PolicyChoice::Local,
            guard: Some(guard),
            stdio_path: servers.stdio_path.unwrap_or(defaults.stdio_path.clone()),
            stdio_home: servers.stdio_home.unwrap_or(defaults.stdio_home.clone()),
            ..defaults
        };
        let runtime = runtime_sync::App::start(config)
            .await
            .context("runtime-sync did not start")?;
        Ok(Self {
            folder,
            vault,
            registry,
            runtime,
        })
    }

    /// Where the services listen, with the real ports.
    pub(crate) fn addresses(&self) -> Addresses {
        Addresses {
            registry: self.registry.address(),
            vault: self.vault.address(),
            runtime: self.runtime.address(),
        }
    }

    /// A client of this suite, with the caller's token.
    pub(crate) fn client(&self, global: &Global) -> Result<Client, Failure> {
        let addresses = self.addresses();
        let peers = Peers {
            registry: url(addresses.registry),
            runtime: url(addresses.runtime),
            token_file: self.folder.token(Role::Caller),
        };
        Client::new(&peers, global.output, Duration::from_secs(global.timeout))
    }

    /// Completes when a part of a service ends by itself, which is a failure. Cancel safe.
    pub(crate) async fn early_end(&self) -> Failure {
        let (service, end) = tokio::select! {
            end = self.vault.early_end() => ("secret-vault", end),
            end = self.registry.early_end() => ("connector-registry", end),
            end = self.runtime.early_end() => ("runtime-sync", end),
        };
        anyhow!("{service} failed: {end}").into()
    }

    /// Stops the services in order; each has its own bound.
    pub(crate) async fn stop(self) {
        let Self {
            folder: _,
            vault,
            registry,
            runtime,
        } = self;
        // The runtime gives its leases back to the vault and reports to the registry: it goes first.
        runtime.stop().await;
        registry.stop().await;
        vault.stop().await;
    }
}

/// The address as a peer on this machine dials it.
fn url(address: SocketAddr) -> String {
    format!("http://{}", crate::data_folder::dialled(address))
}
