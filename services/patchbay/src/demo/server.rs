//! The bundled MCP server: a real one, built on rmcp, over standard input and output or streamable HTTP.
//!
//! `prove_secret` shows that the server holds its secret without ever telling it: it answers with the
//! HMAC-SHA256 of the caller's nonce under the secret. Standard output belongs to the protocol.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::serve::ListenerExt as _;
use chrono::{DateTime, SecondsFormat, Utc};
use hmac::{Hmac, KeyInit as _, Mac as _};
use lifecycle::Clock;
use rmcp::handler::server::router::tool::ToolRouter;
use rmcp::handler::server::wrapper::Parameters;
use rmcp::model::{Implementation, ServerCapabilities, ServerConfig};
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{ErrorData, ServerHandler, ServiceExt as _, schemars, tool, tool_handler, tool_router};
use sensitive::Text;
use sha2::Sha256;
use tokio::net::TcpListener;

/// The path of the server's endpoint over HTTP.
pub(crate) const HTTP_PATH: &str = "/mcp";

/// The demo server.
#[derive(Debug, Clone)]
pub(crate) struct DemoServer {
    secret: Option<Arc<Text>>,
    clock: Clock,
    tool_router: ToolRouter<Self>,
}

/// Arguments of `echo`.
#[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
struct EchoArguments {
    /// What to answer with
    text: String,
}

/// Arguments of `add`.
#[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
struct AddArguments {
    /// The first number
    a: i64,
    /// The second number
    b: i64,
}

/// Arguments of `prove_secret`.
#[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
struct ProveArguments {
    /// Anything the caller has just made up
    nonce: String,
}

#[tool_router]
impl DemoServer {
    /// A server that holds `secret`, if there is one.
    pub(crate) fn new(secret: Option<Text>) -> Self {
        Self {
            secret: secret.map(Arc::new),
            clock: Clock::system(),
            tool_router: Self::tool_router(),
        }
    }

    #[tool(description = "Answers with the text it was given")]
    fn echo(&self, Parameters(EchoArguments { text }): Parameters<EchoArguments>) -> String {
        text
    }

    #[tool(description = "Adds two whole numbers")]
    fn add(
        &self,
        Parameters(AddArguments { a, b }): Parameters<AddArguments>,
    ) -> Result<String, ErrorData> {
        let sum = a.checked_add(b);
        sum.map(|sum| sum.to_string())
            .ok_or_else(|| ErrorData::invalid_params("the sum does not fit 64 bits", None))
    }

    #[tool(description = "Tells the time in UTC")]
    fn time(&self) -> String {
        let now: DateTime<Utc> = self.clock.now().into();
        now.to_rfc3339_opts(SecondsFormat::Millis, true)
    }

    #[tool(
        description = "Proves that the server holds its secret: the HMAC-SHA256 of the nonce under it, in hex"
    )]
    fn prove_secret(
        &self,
        Parameters(ProveArguments { nonce }): Parameters<ProveArguments>,
    ) -> Result<String, String> {
        let secret = self
            .secret
            .as_deref()
            .ok_or("the server was given no secret")?;
        Ok(proof(secret, &nonce))
    }
}

#[tool_handler(router = self.tool_router)]
impl ServerHandler for DemoServer {
    fn get_info(&self) -> ServerConfig {
        let implementation = Implementation::new("patchbay-demo", env!("CARGO_PKG_VERSION"));
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(implementation)
            .with_instructions("A demonstration: echo, add, time, and proof of a secret.")
    }
}

/// HMAC-SHA256 of `nonce` under `secret`, in hex.
pub(crate) fn proof(secret: &Text, nonce: &str) -> String {
    // HMAC takes keys of every length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes()) else {
        return String::new();
    };
    mac.update(nonce.as_bytes());
    mac.finalize()
        .into_bytes()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Serves one client over standard input and output, until it goes away.
