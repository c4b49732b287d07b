//! A real MCP server, made of rmcp, over streamable HTTP.

use std::{
    net::Ipv4Addr,
    sync::{Arc, Mutex},
};

use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    model::{
        CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, Implementation,
        ListToolsResult, PaginatedRequestParams, ServerCapabilities, ServerConfig, Tool,
    },
    service::RequestContext,
    transport::streamable_http_server::{
        StreamableHttpServerConfig, StreamableHttpService, session::local::LocalSessionManager,
    },
};
use tokio::{net::TcpListener, sync::Semaphore, task::JoinSet};

/// What the server does and has seen.
#[derive(Clone)]
struct Handler {
    seen: Arc<Mutex<Seen>>,
    /// Calls of `hang` end when they get a permit.
    gate: Arc<Semaphore>,
}

/// What the server has seen.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) calls: Vec<String>,
    pub(crate) cancelled: usize,
    pub(crate) hanging: usize,
    pub(crate) authorization: Vec<String>,
    pub(crate) traces: Vec<String>,
    pub(crate) tools: Vec<String>,
}

/// The server.
pub(crate) struct Mcp {
    pub(crate) url: String,
    pub(crate) origin: String,
    seen: Arc<Mutex<Seen>>,
    gate: Arc<Semaphore>,
    _serving: JoinSet<()>,
}

impl Mcp {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let tools = ["echo", "hang", "big", "fail"].map(str::to_owned).to_vec();
        let handler = Handler {
            seen: Arc::new(Mutex::new(Seen {
                tools,
                ..Seen::default()
            })),
            gate: Arc::new(Semaphore::new(0)),
        };
        let (seen, gate) = (Arc::clone(&handler.seen), Arc::clone(&handler.gate));
        let service = StreamableHttpService::new(
            move || Ok(handler.clone()),
            Arc::new(LocalSessionManager::default()),
            StreamableHttpServerConfig::default(),
        );
        let app = axum::Router::new().nest_service("/mcp", service);
        let mut serving = JoinSet::new();
        serving.spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self {
            url: format!("{origin}/mcp"),
            origin,
            seen,
            gate,
            _serving: serving,
        }
    }

    pub(crate) fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap()
    }

    /// Lets calls of `hang` end.
    pub(crate) fn release(&self, calls: usize) {
        self.gate.add_permits(calls);
    }
}

impl ServerHandler for Handler {
    fn get_info(&self) -> ServerConfig {
        let mut info = ServerConfig::default();
        info.capabilities = ServerCapabilities::builder().enable_tools().build();
        info.server_info = Implementation::new("scripted", "1.2.3");
        info
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let tools = self.seen.lock().unwrap().tools.clone();
        let tools = tools
            .into_iter()
            .map(|name| Tool::new(name, "scripted", serde_json::Map::new()))
            .collect();
        Ok(ListToolsResult::with_all_items(tools))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        self.note(&request, &context);
        let text = match request.name.as_ref() {
            "hang" => {
                self.seen.lock().unwrap().hanging += 1;
                let ended = tokio::select! {
                    permit = self.gate.acquire() => permit.is_ok_and(|permit| { permit.forget(); true }),
                    () = context.ct.cancelled() => false,
                };
                let mut seen = self.seen.lock().unwrap();
                seen.hanging -= 1;
                seen.cancelled += usize::from(!ended);
                "released".to_owned()
            }
            "big" => "x".repeat(4 << 20),
            "fail" => return Err(ErrorData::internal_error("broken on purpose", None)),
            _ => serde_json::Value::Object(request.arguments.unwrap_or_default()).to_string(),
        };
        let content = vec![ContentBlock::text(text)];
        Ok(CallToolResponse::Complete(CallToolResult::success(content)))
    }
}

impl Handler {
    fn note(&self, request: &CallToolRequestParams, context: &RequestContext<RoleServer>) {
        let mut seen = self.seen.lock().unwrap();
        seen.calls.push(request.name.to_string());
        if let Some(parts) = context.extensions.get::<http::request::Parts>()
            && let Some(value) = parts.headers.get("authorization")
        {
            seen.authorization.push(value.to_str().unwrap().to_owned());
        }
        let meta = serde_json::to_value(&context.meta).unwrap();
        if let Some(trace) = meta.get("traceparent") {
            seen.traces.push(trace.as_str().unwrap().to_owned());
        }
    }
}
