//! A registry in this process, on its own database and clock, and clients with a token each.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::{Duration, SystemTime},
};

use connector_registry::{App, Config};
use contracts::registry::v1::{self as pb, connector_service_client::ConnectorServiceClient};
use database::testing::TestDatabase;
use http::{HeaderValue, header::AUTHORIZATION};
use identity::{Principal, TokenSpec, issue_tokens, read_token, suite_tokens};
use lifecycle::Clock;
use names::access::{Role, Verb};
use rpc::error::ErrorView;
use tempfile::TempDir;
use tonic::{
    Request, Status, service::Interceptor, service::interceptor::InterceptedService,
    transport::Channel,
};

use crate::vault::Vault;

/// A client with a token.
pub(crate) type Client = ConnectorServiceClient<InterceptedService<Channel, Bearer>>;

/// Sends a token with every call.
#[derive(Clone)]
pub(crate) struct Bearer(HeaderValue);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let value = self.0.to_str().unwrap().parse().unwrap();
        request.metadata_mut().insert(AUTHORIZATION.as_str(), value);
        Ok(request)
    }
}

/// A registry with its vault.
pub(crate) struct Suite {
    app: App,
    pub(crate) vault: Vault,
    pub(crate) clock: Clock,
    config: Config,
    tokens: PathBuf,
    _folder: TempDir,
}

impl Suite {
    /// With the policy of one person's machine.
    pub(crate) async fn start(database: &TestDatabase) -> Self {
        Self::start_with(database, |config| config.policy = policy::Policy::local()).await
    }

    pub(crate) async fn start_with(
        database: &TestDatabase,
        change: impl FnOnce(&mut Config),
    ) -> Self {
        let folder = TempDir::with_prefix("registry-test-").unwrap();
        let claims = |name: &str, role, scope: &str, verbs: &[Verb]| TokenSpec {
            name: name.into(),
            principal: Principal::with_role(name, role)
                .with_claim(scope.parse().unwrap(), verbs.iter().copied()),
        };
        let mut specs = suite_tokens();
        specs.push(claims(
            "ada",
            Role::Caller,
            "users/ada",
            &[Verb::Use, Verb::Manage],
        ));
        specs.push(claims(
            "bob",
            Role::Caller,
            "users/bob",
            &[Verb::Use, Verb::Manage],
        ));
        specs.push(claims("reader", Role::Caller, "users/ada", &[Verb::Use]));
        let tokens_file = issue_tokens(folder.path(), &specs).unwrap();
        let vault = Vault::start(&tokens_file);
        let mut config = Config::new(database.url(), tokens_file);
        config.listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        config.vault_address = format!("http://{}", vault.address());
        config.migrate = true;
        change(&mut config);
        let clock = Clock::manual(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000));
        let app = App::start_at(config.clone(), clock.clone()).await.unwrap();
        Self {
            app,
            vault,
            clock,
            config,
            tokens: folder.path().join("tokens"),
            _folder: folder,
        }
    }

    /// Ends the registry and starts it again on the same database.
    pub(crate) async fn restart(self) -> Self {
        let Self {
            app,
            vault,
            clock,
            config,
            tokens,
            _folder,
        } = self;
        app.stop().await;
        let app = App::start_at(config.clone(), clock.clone()).await.unwrap();
        Self {
            app,
            vault,
            clock,
            config,
            tokens,
            _folder,
        }
    }

    /// Ends the registry in order, watches included.
    pub(crate) async fn stop(self) {
        self.app.stop().await;
    }

    /// A client for the token of this name, on a connection of its own.
    pub(crate) fn client(&self, token: &str) -> Client {
        let token = read_token(&self.tokens.join(token)).unwrap();
        let bearer = Bearer(format!("Bearer {}", token.expose()).parse().unwrap());
        let endpoint = Channel::from_shared(format!("http://{}", self.app.address())).unwrap();
        ConnectorServiceClient::with_interceptor(endpoint.connect_lazy(), bearer)
    }

    /// A raw channel with the smallest windows, for a reader that does not read.
    pub(crate) fn narrow_client(&self, token: &str) -> Client {
        let token = read_token(&self.tokens.join(token)).unwrap();
        let bearer = Bearer(format!("Bearer {}", token.expose()).parse().unwrap());
        let endpoint = Channel::from_shared(format!("http://{}", self.app.address())).unwrap();
        let endpoint = endpoint
            .initial_stream_window_size(1_024)
            .initial_connection_window_size(65_535);
        ConnectorServiceClient::with_interceptor(endpoint.connect_lazy(), bearer)
    }
}

