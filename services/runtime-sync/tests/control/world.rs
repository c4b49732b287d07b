//! A runtime between a scripted registry, a scripted vault and a real MCP server.

use std::time::Duration;

use contracts::{
    registry::v1 as registry_v1,
    runtime::v1::{
        self as pb, session_service_client::SessionServiceClient,
        tool_service_client::ToolServiceClient,
    },
};
use names::access::{Role, Verb};
use program::PolicyChoice;
use rpc::client::{Channel, ClientOptions, Token};
use rpc::error::ErrorView;
use runtime_sync::{App, Config};
use tonic::{Code, Status};

use crate::{mcp::Mcp, registry::Registry, vault::Vault};

/// Long enough for a loaded machine; nothing waits for it when all is well.
pub(crate) const LONG: Duration = Duration::from_secs(60);
/// The connector of most tests.
pub(crate) const NAME: &str = "users/ada/connectors/time";

/// All of it.
pub(crate) struct World {
    pub(crate) registry: Registry,
    pub(crate) vault: Vault,
    pub(crate) mcp: Mcp,
    pub(crate) app: App,
    pub(crate) folder: tempfile::TempDir,
}

/// Times in which what happens happens fast, and nothing happens by itself.
fn fast(config: &mut Config) {
    let millis = Duration::from_millis;
    let tuning = &mut config.tuning;
    tuning.quick_retry = millis(50);
    tuning.backoff = millis(50);
    tuning.backoff_max = millis(500);
    tuning.stop_grace = millis(3_000);
    tuning.presence_interval = millis(200);
    tuning.peer_backoff = millis(50);
    tuning.drain_timeout = millis(3_000);
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// Starts with settings of the test's own.
    pub(crate) async fn with(set: impl FnOnce(&mut Config)) -> Self {
        drop(rustls::crypto::ring::default_provider().install_default());
        let folder = tempfile::tempdir().unwrap();
        let mut tokens = identity::suite_tokens();
        tokens.push(identity::TokenSpec {
            name: "bob".into(),
            principal: identity::Principal::with_role("bob", Role::Caller)
                .with_claim("users/bob".parse().unwrap(), [Verb::Use, Verb::Manage]),
        });
        let tokens_file = identity::issue_tokens(folder.path(), &tokens).unwrap();
        let (registry, vault) = (Registry::start().await, Vault::start().await);
        let mut config = Config {
            listen: "127.0.0.1:0".parse().unwrap(),
            registry_address: format!("http://{}", registry.address),
            vault_address: format!("http://{}", vault.address),
            tokens_file,
            token_file: folder.path().join("tokens/runtime-sync"),
            instance_name: "test".into(),
            policy: PolicyChoice::Local,
            guard: Some(env!("CARGO_BIN_EXE_runtime-sync").into()),
            ..Config::default()
        };
        fast(&mut config);
        set(&mut config);
        let app = App::start(config).await.unwrap();
        Self {
            registry,
            vault,
            mcp: Mcp::start().await,
            app,
            folder,
        }
    }

    fn channels(&self, token: &str) -> rpc::client::Channels {
        let token = Token::File(self.folder.path().join("tokens").join(token));
        let address = format!("http://{}", self.app.address());
        let options = ClientOptions::new(address, token, contracts::method_rules());
        rpc::client::connect(options).unwrap()
    }

    pub(crate) fn tools(&self) -> ToolServiceClient<Channel> {
        self.tools_as("caller")
    }

    pub(crate) fn tools_as(&self, token: &str) -> ToolServiceClient<Channel> {
        rpc::within_limits!(ToolServiceClient::new(self.channels(token).unary))
    }

    pub(crate) fn sessions(&self) -> SessionServiceClient<Channel> {
        rpc::within_limits!(SessionServiceClient::new(self.channels("caller").unary))
    }

    pub(crate) fn session_streams(&self) -> SessionServiceClient<Channel> {
        rpc::within_limits!(SessionServiceClient::new(self.channels("caller").streams))
    }

    /// A connector to the MCP server, stored in the registry; gives the revision.
    pub(crate) fn connect(&self, name: &str) -> i64 {
        self.registry.put(http_connector(name, &self.mcp.url))
    }

    /// A connector to the MCP server with a secret header.
    pub(crate) fn connect_with_secret(&self, name: &str) -> i64 {
        self.vault
            .header("grant-1", &self.mcp.origin, "authorization", "s3cr3t");
        self.registry
            .state()
            .grants
            .insert(name.into(), "grant-1".into());
        self.registry
            .put(with_secret_header(http_connector(name, &self.mcp.url)))
    }

    /// The uid of a connector.
    pub(crate) fn uid(&self, name: &str) -> String {
        self.registry.state().connectors[name].uid.clone()
    }

    pub(crate) async fn session(&self, name: &str) -> Result<pb::Session, Status> {
        let request = pb::GetSessionRequest {
            connector: name.into(),
            min_revision: 0,
        };
        let response = self.sessions().get_session(request).await?;
        Ok(response.into_inner().session.unwrap())
    }

    /// Waits for a session to be as wanted; the failure text holds the last one.
    pub(crate) async fn wait(
        &self,
        name: &str,
        what: &str,
        wanted: impl Fn(&pb::Session) -> bool,
    ) -> pb::Session {
        let mut last = None;
        let deadline = tokio::time::Instant::now() + LONG;
        let mut ticks = tokio::time::interval(Duration::from_millis(5));
        loop {
            let session = self.session(name).await;
            if let Ok(session) = &session
                && wanted(session)
            {
                return session.clone();
            }
            last = Some(session).or(last);
            assert!(
                tokio::time::Instant::now() < deadline,
                "never {what}: {last:#?}"
            );
            ticks.tick().await;
        }
    }

    pub(crate) async fn state(&self, name: &str, state: pb::SessionState) -> pb::Session {
        self.wait(name, state.as_str_name(), |session| {
            session.state() == state
        })
        .await
    }

    pub(crate) async fn ready(&self, name: &str) -> pb::Session {
        self.state(name, pb::SessionState::Ready).await
    }

    pub(crate) async fn call(
        &self,
        tool: &str,
        arguments: &str,
    ) -> Result<pb::CallToolResponse, Status> {
        let request = call(tool, arguments);
        Ok(self.tools().call_tool(request).await?.into_inner())
    }

    /// Waits until the registry was told what is wanted.
    pub(crate) async fn reported(
        &self,
        what: &str,
        wanted: impl Fn(&crate::registry::State) -> bool,
    ) {
        eventually(what, || wanted(&self.registry.state())).await;
    }
}

