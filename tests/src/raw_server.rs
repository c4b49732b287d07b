//! An HTTP server that speaks bytes instead of MCP: for answers that no library would send.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// A listener whose connections are handled by the test; gone when dropped.
pub struct RawServer {
    address: SocketAddr,
    accepted: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

/// What happens on each connection.
#[derive(Clone)]
enum Answer {
    Silence,
    Once(Arc<str>),
    Endless {
        head: &'static str,
        filler: &'static [u8],
    },
}

impl RawServer {
    /// Accepts and says nothing, for as long as it lives.
    pub async fn silent() -> Self {
        Self::start(Answer::Silence).await
    }

    /// Reads one request per connection and answers with this head, then with filler without end.
    pub async fn endless(head: &'static str, filler: &'static [u8]) -> Self {
        Self::start(Answer::Endless { head, filler }).await
    }

    /// Reads one request per connection, answers with these bytes and closes.
    pub async fn once(answer: &str) -> Self {
        Self::start(Answer::Once(answer.into())).await
    }

    /// `http://127.0.0.1:port/mcp`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/mcp", self.address)
    }

    /// How many connections were accepted so far.
    #[must_use]
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }

    async fn start(answer: Answer) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let accepted = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&accepted);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                connections.spawn(speak(stream, answer.clone()));
            }
        });
        Self {
            address,
            accepted,
            _tasks: tasks,
        }
    }
}

/// The client may go at any time: that is its right, and the end of the connection.
async fn speak(mut stream: TcpStream, answer: Answer) {
    match answer {
        Answer::Silence => std::future::pending().await,
        Answer::Once(text) => {
            if read_head(&mut stream).await && stream.write_all(text.as_bytes()).await.is_ok() {
                drop(stream.shutdown().await);
            }
        }
        Answer::Endless { head, filler } => {
            if !read_head(&mut stream).await || stream.write_all(head.as_bytes()).await.is_err() {
                return;
            }
            let block = filler.repeat(64 * 1024 / filler.len().max(1));
            while stream.write_all(&block).await.is_ok() {}
        }
    }
}

/// Reads up to the end of the head. The body is left unread: nobody here needs it.
async fn read_head(stream: &mut TcpStream) -> bool {
    let mut seen = Vec::new();
    let mut block = [0; 4096];
    while !seen.windows(4).any(|window| window == b"\r\n\r\n") {
        match stream.read(&mut block).await {
            Ok(0) | Err(_) => return false,
            Ok(count) => seen.extend_from_slice(&block[..count]),
        }
    }
    true
}
