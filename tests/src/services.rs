//! How the services are put together in one process: who listens where, with which database and which credential.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use database::Engine;
use database::testing::TestDatabase;
use program::PolicyChoice;

use crate::clients::Addresses;
use crate::programs;

/// The three services. The vault may be gone; the others are needed to the end.
pub(crate) struct Services {
    registry: connector_registry::App,
    vault: Option<secret_vault::App>,
    runtime: runtime_sync::App,
    addresses: Addresses,
    // Removed when nothing uses them any more: fields are dropped in this order.
    _databases: [TestDatabase; 2],
}

const ANYWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

impl Services {
    pub(crate) async fn start(
        engine: Engine,
        policy: PolicyChoice,
        folder: &Path,
        tokens_file: &Path,
    ) -> Self {
        let databases = [
            TestDatabase::new(engine).await,
            TestDatabase::new(engine).await,
        ];
        let token_file = |service: &str| folder.join("tokens").join(service);
        let [registry_database, vault_database] = &databases;

        let mut config =
            secret_vault::Config::new(vault_database.url(), folder.join("vault.key"), tokens_file);
        config.listen = ANYWHERE;
        config.migrate = true;
        let vault = secret_vault::App::start(config).await.unwrap();

        let mut config = connector_registry::Config::new(registry_database.url(), tokens_file);
        config.listen = ANYWHERE;
        config.migrate = true;
        config.vault_address = url(vault.address());
        config.token_file = token_file("connector-registry");
        config.policy = policy.policy();
        let registry = connector_registry::App::start(config).await.unwrap();

        let config = runtime_sync::Config {
            listen: ANYWHERE,
            registry_address: url(registry.address()),
            vault_address: url(vault.address()),
            tokens_file: tokens_file.to_owned(),
            token_file: token_file("runtime-sync"),
            instance_name: "the-tests-runtime".to_owned(),
            policy,
            guard: Some(guard()),
            tuning: impatient(),
            ..runtime_sync::Config::default()
        };
        let runtime = runtime_sync::App::start(config).await.unwrap();
        let addresses = Addresses {
            registry: registry.address(),
            vault: vault.address(),
            runtime: runtime.address(),
        };
        Self {
            registry,
            vault: Some(vault),
            runtime,
            addresses,
            _databases: databases,
        }
    }

    pub(crate) fn addresses(&self) -> Addresses {
        self.addresses
    }

    pub(crate) async fn stop(self) {
        let Self {
            registry,
            vault,
            runtime,
            addresses: _,
            _databases,
        } = self;
        runtime.stop().await;
        registry.stop().await;
        if let Some(vault) = vault {
            vault.stop().await;
        }
    }

    pub(crate) async fn stop_vault(&mut self) {
        if let Some(vault) = self.vault.take() {
            vault.stop().await;
        }
    }
}

fn url(address: SocketAddr) -> String {
    format!("http://{address}")
}

/// This executable is a test: it cannot be started again as the guard of a program.
fn guard() -> PathBuf {
    programs::own("runtime-sync")
}

/// Failures are noticed and healed in fractions of the usual time; the rules are the same.
fn impatient() -> runtime_sync::config::Tuning {
    let milliseconds = Duration::from_millis;
    runtime_sync::config::Tuning {
        quick_retry: milliseconds(100),
        backoff: milliseconds(200),
        backoff_max: milliseconds(800),
        probe_interval: milliseconds(500),
        probe_timeout: milliseconds(5_000),
        process_grace: milliseconds(500),
        presence_interval: milliseconds(1_000),
        ..runtime_sync::config::Tuning::default()
    }
}
