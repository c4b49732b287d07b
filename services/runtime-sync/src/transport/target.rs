//! What a link leads to: a command to run or a URL to speak to, with its secrets already merged in.
//!
//! Invariant: values stay in [`sensitive::Text`] until the moment they are written to a pipe or a header, and nothing
//! here prints them. Where the values come from is *not* here.

use std::{fmt, path::PathBuf};

use http::HeaderName;
use url::Url;

/// What to connect to.
#[derive(Debug)]
pub enum Target {
    /// A child process speaking over its standard streams.
    Stdio(StdioTarget),
    /// A streamable HTTP endpoint.
    Http(HttpTarget),
}

/// A command, run without a shell.
pub struct StdioTarget {
    /// An absolute path, or a bare name looked up in the guarded `PATH`.
    pub command: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// Environment variables on top of the minimal environment.
    pub env: Vec<(String, sensitive::Text)>,
    /// Working directory; the root directory when absent.
    pub cwd: Option<PathBuf>,
}

impl fmt::Debug for StdioTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Arguments may hold what a user should have put in the environment.
        f.debug_struct("StdioTarget")
            .field("command", &self.command)
            .field("args", &self.args.len())
            .field("env", &self.env.len())
            .finish_non_exhaustive()
    }
}

/// A streamable HTTP endpoint.
pub struct HttpTarget {
    /// The endpoint.
    pub url: Url,
    /// Headers sent with every request.
    pub headers: Vec<(HeaderName, sensitive::Text)>,
}

impl fmt::Debug for HttpTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Path and query may carry a secret; the host does not.
        f.debug_struct("HttpTarget")
            .field("host", &self.url.host_str())
            .field("headers", &self.headers.len())
            .finish_non_exhaustive()
    }
}