/// A call of the usual connector.
pub(crate) fn call(tool: &str, arguments: &str) -> pb::CallToolRequest {
    pb::CallToolRequest {
        connector: NAME.into(),
        tool: tool.into(),
        arguments_json: arguments.into(),
        ..Default::default()
    }
}

/// A connector to an HTTP server.
pub(crate) fn http_connector(name: &str, url: &str) -> registry_v1::Connector {
    let http = registry_v1::StreamableHttpTransport {
        url: url.into(),
        headers: Vec::new(),
    };
    registry_v1::Connector {
        name: name.into(),
        uid: uuid::Uuid::now_v7().to_string(),
        enabled: Some(true),
        transport: Some(registry_v1::connector::Transport::StreamableHttp(http)),
        ..Default::default()
    }
}

/// The connector with a secret `Authorization: Bearer …`.
pub(crate) fn with_secret_header(mut connector: registry_v1::Connector) -> registry_v1::Connector {
    if let Some(registry_v1::connector::Transport::StreamableHttp(http)) = &mut connector.transport
    {
        http.headers.push(registry_v1::Variable {
            name: "Authorization".into(),
            prefix: "Bearer ".into(),
            value: None,
        });
    }
    connector
}

/// What an error says: code, reason, outcome.
pub(crate) fn said(status: &Status) -> (Code, String, String) {
    let view = ErrorView::of(status).unwrap_or_else(|| panic!("no details: {status:?}"));
    let outcome = view.metadata.get("outcome").cloned();
    (status.code(), view.reason, outcome.unwrap_or_default())
}

/// Checks an error.
#[track_caller]
pub(crate) fn assert_error(
    result: Result<pb::CallToolResponse, Status>,
    code: Code,
    reason: &str,
    outcome: &str,
) {
    let status = result.unwrap_err();
    assert_eq!(
        said(&status),
        (code, reason.to_owned(), outcome.to_owned()),
        "{status:?}"
    );
}

/// Waits until something becomes true.
pub(crate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + LONG;
    let mut ticks = tokio::time::interval(Duration::from_millis(5));
    while !holds() {
        assert!(tokio::time::Instant::now() < deadline, "never: {what}");
        ticks.tick().await;
    }
}
