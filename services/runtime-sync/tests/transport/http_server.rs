//! An HTTP server that does exactly what a test tells it, byte by byte.

use std::{collections::HashMap, future::Future, sync::Arc};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinSet,
};

use crate::support::within;

/// One request, as it came.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    /// Names in lower case.
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: Value,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// The method of the JSON-RPC message in it.
    pub(crate) fn rpc(&self) -> &str {
        self.body["method"].as_str().unwrap_or_default()
    }

    pub(crate) fn id(&self) -> String {
        self.body["id"].to_string()
    }
}

/// The connection that a request came on.
#[derive(Debug)]
pub(crate) struct Reply(BufReader<TcpStream>);

impl Reply {
    /// Writes these bytes; a client that is gone does not matter.
    pub(crate) async fn raw(&mut self, bytes: &[u8]) -> bool {
        let sent = self.0.get_mut().write_all(bytes).await.is_ok();
        sent && self.0.get_mut().flush().await.is_ok()
    }

    pub(crate) async fn status(&mut self, status: u16, headers: &str, body: &str) {
        let length = body.len();
        let text =
            format!("HTTP/1.1 {status} X\r\n{headers}content-length: {length}\r\n\r\n{body}");
        self.raw(text.as_bytes()).await;
    }

    pub(crate) async fn json(&mut self, body: &str) {
        self.status(200, "content-type: application/json\r\n", body)
            .await;
    }

    /// Answers a request with this result.
    pub(crate) async fn result(&mut self, request: &Request, result: &str) {
        self.json(&format!(
            r#"{{"jsonrpc":"2.0","id":{},"result":{result}}}"#,
            request.id()
        ))
        .await;
    }

    /// Begins a stream that ends when the connection is closed.
    pub(crate) async fn stream(&mut self, headers: &str) {
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n{headers}connection: close\r\n\r\n"
        );
        self.raw(head.as_bytes()).await;
    }

    pub(crate) async fn event(&mut self, data: &str) -> bool {
        self.raw(format!("data: {data}\n\n").as_bytes()).await
    }

    /// The next request on the same connection.
    pub(crate) async fn next_request(&mut self) -> Option<Request> {
        read(&mut self.0).await
    }

    /// Waits until the client hangs up.
    pub(crate) async fn hung_up(&mut self) {
        let mut byte = [0];
        while matches!(self.0.read(&mut byte).await, Ok(1..)) {}
    }
}

/// A running server; dropping it ends it.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) port: u16,
    requests: mpsc::UnboundedReceiver<Request>,
    _task: JoinSet<()>,
}

impl Server {
    /// Serves every request with `handler`; connections are kept alive until a handler drops its reply.
    pub(crate) async fn start<F, R>(handler: F) -> Self
    where
        F: Fn(Request, Reply) -> R + Send + Sync + 'static,
        R: Future<Output = Option<Reply>> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let port = listener.local_addr().expect("address").port();
        let (log, requests) = mpsc::unbounded_channel();
        let handler = Arc::new(handler);
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).expect("nodelay");
                let (handler, log) = (Arc::clone(&handler), log.clone());
                connections.spawn(async move {
                    let mut reply = Reply(BufReader::new(stream));
                    while let Some(request) = read(&mut reply.0).await {
                        let _gone = log.send(request.clone());
                        match handler(request, reply).await {
                            Some(again) => reply = again,
                            None => return,
                        }
                    }
                });
            }
        });
        Self {
            port,
            requests,
            _task: task,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/mcp", self.port)
    }

    /// The next request that came.
    pub(crate) async fn next(&mut self) -> Request {
        within(self.requests.recv()).await.expect("the server runs")
    }

    /// What came and was not looked at yet.
    pub(crate) fn rest(&mut self) -> Vec<Request> {
        std::iter::from_fn(|| self.requests.try_recv().ok()).collect()
    }
}

async fn read(stream: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).ok()?;
    let mut lines = head.lines();
    let mut first = lines.next()?.split(' ');
    let (method, path) = (first.next()?.to_owned(), first.next()?.to_owned());
    let headers: HashMap<String, String> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length = headers
        .get("content-length")
        .and_then(|length| length.parse().ok())
        .unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    Some(Request {
        method,
        path,
        headers,
        body,
    })
}
