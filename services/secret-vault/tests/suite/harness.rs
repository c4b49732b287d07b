//! A real vault on a fresh database with a clock that stands still, and clients in every role.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use contracts::vault::v1 as pb;
use contracts::vault::v1::secret_service_client::SecretServiceClient;
use database::testing::TestDatabase;
use identity::{Principal, TokenSpec, issue_tokens, suite_tokens};
use lifecycle::Clock;
use names::access::Role;
use rpc::client::{Channel, ClientOptions, Token, connect};
use rpc::error::ErrorView;
use sea_orm::{ConnectionTrait as _, DbBackend, Statement, Value};
use secret_vault::{App, Config, StartError};
use tempfile::TempDir;
use tonic::{Code, Status};
use uuid::Uuid;

pub(crate) type Client = SecretServiceClient<Channel>;

pub(crate) const SCOPE: &str = "users/ada";
pub(crate) const DESTINATION: &str = "https://api.example.com:443";
/// A second principal in the runtime's role.
pub(crate) const OTHER_RUNTIME: &str = "runtime-other";

/// A running vault with everything around it.
pub(crate) struct Vault {
    app: Option<App>,
    pub(crate) config: Config,
    pub(crate) clock: Clock,
    pub(crate) folder: TempDir,
    pub(crate) database: TestDatabase,
}

impl Vault {
    pub(crate) async fn start(database: TestDatabase) -> Self {
        Self::start_with(database, |_| {}).await
    }

    pub(crate) async fn start_with(
        database: TestDatabase,
        change: impl FnOnce(&mut Config),
    ) -> Self {
        let folder = TempDir::with_prefix("patchbay-vault-").unwrap();
        let mut specs = suite_tokens();
        let principal = Principal {
            subject: OTHER_RUNTIME.into(),
            ..runtime_principal()
        };
        specs.push(TokenSpec {
            name: OTHER_RUNTIME.into(),
            principal,
        });
        let tokens = issue_tokens(folder.path(), &specs).unwrap();
        let mut config = Config::new(database.url(), folder.path().join("vault.key"), tokens);
        config.listen.set_port(0);
        config.migrate = true;
        change(&mut config);
        let clock = Clock::manual(SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000));
        let app = Some(App::start_at(config.clone(), clock.clone()).await.unwrap());
        Self {
            app,
            config,
            clock,
            folder,
            database,
        }
    }

    pub(crate) async fn stop(&mut self) {
        self.app.take().unwrap().stop().await;
    }

    /// Starts the stopped vault again.
    pub(crate) async fn try_start(&mut self) -> Result<(), StartError> {
        self.app = Some(App::start_at(self.config.clone(), self.clock.clone()).await?);
        Ok(())
    }

    pub(crate) async fn restart(&mut self) {
        self.stop().await;
        self.try_start().await.unwrap();
    }

    pub(crate) fn key_file(&self) -> PathBuf {
        self.config.key_file.clone()
    }

    pub(crate) fn address(&self) -> String {
        format!("http://{}", self.app.as_ref().unwrap().address())
    }

    pub(crate) fn channel(&self, token: Token) -> Channel {
        drop(rustls::crypto::ring::default_provider().install_default());
        let options = ClientOptions::new(self.address(), token, contracts::method_rules());
        connect(options).unwrap().unary
    }

    /// A client with the token of this name.
    pub(crate) fn client(&self, token: &str) -> Client {
        let file = self.folder.path().join("tokens").join(token);
        SecretServiceClient::new(self.channel(Token::File(file)))
    }

    pub(crate) fn registry(&self) -> Client {
        self.client(Role::ConnectorRegistry.as_str())
    }

    pub(crate) fn runtime(&self) -> Client {
        self.client(Role::RuntimeSync.as_str())
    }

    /// Stores a header's value; gives the name of its version.
    pub(crate) async fn add(
        &self,
        scope: &str,
        connector: Uuid,
        header: &str,
        value: &str,
    ) -> String {
        let request = add(scope, connector, header, value);
        version(
            self.registry()
                .add_secret_version(request)
                .await
                .unwrap()
                .into_inner()
                .secret,
        )
    }

    /// Makes a grant for the usual holder.
    pub(crate) async fn grant(&self, scope: &str, connector: Uuid, versions: &[&str]) -> String {
        let request = grant(scope, connector, versions);
        self.registry()
            .create_grant(request)
            .await
            .unwrap()
            .into_inner()
            .grant_token
    }

    /// Makes and spends a grant.
    pub(crate) async fn release(
        &self,
        scope: &str,
        connector: Uuid,
        version: &str,
    ) -> Result<String, Status> {
        let request = grant(scope, connector, &[version]);
        let token = self
            .registry()
            .create_grant(request)
            .await?
            .into_inner()
            .grant_token;
        let response = self
            .runtime()
            .redeem_grant(redeem(&token))
            .await?
            .into_inner();
        Ok(String::from_utf8(response.secrets[0].value.clone()).unwrap())
    }

    /// Executes SQL as somebody who can write the database. `?` stands for the values in turn.
    pub(crate) async fn sql(&self, sql: &str, values: impl IntoIterator<Item = Value>) -> u64 {
        let database = self.database.connect().await;
        let statement = statement(database.connection().get_database_backend(), sql, values);
        let result = database.connection().execute_raw(statement).await.unwrap();
        database.close().await.unwrap();
        result.rows_affected()
    }

    /// Executes statements one after the other on one connection.
    pub(crate) async fn sql_in_turn(&self, statements: &[&str]) {
        let config = database::DatabaseConfig::new(self.database.url(), "attacker").connections(1);
        let database = database::Database::connect(config).await.unwrap();
        for statement in statements {
            database
                .connection()
                .execute_unprepared(statement)
                .await
                .unwrap();
        }
        database.close().await.unwrap();
    }

    /// The first column of every row, as text.
    pub(crate) async fn column(&self, sql: &str) -> Vec<String> {
        let database = self.database.connect().await;
        let statement = statement(database.connection().get_database_backend(), sql, []);
        let rows = database
            .connection()
            .query_all_raw(statement)
            .await
            .unwrap();
        let column = rows
            .iter()
            .map(|row| row.try_get_by_index(0).unwrap())
            .collect();
        database.close().await.unwrap();
        column
    }

    /// Reasons in the audit that are no success, oldest first.
    pub(crate) async fn refusals(&self) -> Vec<String> {
        self.column(
            "SELECT reason FROM audit_events WHERE decision <> 'allowed' ORDER BY time, seq",
        )
        .await
    }

    pub(crate) async fn count(&self, table: &str) -> usize {
        self.column(&format!("SELECT 'x' FROM {table}")).await.len()
    }
}

