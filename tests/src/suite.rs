//! The three services in this process, each on a free port, with databases and tokens of its own.

use std::net::SocketAddr;

use identity::{Principal, TokenSpec};
use names::access::{Role, Verb};
use program::PolicyChoice;
use tempfile::TempDir;
use tonic::Status;

use crate::clients::{Addresses, Clients, lazy_channel};
use crate::services::Services;

pub use database::Engine;

/// A running suite. What a test leaves running ends with it.
pub struct Suite {
    services: Services,
    addresses: Addresses,
    folder: TempDir,
}

impl Suite {
    /// Starts on SQLite.
    pub async fn start() -> Self {
        Self::start_on(Engine::Sqlite).await
    }

    /// Starts on a database of a kind.
    ///
    /// # Panics
    /// When a service does not start.
    pub async fn start_on(engine: Engine) -> Self {
        Self::start_with(engine, PolicyChoice::Local).await
    }

    /// Starts with the policy of an installation that serves many: no programs, no private addresses.
    ///
    /// # Panics
    /// When a service does not start.
    pub async fn start_strict() -> Self {
        Self::start_with(Engine::Sqlite, PolicyChoice::Default).await
    }

    async fn start_with(engine: Engine, policy: PolicyChoice) -> Self {
        // Another test of this process may have been first.
        drop(rustls::crypto::ring::default_provider().install_default());
        let folder = TempDir::with_prefix("patchbay-suite-").unwrap();
        let tokens_file = identity::issue_tokens(folder.path(), &tokens()).unwrap();
        let services = Services::start(engine, policy, folder.path(), &tokens_file).await;
        let addresses = services.addresses();
        Self {
            services,
            addresses,
            folder,
        }
    }

    /// Stops in order, which is bounded.
    ///
    /// # Panics
    /// When a service does not stop as it should.
    pub async fn stop(self) {
        self.services.stop().await;
    }

    /// Stops the vault alone.
    pub async fn stop_vault(&mut self) {
        self.services.stop_vault().await;
    }

    /// Where the services listen.
    #[must_use]
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// The raw token of a role, or of `ada`, `ada-reader`, `bob`.
    ///
    /// # Panics
    /// When there is no such token.
    #[must_use]
    pub fn token(&self, name: &str) -> String {
        let path = self.folder.path().join("tokens").join(name);
        identity::read_token(&path).unwrap().expose().to_owned()
    }

    /// Clients with the token of a role, or of `ada`, `ada-reader`, `bob`.
    #[must_use]
    pub fn clients(&self, name: &str) -> Clients {
        Clients::new(self.addresses, Some(&self.token(name)))
    }

    /// May use and manage every scope.
    #[must_use]
    pub fn caller(&self) -> Clients {
        self.clients("caller")
    }

    /// May everything but play a service.
    #[must_use]
    pub fn operator(&self) -> Clients {
        self.clients("operator")
    }

    /// May look at every scope.
    #[must_use]
    pub fn viewer(&self) -> Clients {
        self.clients("viewer")
    }

    /// May use and manage `users/ada`.
    #[must_use]
    pub fn ada(&self) -> Clients {
        self.clients("ada")
    }

    /// May use and manage `users/bob`.
    #[must_use]
    pub fn bob(&self) -> Clients {
        self.clients("bob")
    }

    /// Has no credential.
    #[must_use]
    pub fn anonymous(&self) -> Clients {
        Clients::new(self.addresses, None)
    }

    /// Has a credential that the test made up.
    #[must_use]
    pub fn with_token(&self, token: &str) -> Clients {
        Clients::new(self.addresses, Some(token))
    }

    /// Calls a method that our clients do not know, as the operator.
    ///
    /// # Panics
    /// When it is answered.
    pub async fn call_unknown(&self, address: SocketAddr, path: &'static str) -> Status {
        let mut request = tonic::Request::new(());
        let value = format!("Bearer {}", self.token("operator"))
            .parse()
            .unwrap();
        request.metadata_mut().insert("authorization", value);
        let mut client = tonic::client::Grpc::new(lazy_channel(address));
        client.ready().await.unwrap();
        let codec = tonic_prost::ProstCodec::<(), ()>::default();
        let path = http::uri::PathAndQuery::from_static(path);
        match client.unary(request, path, codec).await {
            Ok(_) => panic!("{address} answers"),
            Err(status) => status,
        }
    }
}

/// One token for each role, and callers that hold less.
fn tokens() -> Vec<TokenSpec> {
    let own = |name: &str, user: &str, verbs: &[Verb]| TokenSpec {
        name: name.to_owned(),
        principal: Principal::with_role(name, Role::Caller).with_claim(
            format!("users/{user}").parse().unwrap(),
            verbs.iter().copied(),
        ),
    };
    let mut tokens = identity::suite_tokens();
    tokens.push(own("ada", "ada", &[Verb::Use, Verb::Manage]));
    tokens.push(own("ada-reader", "ada", &[Verb::Use]));
    tokens.push(own("bob", "bob", &[Verb::Use, Verb::Manage]));
    tokens
}
