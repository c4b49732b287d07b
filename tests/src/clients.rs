//! gRPC clients with a credential, and what their errors say.

use std::net::SocketAddr;

use contracts::registry::v1::connector_service_client::ConnectorServiceClient;
use contracts::runtime::v1::session_service_client::SessionServiceClient;
use contracts::runtime::v1::tool_service_client::ToolServiceClient;
use contracts::vault::v1::secret_service_client::SecretServiceClient;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};
use tonic_types::StatusExt as _;

/// A channel that sends a token with every call.
pub(crate) type Authenticated = InterceptedService<Channel, Bearer>;

/// Adds the `authorization` header.
#[derive(Clone)]
pub struct Bearer(Option<MetadataValue<Ascii>>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(value) = &self.0 {
            request
                .metadata_mut()
                .insert("authorization", value.clone());
        }
        Ok(request)
    }
}

/// One principal's clients of all services. Cloning is cheap; calls need a clone of their own.
#[derive(Clone)]
pub struct Clients {
    /// Of the registry.
    pub connectors: ConnectorServiceClient<Authenticated>,
    /// Of the runtime.
    pub tools: ToolServiceClient<Authenticated>,
    /// Of the runtime.
    pub sessions: SessionServiceClient<Authenticated>,
    /// Of the vault.
    pub secrets: SecretServiceClient<Authenticated>,
}

/// Where the three services listen.
#[derive(Debug, Clone, Copy)]
pub struct Addresses {
    /// The connector-registry.
    pub registry: SocketAddr,
    /// The secret-vault.
    pub vault: SocketAddr,
    /// The runtime-sync.
    pub runtime: SocketAddr,
}

impl Addresses {
    /// All three.
    #[must_use]
    pub fn all(self) -> [SocketAddr; 3] {
        [self.registry, self.vault, self.runtime]
    }
}

impl Clients {
    /// Connects on first use; without a token every call is anonymous.
    #[must_use]
    pub fn new(addresses: Addresses, token: Option<&str>) -> Self {
        let bearer = Bearer(token.map(|token| format!("Bearer {token}").parse().unwrap()));
        let channel = |address| InterceptedService::new(lazy_channel(address), bearer.clone());
        let runtime = channel(addresses.runtime);
        Self {
            connectors: ConnectorServiceClient::new(channel(addresses.registry)),
            tools: ToolServiceClient::new(runtime.clone()),
            sessions: SessionServiceClient::new(runtime),
            secrets: SecretServiceClient::new(channel(addresses.vault)),
        }
    }
}

/// A channel that connects on first use, and again whenever it has to.
pub fn lazy_channel(address: SocketAddr) -> Channel {
    Endpoint::from_shared(format!("http://{address}"))
        .unwrap()
        .connect_lazy()
}

/// The machine-readable reason of an error, or an empty text.
#[must_use]
pub fn reason_of(status: &Status) -> String {
    status
        .get_details_error_info()
        .map(|info| info.reason)
        .unwrap_or_default()
}

/// Everything a person would want to know about an error.
#[must_use]
pub fn text_of(status: &Status) -> String {
    let details = status.get_error_details();
    format!("{:?} {:?} {:?}", status.code(), status.message(), details)
}
