//! The same call without the suite: rmcp straight to the server, its limit of 16 requests at once raised.

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use anyhow::Context as _;
use rmcp::model::{CallToolRequestParams, JsonObject, ProtocolVersion};
use rmcp::service::{ClientLifecycleMode, ClientServiceExt as _, RunningService};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::async_rw::AsyncRwTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rmcp::{Peer, RoleClient};
use tokio::process::{Child, Command};

use super::measure::Call;

/// More than any bench asks for.
const REQUESTS_AT_ONCE: usize = 1024;

/// A connection of rmcp's own, and the server's process if it has one.
pub(super) struct Direct {
    running: RunningService<RoleClient, ()>,
    // Killed when dropped; by then the connection has been closed.
    _server: Option<Child>,
}

fn lifecycle() -> ClientLifecycleMode {
    ClientLifecycleMode::Auto {
        preferred_versions: vec![ProtocolVersion::V_2026_07_28],
        legacy_version: None,
    }
}

impl Direct {
    /// To a server that speaks streamable HTTP, over kept connections.
    pub(super) async fn http(url: &str) -> anyhow::Result<Self> {
        let client = reqwest::Client::builder()
            .no_proxy()
            .tcp_nodelay(true)
            .build()?;
        let config = StreamableHttpClientTransportConfig::with_uri(url.to_owned())
            .max_concurrent_requests(REQUESTS_AT_ONCE);
        let transport = StreamableHttpClientTransport::with_client(client, config);
        let running = ().serve_with_lifecycle(transport, lifecycle()).await?;
        Ok(Self {
            running,
            _server: None,
        })
    }

    /// To a bundled server of its own, over pipes.
    pub(super) async fn stdio(program: &Path) -> anyhow::Result<Self> {
        let mut server = Command::new(program)
            .arg("demo-server")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let read = server
            .stdout
            .take()
            .context("the server's standard output")?;
        let write = server.stdin.take().context("the server's standard input")?;
        let transport = AsyncRwTransport::new_client(read, write);
        let running = ().serve_with_lifecycle(transport, lifecycle()).await?;
        Ok(Self {
            running,
            _server: Some(server),
        })
    }

    /// The call to be measured: `echo` of `text`.
    pub(super) fn call(&self, text: &'static str) -> Call {
        let peer: Peer<RoleClient> = self.running.peer().clone();
        Arc::new(move || {
            let peer = peer.clone();
            Box::pin(async move {
                let mut arguments = JsonObject::new();
                arguments.insert("text".to_owned(), text.into());
                let call = CallToolRequestParams::new("echo").with_arguments(arguments);
                let result = peer.call_tool(call).await?;
                anyhow::ensure!(result.is_error != Some(true), "the tool reported an error");
                Ok(())
            })
        })
    }

    /// Ends the connection and with it the server.
    pub(super) async fn close(self) -> anyhow::Result<()> {
        self.running.cancel().await?;
        Ok(())
    }
}