fn statement(backend: DbBackend, sql: &str, values: impl IntoIterator<Item = Value>) -> Statement {
    let mut text = String::new();
    for (index, part) in sql.split('?').enumerate() {
        if index > 0 {
            text += &format!("${index}");
        }
        text += part;
    }
    Statement::from_sql_and_values(backend, text, values)
}

fn runtime_principal() -> Principal {
    let runtime = suite_tokens()
        .into_iter()
        .find(|spec| spec.name == Role::RuntimeSync.as_str());
    runtime.unwrap().principal
}

pub(crate) fn add(
    scope: &str,
    connector: Uuid,
    header: &str,
    value: &str,
) -> pb::AddSecretVersionRequest {
    pb::AddSecretVersionRequest {
        parent: scope.into(),
        connector_uid: connector.to_string(),
        field_kind: pb::FieldKind::Header.into(),
        field_name: header.into(),
        value: value.into(),
        destinations: vec![DESTINATION.into()],
        request_id: Uuid::new_v4().to_string(),
    }
}

pub(crate) fn patch(
    connector: Uuid,
    set: &[(&str, &str)],
    unset: &[&str],
) -> pb::PatchSecretBlobRequest {
    let entry = |(name, value): &(&str, &str)| pb::BlobEntry {
        name: (*name).into(),
        value: (*value).into(),
    };
    pb::PatchSecretBlobRequest {
        parent: SCOPE.into(),
        connector_uid: connector.to_string(),
        set: set.iter().map(entry).collect(),
        unset: unset.iter().map(|name| (*name).into()).collect(),
        destinations: vec![DESTINATION.into()],
        request_id: Uuid::new_v4().to_string(),
    }
}

pub(crate) fn grant(scope: &str, connector: Uuid, versions: &[&str]) -> pb::CreateGrantRequest {
    pb::CreateGrantRequest {
        parent: scope.into(),
        connector_uid: connector.to_string(),
        secret_versions: versions.iter().map(|name| (*name).into()).collect(),
        destination: DESTINATION.into(),
        holder: Some(pb::GrantHolder {
            subject: Role::RuntimeSync.as_str().into(),
            instance_id: "runtime-1".into(),
            lease_epoch: 3,
        }),
        ttl: None,
    }
}

pub(crate) fn redeem(token: &str) -> pb::RedeemGrantRequest {
    pb::RedeemGrantRequest {
        grant_token: token.into(),
        destination: DESTINATION.into(),
        instance_id: "runtime-1".into(),
        lease_epoch: 3,
    }
}

/// The name of the current version in an answer.
pub(crate) fn version(secret: Option<pb::Secret>) -> String {
    secret.unwrap().current_version.unwrap().name
}

/// The name of the secret of a version.
pub(crate) fn secret_of(version: &str) -> String {
    version.split("/versions/").next().unwrap().to_owned()
}

/// The id of the secret of a version, as the database holds it.
pub(crate) fn id_of(version: &str) -> Value {
    let id = secret_of(version)
        .rsplit('/')
        .next()
        .unwrap()
        .parse::<Uuid>()
        .unwrap();
    id.into()
}

pub(crate) fn connector() -> Uuid {
    Uuid::now_v7()
}

/// Asserts code and reason of a refusal.
#[track_caller]
pub(crate) fn refused<T: std::fmt::Debug>(
    outcome: Result<T, Status>,
    code: Code,
    reason: &str,
) -> Status {
    let status = outcome.expect_err("must be refused");
    let view = ErrorView::of(&status);
    let found = view.as_ref().map(|view| view.reason.as_str());
    assert_eq!((status.code(), found), (code, Some(reason)), "{status:?}");
    status
}
