//! A scripted MCP server over streamable HTTP. It lives on a runtime of its own, so that `disconnect` really
//! cuts every connection: no task of it survives.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use crate::script::{Script, Seen};

/// A running server; gone when dropped.
pub struct HttpServer {
    address: SocketAddr,
    script: Script,
    runtime: Option<Runtime>,
}

impl HttpServer {
    /// Starts a server with these tools on a free port.
    #[must_use]
    pub fn start<I: Into<String>>(tools: impl IntoIterator<Item = I>) -> Self {
        let script = Script::with_tools(tools);
        let (address, runtime) = serve(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), &script);
        Self {
            address,
            script,
            runtime: Some(runtime),
        }
    }

    /// Where it can be reached.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/mcp", self.address)
    }

    /// What it saw.
    #[must_use]
    pub fn seen(&self) -> Seen {
        self.script.seen()
    }

    /// Other tools from now on.
    pub fn set_tools<I: Into<String>>(&self, tools: impl IntoIterator<Item = I>) {
        self.script.set_tools(tools);
    }

    /// Stops listening and cuts every connection at once.
    pub fn disconnect(&mut self) {
        let Some(runtime) = self.runtime.take() else {
            return;
        };
        // On a thread, because waiting is forbidden inside a runtime; and waiting, because the port has to be free.
        let ends = thread::spawn(move || runtime.shutdown_timeout(Duration::from_secs(5)));
        ends.join().unwrap();
    }

    /// Listens on the same port again; sessions from before are unknown.
    pub fn reconnect(&mut self) {
        self.disconnect();
        self.runtime = Some(serve(self.address, &self.script).1);
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.disconnect();
    }
}

/// Somebody's outgoing connection may have been given the port meanwhile; it is short-lived, like all here.
fn bind(address: SocketAddr) -> std::net::TcpListener {
    for _ in 0..200 {
        // std sets SO_REUSEADDR, so that connections of the first life do not matter.
        match std::net::TcpListener::bind(address) {
            Ok(listener) => return listener,
            Err(_) => thread::park_timeout(Duration::from_millis(25)),
        }
    }
    panic!("{address} is in use and stays so")
}

fn serve(address: SocketAddr, script: &Script) -> (SocketAddr, Runtime) {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(1).enable_all().build().unwrap();
    let listener = bind(address);
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let script = script.clone();
    let service = StreamableHttpService::new(
        move || Ok(script.clone()),
        Arc::new(LocalSessionManager::default()),
        StreamableHttpServerConfig::default(),
    );
    let app = axum::Router::new().nest_service("/mcp", service);
    let serving = async move {
        use axum::serve::ListenerExt as _;
        let listener = TcpListener::from_std(listener).unwrap();
        // Without it small answers wait for an acknowledgement for 40 ms.
        let listener = listener.tap_io(|stream| stream.set_nodelay(true).unwrap_or_default());
        axum::serve(listener, app).await.unwrap();
    };
    // The task belongs to this runtime, and the runtime to the server.
    drop(runtime.handle().spawn(serving));
    (address, runtime)
}