/// A header whose value is a secret.
pub(crate) fn secret(name: &str, value: &str) -> pb::Variable {
    let value = Some(pb::variable::Value::Secret(value.into()));
    pb::Variable {
        name: name.into(),
        prefix: String::new(),
        value,
    }
}

/// A header whose value is a secret that comes later.
pub(crate) fn declared(name: &str) -> pb::Variable {
    pb::Variable {
        name: name.into(),
        ..Default::default()
    }
}

pub(crate) fn plain(name: &str, value: &str) -> pb::Variable {
    let value = Some(pb::variable::Value::Plain(value.into()));
    pb::Variable {
        name: name.into(),
        prefix: String::new(),
        value,
    }
}

/// A streamable HTTP connector.
pub(crate) fn http(headers: Vec<pb::Variable>) -> pb::Connector {
    let transport = pb::StreamableHttpTransport {
        url: "https://mcp.example/mcp".into(),
        headers,
    };
    pb::Connector {
        display_name: "My server".into(),
        transport: Some(pb::connector::Transport::StreamableHttp(transport)),
        ..Default::default()
    }
}

/// A stdio connector.
pub(crate) fn stdio(environment: Vec<pb::Variable>) -> pb::Connector {
    let transport = pb::StdioTransport {
        command: "npx".into(),
        environment,
        ..Default::default()
    };
    pb::Connector {
        display_name: "My server".into(),
        transport: Some(pb::connector::Transport::Stdio(transport)),
        ..Default::default()
    }
}

/// A request to create `connector` in `parent`.
pub(crate) fn creation(
    parent: &str,
    id: &str,
    connector: pb::Connector,
) -> pb::CreateConnectorRequest {
    pb::CreateConnectorRequest {
        parent: parent.into(),
        connector_id: id.into(),
        connector: Some(connector),
        ..Default::default()
    }
}

/// Creates a connector of ada's.
pub(crate) async fn create(
    client: &mut Client,
    id: &str,
    connector: pb::Connector,
) -> pb::Connector {
    let created = client
        .create_connector(creation("users/ada", id, connector))
        .await;
    created.unwrap().into_inner().connector.unwrap()
}

pub(crate) async fn get(client: &mut Client, name: &str) -> Result<pb::Connector, Status> {
    let request = pb::GetConnectorRequest { name: name.into() };
    Ok(client
        .get_connector(request)
        .await?
        .into_inner()
        .connector
        .unwrap())
}

pub(crate) async fn delete(client: &mut Client, name: &str) -> Result<i64, Status> {
    let request = pb::DeleteConnectorRequest {
        name: name.into(),
        ..Default::default()
    };
    Ok(client
        .delete_connector(request)
        .await?
        .into_inner()
        .revision)
}

/// Reads a connector until it is as the test expects.
pub(crate) async fn until(
    client: &mut Client,
    name: &str,
    is: impl Fn(Result<&pb::Connector, &Status>) -> bool,
) {
    let reading = async {
        while !is(get(client, name).await.as_ref()) {
            tokio::task::yield_now().await;
        }
    };
    let read = tokio::time::timeout(Duration::from_secs(20), reading).await;
    assert!(read.is_ok(), "{name} never became what was expected");
}

/// The error of a refused call, as a program reads it.
pub(crate) fn refusal<T: std::fmt::Debug>(outcome: Result<T, Status>) -> (tonic::Code, ErrorView) {
    let status = outcome.unwrap_err();
    let view = ErrorView::of(&status);
    (
        status.code(),
        view.unwrap_or_else(|| panic!("not a rich error: {status:?}")),
    )
}

/// The reason of a refused call.
pub(crate) fn reason<T: std::fmt::Debug>(outcome: Result<T, Status>) -> String {
    refusal(outcome).1.reason
}

/// The fields a refused call complains about.
pub(crate) fn fields<T: std::fmt::Debug>(outcome: Result<T, Status>) -> Vec<String> {
    let (code, view) = refusal(outcome);
    assert_eq!(code, tonic::Code::InvalidArgument);
    view.fields.into_iter().map(|(field, _)| field).collect()
}

/// Moves a clock on, step by step, until what it should bring about has come.
pub(crate) async fn advance_until<T>(
    clock: &Clock,
    by: Duration,
    what: &str,
    reached: impl Future<Output = T>,
) -> T {
    tokio::pin!(reached);
    for _ in 0..1_000 {
        if let Ok(outcome) = tokio::time::timeout(Duration::from_millis(20), &mut reached).await {
            return outcome;
        }
        clock.advance(by);
    }
    panic!("{what} never came");
}