pub(crate) async fn serve_stdio(secret: Option<Text>) -> anyhow::Result<()> {
    let running = DemoServer::new(secret)
        .serve(rmcp::transport::io::stdio_pipes())
        .await?;
    running.waiting().await?;
    Ok(())
}

/// Serves streamable HTTP on `listener` until `stop` completes; no session is kept, whatever the era.
pub(crate) async fn serve_http(
    listener: TcpListener,
    stop: impl Future<Output = ()> + Send + 'static,
) -> anyhow::Result<()> {
    let config = StreamableHttpServerConfig::default()
        .with_legacy_session_mode(false)
        .with_json_response(true);
    let service: StreamableHttpService<DemoServer, LocalSessionManager> =
        StreamableHttpService::new(|| Ok(DemoServer::new(None)), Arc::default(), config);
    let router = axum::Router::new().nest_service(HTTP_PATH, service);
    // Without it, small answers on a kept connection wait 40 ms for the client's acknowledgement.
    let listener = listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "the connection keeps Nagle's algorithm");
        }
    });
    axum::serve(listener, router)
        .with_graceful_shutdown(stop)
        .await?;
    Ok(())
}

/// The endpoint of a server that listens on `address`.
pub(crate) fn http_url(address: SocketAddr) -> String {
    format!("http://{address}{HTTP_PATH}")
}

#[cfg(test)]
mod tests {
    use rmcp::model::{CallToolRequestParams, CallToolResult};
    use rmcp::service::RunningService;
    use rmcp::{RoleClient, object};

    use super::*;

    async fn client(secret: Option<&str>) -> RunningService<RoleClient, ()> {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let server = DemoServer::new(secret.map(|secret| Text::new(secret.to_owned())));
        let (served, client) = tokio::join!(server.serve(theirs), ().serve(ours));
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(async move { served.unwrap().waiting().await.unwrap() });
        tasks.detach_all();
        client.unwrap()
    }

    fn text(result: &CallToolResult) -> String {
        let json = serde_json::to_value(result).unwrap();
        json["content"][0]["text"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    #[tokio::test]
    async fn the_tools_are_listed_with_what_they_take() {
        let client = client(None).await;
        let tools = client.list_all_tools().await.unwrap();
        let mut names: Vec<_> = tools.iter().map(|tool| tool.name.as_ref()).collect();
        names.sort_unstable();
        assert_eq!(names, ["add", "echo", "prove_secret", "time"]);
        assert!(tools.iter().all(|tool| tool.description.is_some()));
    }

    #[tokio::test]
    async fn numbers_are_whole_and_64_bits_wide() {
        let client = client(None).await;
        let arguments = object!({"a": 9_007_199_254_740_993_i64, "b": 1});
        let call = CallToolRequestParams::new("add").with_arguments(arguments);
        assert_eq!(
            text(&client.call_tool(call).await.unwrap()),
            "9007199254740994"
        );
        let arguments = object!({"a": i64::MAX, "b": 1});
        let call = CallToolRequestParams::new("add").with_arguments(arguments);
        assert!(client.call_tool(call).await.is_err());
    }

    #[tokio::test]
    async fn the_proof_is_the_keyed_hash_and_never_the_secret() {
        let client = client(Some("Jefe")).await;
        let arguments = object!({"nonce": "what do ya want for nothing?"});
        let call = CallToolRequestParams::new("prove_secret").with_arguments(arguments);
        let result = client.call_tool(call).await.unwrap();
        // RFC 4231, test case 2.
        let expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(text(&result), expected);
        assert!(!format!("{result:?}").contains("Jefe"));
    }

    #[tokio::test]
    async fn without_a_secret_the_tool_says_so() {
        let client = client(None).await;
        let arguments = object!({"nonce": "x"});
        let call = CallToolRequestParams::new("prove_secret").with_arguments(arguments);
        let result = client.call_tool(call).await.unwrap();
        assert_eq!(result.is_error, Some(true));
    }
}
