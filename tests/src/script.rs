//! What a well-behaved scripted MCP server does. It is a real rmcp server of both eras; HTTP and stdio share it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, Implementation,
    JsonObject, ListToolsResult, PaginatedRequestParams, ServerCapabilities, ServerConfig, Tool,
};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer, ServerHandler};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// A server whose tools are decided by the test. Known names do something: `echo` returns its arguments, `fail`
/// reports an error of its own, `break` answers with a protocol error, `hang` never answers, `prove` returns the SHA-256 of the environment variable or
/// header that its argument names, `pid` the process id. All others answer `done`.
#[derive(Clone, Default)]
pub struct Script {
    tools: Arc<Mutex<Vec<String>>>,
    seen: Seen,
}

/// What the server saw, for the test to look at.
#[derive(Clone, Default)]
pub struct Seen(Arc<Mutex<Calls>>);

#[derive(Default)]
struct Calls {
    metas: Vec<Value>,
    names: Vec<String>,
    cancelled: usize,
}

impl Seen {
    /// `_meta` of every tool call, in the order of arrival.
    #[must_use]
    pub fn metas(&self) -> Vec<Value> {
        self.0.lock().unwrap().metas.clone()
    }

    /// Names of the tools that were called, in the order of arrival.
    #[must_use]
    pub fn calls(&self) -> Vec<String> {
        self.0.lock().unwrap().names.clone()
    }

    /// How many calls of `hang` were cancelled.
    #[must_use]
    pub fn cancelled(&self) -> usize {
        self.0.lock().unwrap().cancelled
    }
}

impl Script {
    /// A server with these tools.
    #[must_use]
    pub fn with_tools<I: Into<String>>(tools: impl IntoIterator<Item = I>) -> Self {
        let script = Self::default();
        script.set_tools(tools);
        script
    }

    /// Changes the tools of a running server.
    pub fn set_tools<I: Into<String>>(&self, tools: impl IntoIterator<Item = I>) {
        *self.tools.lock().unwrap() = tools.into_iter().map(Into::into).collect();
    }

    /// What the server saw.
    #[must_use]
    pub fn seen(&self) -> Seen {
        self.seen.clone()
    }

    fn tool(name: &str) -> Tool {
        let schema = json!({
            "type": "object",
            "properties": { "name": { "type": "string" } },
            "additionalProperties": true,
        });
        let Value::Object(schema) = schema else {
            return Tool::default();
        };
        Tool::new(
            name.to_owned(),
            format!("The scripted tool {name}."),
            schema,
        )
    }
}

impl ServerHandler for Script {
    fn get_info(&self) -> ServerConfig {
        let mut info = ServerConfig::default();
        info.capabilities = ServerCapabilities::builder().enable_tools().build();
        info.server_info = Implementation::new("scripted", "1.0.0");
        info
    }

    async fn list_tools(
        &self,
        _page: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let tools = self
            .tools
            .lock()
            .unwrap()
            .iter()
            .map(|name| Self::tool(name))
            .collect();
        Ok(ListToolsResult::with_all_items(tools))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let name = request.name.to_string();
        if !self.tools.lock().unwrap().contains(&name) {
            return Err(ErrorData::invalid_params(
                format!("unknown tool {name}"),
                None,
            ));
        }
        {
            let mut calls = self.seen.0.lock().unwrap();
            calls
                .metas
                .push(serde_json::to_value(&context.meta).unwrap_or_default());
            calls.names.push(name.clone());
        }
        let arguments = request.arguments.unwrap_or_default();
        let text = match name.as_str() {
            "echo" => Value::Object(arguments).to_string(),
            "pid" => std::process::id().to_string(),
            "prove" => prove(&arguments, &context),
            "hang" => {
                context.ct.cancelled().await;
                self.seen.0.lock().unwrap().cancelled += 1;
                "cancelled".to_owned()
            }
            "break" => return Err(ErrorData::internal_error("as scripted", None)),
            "fail" => {
                let content = vec![ContentBlock::text("as scripted")];
                return Ok(CallToolResponse::Complete(CallToolResult::error(content)));
            }
            _ => "done".to_owned(),
        };
        let content = vec![ContentBlock::text(text)];
        Ok(CallToolResponse::Complete(CallToolResult::success(content)))
    }
}

/// Shows that the server has a secret without showing the secret.
fn prove(arguments: &JsonObject, context: &RequestContext<RoleServer>) -> String {
    let wanted = arguments
        .get("name")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let headers = context
        .extensions
        .get::<http::request::Parts>()
        .map(|parts| &parts.headers);
    let header = headers.and_then(|headers| headers.get(wanted));
    let environment: BTreeMap<String, String> = own_environment();
    let value = match header {
        Some(value) => value.as_bytes().to_vec(),
        None => match environment.get(wanted) {
            Some(value) => value.clone().into_bytes(),
            None => return "absent".to_owned(),
        },
    };
    sha256_hex(&value)
}

/// Lower-case hexadecimal digits of a SHA-256.
#[must_use]
pub fn sha256_hex(value: &[u8]) -> String {
    Sha256::digest(value)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Read as any other process would: it is the server's own view that counts.
fn own_environment() -> BTreeMap<String, String> {
    let bytes = std::fs::read("/proc/self/environ").unwrap_or_default();
    let pairs = bytes.split(|byte| *byte == 0).filter_map(|pair| {
        let text = String::from_utf8_lossy(pair).into_owned();
        text.split_once('=')
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
    });
    pairs.collect()
}
