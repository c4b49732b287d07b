//! A scripted MCP server over HTTP: the test says what is answered to each message.

use std::{
    net::Ipv4Addr,
    sync::{Arc, Mutex},
};

use axum::{
    body::Body,
    http::{HeaderMap, Method, Response, StatusCode},
};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::{net::TcpListener, task::JoinSet};

/// One message that arrived.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: String,
    /// The exact text of `params`.
    pub(crate) params: String,
    pub(crate) headers: HeaderMap,
    /// How many messages of this method arrived before.
    pub(crate) before: usize,
    is_notification: bool,
}

/// What is answered.
pub(crate) enum Say {
    Result(String),
    Error(i64, &'static str),
    /// An error of the protocol with an HTTP status of its own.
    ErrorWith(u16, i64, &'static str),
    Status(u16),
    /// A status with one header.
    Head(u16, &'static str, &'static str),
    Body(&'static str, String),
    /// A JSON body with status 400.
    Body400(&'static str),
    /// A result that also opens an HTTP session.
    Session(&'static str, String),
    /// Nothing, for ever.
    Silence,
    /// Half an answer, and then the connection breaks.
    Break,
    /// A result when the gate opens.
    Later(Arc<tokio::sync::Notify>, String),
    /// An event stream: `ID` in a message stands for the id of what was asked; each message waits for the gate.
    Stream(Arc<tokio::sync::Notify>, Vec<String>),
}

type Script = dyn Fn(&Asked) -> Say + Send + Sync;

/// A running peer; gone when dropped.
pub(crate) struct Peer {
    url: String,
    log: Arc<Mutex<Vec<Asked>>>,
    script: Arc<Mutex<Arc<Script>>>,
    _tasks: JoinSet<()>,
}

impl Peer {
    pub(crate) async fn start(script: impl Fn(&Asked) -> Say + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("http://{}/mcp", listener.local_addr().unwrap());
        let log = Arc::new(Mutex::new(Vec::new()));
        let script: Arc<Mutex<Arc<Script>>> = Arc::new(Mutex::new(Arc::new(script)));
        let (seen, said) = (Arc::clone(&log), Arc::clone(&script));
        let app = axum::Router::new().fallback(move |request: axum::extract::Request| {
            answer(request, Arc::clone(&seen), Arc::clone(&said))
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self {
            url,
            log,
            script,
            _tasks: tasks,
        }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Behaves otherwise from now on.
    pub(crate) fn becomes(&self, script: impl Fn(&Asked) -> Say + Send + Sync + 'static) {
        *self.script.lock().unwrap() = Arc::new(script);
    }

    /// What arrived of one method.
    pub(crate) fn asked(&self, method: &str) -> Vec<Asked> {
        let log = self.log.lock().unwrap();
        log.iter()
            .filter(|asked| asked.method == method)
            .cloned()
            .collect()
    }

    pub(crate) fn count(&self, method: &str) -> usize {
        self.asked(method).len()
    }
}

/// A message, as much of it as matters.
#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    method: String,
    #[serde(borrow, default)]
    params: Option<&'a RawValue>,
}

async fn answer(
    request: axum::extract::Request,
    log: Arc<Mutex<Vec<Asked>>>,
    script: Arc<Mutex<Arc<Script>>>,
) -> Response<Body> {
    let (head, body) = request.into_parts();
    if head.method != Method::POST {
        let asked = Asked {
            method: head.method.to_string(),
            params: String::new(),
            headers: head.headers,
            before: 0,
            is_notification: false,
        };
        log.lock().unwrap().push(asked);
        return status(405);
    }
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let Ok(message) = serde_json::from_slice::<Message<'_>>(&body) else {
        return status(400);
    };
    let asked = {
        let mut log = log.lock().unwrap();
        let asked = Asked {
            before: log
                .iter()
                .filter(|asked| asked.method == message.method)
                .count(),
            method: message.method,
            params: message.params.map_or("", RawValue::get).to_owned(),
            headers: head.headers,
            is_notification: message.id.is_none(),
        };
        log.push(asked.clone());
        asked
    };
    let script = script.lock().unwrap().clone();
    if asked.is_notification {
        return status(202);
    }
    say(message.id.map_or("null", RawValue::get), script(&asked)).await
}

async fn say(id: &str, say: Say) -> Response<Body> {
    match say {
        Say::Result(result) => reply(200, &result_of(id, &result)),
        Say::Error(code, data) => reply(200, &error_of(id, code, data)),
        Say::ErrorWith(status, code, data) => reply(status, &error_of(id, code, data)),
        Say::Status(code) => status(code),
        Say::Head(code, name, value) => {
            let mut response = status(code);
            response.headers_mut().insert(name, value.parse().unwrap());
            response
        }
        Say::Body(kind, text) => typed(200, kind, text),
        Say::Body400(text) => reply(400, text),
        Say::Session(session, result) => {
            let mut response = reply(200, &result_of(id, &result));
            response
                .headers_mut()
                .insert("mcp-session-id", session.parse().unwrap());
            response
        }
        Say::Silence => std::future::pending().await,
        Say::Break => {
            let broken = futures_util::stream::iter([
                Ok(bytes::Bytes::from_static(b"{\"jsonrpc\":\"2.0\",")),
                Err(std::io::Error::other("cut")),
            ]);
            let mut response = Response::new(Body::from_stream(broken));
            response
                .headers_mut()
                .insert("content-type", "application/json".parse().unwrap());
            response
        }
        Say::Stream(gate, messages) => stream(id, gate, messages),
        Say::Later(gate, result) => {
            gate.notified().await;
            reply(200, &result_of(id, &result))
        }
    }
}

fn stream(id: &str, gate: Arc<tokio::sync::Notify>, messages: Vec<String>) -> Response<Body> {
    let id = id.to_owned();
    let events = futures_util::stream::unfold(messages.into_iter(), move |mut messages| {
        let (id, gate) = (id.clone(), Arc::clone(&gate));
        async move {
            gate.notified().await;
            let message = messages.next()?.replace("ID", &id);
            let event = bytes::Bytes::from(format!("data: {message}\n\n"));
            Some((Ok::<_, std::io::Error>(event), messages))
        }
    });
    let mut response = Response::new(Body::from_stream(events));
    response
        .headers_mut()
        .insert("content-type", "text/event-stream".parse().unwrap());
    response
}

fn result_of(id: &str, result: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#)
}

fn error_of(id: &str, code: i64, data: &str) -> String {
    let data = if data.is_empty() {
        String::new()
    } else {
        format!(r#","data":{data}"#)
    };
    format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":{code},"message":"no"{data}}}}}"#)
}

fn reply(code: u16, text: &str) -> Response<Body> {
    typed(code, "application/json", text.to_owned())
}

fn typed(code: u16, kind: &str, text: String) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = StatusCode::from_u16(code).unwrap();
    response
        .headers_mut()
        .insert("content-type", kind.parse().unwrap());
    response
}

fn status(code: u16) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::from_u16(code).unwrap();
    response
}

/// The definition of a tool without arguments.
pub(crate) fn tool(name: &str) -> String {
    format!(r#"{{"name":"{name}","inputSchema":{{"type":"object"}}}}"#)
}

/// A list of such tools.
pub(crate) fn tools(names: &[&str]) -> String {
    let tools: Vec<_> = names.iter().map(|name| tool(name)).collect();
    format!(
        r#"{{"resultType":"complete","tools":[{}]}}"#,
        tools.join(",")
    )
}

/// What a well-behaved modern server says to everything but calls.
pub(crate) fn modern(asked: &Asked, names: &[&str]) -> Say {
    match asked.method.as_str() {
        "server/discover" => Say::Result(
            r#"{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{"tools":{}},
                "instructions":"be kind","ttlMs":0,"cacheScope":"private",
                "_meta":{"io.modelcontextprotocol/serverInfo":{"name":"peer","version":"1"}}}"#
                .replace('\n', " "),
        ),
        "tools/list" => Say::Result(tools(names)),
        "tools/call" => Say::Result(r#"{"resultType":"complete","content":[]}"#.into()),
        _ => Say::ErrorWith(404, -32601, ""),
    }
}

/// What a well-behaved legacy server says to everything.
pub(crate) fn legacy(asked: &Asked, names: &[&str]) -> Say {
    match asked.method.as_str() {
        "initialize" => Say::Session("s-1", initialized("2025-11-25")),
        "tools/list" => Say::Result(tools(names)),
        "tools/call" => Say::Result(r#"{"content":[]}"#.into()),
        "ping" => Say::Result("{}".into()),
        _ => Say::Error(-32601, ""),
    }
}

/// The result of a handshake.
pub(crate) fn initialized(version: &str) -> String {
    format!(
        r#"{{"protocolVersion":"{version}","capabilities":{{"tools":{{"listChanged":true}}}},"serverInfo":{{"name":"peer","version":"1"}}}}"#
    )
}
