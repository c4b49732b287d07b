//! Sessions with servers made of rmcp itself, in both eras: what they announce is heard.

use std::{
    borrow::Cow,
    net::Ipv4Addr,
    sync::{Arc, Mutex},
};

use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    model::{
        CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, Implementation,
        ListToolsResult, PaginatedRequestParams, ProtocolVersion, ServerCapabilities, ServerConfig,
        Tool,
    },
    service::{NotificationContext, Peer, RequestContext},
    transport::streamable_http_server::{
        StreamableHttpServerConfig, StreamableHttpService, session::local::LocalSessionManager,
    },
};
use runtime_sync::domain::Era;
use tokio::{net::TcpListener, task::JoinSet};

use crate::harness::{eventually, http, quiet};

/// A real server.
#[derive(Clone, Default)]
struct Server {
    newest: Option<ProtocolVersion>,
    tools: Arc<Mutex<Vec<&'static str>>>,
    clients: Arc<Mutex<Vec<Peer<RoleServer>>>>,
    cancelled: Arc<Mutex<usize>>,
    entered: Arc<Mutex<usize>>,
}

impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        let mut info = ServerConfig::default();
        info.capabilities = ServerCapabilities::builder()
            .enable_tools()
            .enable_tool_list_changed()
            .build();
        info.server_info = Implementation::new("real", "1.0.0");
        info
    }

    fn supported_protocol_versions(&self) -> Cow<'static, [ProtocolVersion]> {
        let newest = self.newest.clone().unwrap_or(ProtocolVersion::LATEST);
        Cow::Owned(ProtocolVersion::known_up_to(&newest).to_vec())
    }

    async fn on_initialized(&self, context: NotificationContext<RoleServer>) {
        self.clients.lock().unwrap().push(context.peer);
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let tools = self.tools.lock().unwrap().clone();
        let tools = tools
            .into_iter()
            .map(|name| Tool::new(name, "real", serde_json::Map::new()))
            .collect();
        Ok(ListToolsResult::with_all_items(tools))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        if request.name == "hang" {
            *self.entered.lock().unwrap() += 1;
            context.ct.cancelled().await;
            *self.cancelled.lock().unwrap() += 1;
        }
        let text = serde_json::Value::Object(request.arguments.unwrap_or_default()).to_string();
        Ok(CallToolResponse::Complete(CallToolResult::success(vec![
            ContentBlock::text(text),
        ])))
    }
}

async fn serve(server: &Server) -> (String, JoinSet<()>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}/mcp", listener.local_addr().unwrap());
    let server = server.clone();
    let service = StreamableHttpService::new(
        move || Ok(server.clone()),
        Arc::new(LocalSessionManager::default()),
        StreamableHttpServerConfig::default(),
    );
    let app = axum::Router::new().nest_service("/mcp", service);
    let mut tasks = JoinSet::new();
    tasks.spawn(async move { axum::serve(listener, app).await.unwrap() });
    (url, tasks)
}

fn with(newest: Option<ProtocolVersion>, tools: &[&'static str]) -> Server {
    let server = Server {
        newest,
        ..Server::default()
    };
    tools.clone_into(&mut server.tools.lock().unwrap());
    server
}

#[tokio::test]
async fn a_real_server_of_either_era_is_connected_listed_called_and_checked() {
    for (newest, era) in [
        (None, Era::Modern),
        (Some(ProtocolVersion::V_2025_11_25), Era::Legacy),
    ] {
        let server = with(newest, &["echo"]);
        let (url, _serving) = serve(&server).await;
        let session = http(&url, quiet());
        let status = session.ready().await;
        assert_eq!(status.era, Some(era));
        assert_eq!(session.tool_names(), ["echo"]);
        let result = session.call("echo", r#"{"a":1}"#).await.unwrap();
        let text = String::from_utf8(result.json.to_vec()).unwrap();
        assert!(text.contains(r#"{\"a\":1}"#), "{text}");
        let checked = session
            .handle
            .check_health(tokio::time::Instant::now() + crate::harness::LONG)
            .await;
        assert!(checked.unwrap().latency.is_some());
        session.handle.stop().await;
    }
}

#[tokio::test]
async fn an_announced_change_is_fetched_from_a_legacy_server() {
    let server = with(Some(ProtocolVersion::V_2025_11_25), &["old"]);
    let (url, _serving) = serve(&server).await;
    let session = http(&url, quiet());
    session.ready().await;
    eventually("the client is known", || {
        !server.clients.lock().unwrap().is_empty()
    })
    .await;
    ["new"]
        .as_slice()
        .clone_into(&mut server.tools.lock().unwrap());
    let client = server.clients.lock().unwrap()[0].clone();
    let mut ticks = tokio::time::interval(std::time::Duration::from_millis(50));
    // The server may announce before its client listens; a real one announces more than once in its life, too.
    let announcing = async {
        loop {
            ticks.tick().await;
            drop(client.notify_tool_list_changed().await);
        }
    };
    tokio::select! {
        () = announcing => {}
        _ = session.wait("the new list", |status| status.tools[0].name == "new") => {}
    }
    session.handle.stop().await;
}

#[tokio::test]
async fn cancelling_reaches_the_handler_of_a_real_server_of_either_era() {
    for newest in [None, Some(ProtocolVersion::V_2025_11_25)] {
        let server = with(newest, &["hang"]);
        let (url, _serving) = serve(&server).await;
        let session = http(&url, quiet());
        session.ready().await;
        tokio::select! {
            result = session.call("hang", "{}") => panic!("answered {result:?}"),
            () = eventually("the handler runs", || *server.entered.lock().unwrap() == 1) => {}
        }
        eventually("the handler was cancelled", || {
            *server.cancelled.lock().unwrap() == 1
        })
        .await;
        session.handle.stop().await;
    }
}
