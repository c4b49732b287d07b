//! The bounds of a link. Every queue, line, response and wait has one, and every one is configurable.

use std::{path::PathBuf, time::Duration};

use egress::Egress;
use policy::ScopeKind;

/// How a link is opened and what it may cost.
#[derive(Debug, Clone)]
pub struct OpenOptions {
    /// The checked way out, which also holds the policy on commands.
    pub egress: Egress,
    /// The kind of scope the connector belongs to: policy differs between them.
    pub scope: ScopeKind,
    /// The program that is run as `<program> stdio-guard`; by default this very executable.
    pub guard: PathBuf,
    /// `PATH` and the other variables that every server process gets before its own.
    pub base_environment: Vec<(String, String)>,
    /// Limits of sizes and times.
    pub limits: Limits,
}

impl OpenOptions {
    /// Options with default limits.
    #[must_use]
    pub fn new(egress: Egress, scope: ScopeKind) -> Self {
        let base = [
            ("PATH", "/usr/local/bin:/usr/bin:/bin"),
            ("HOME", "/nonexistent"),
            ("LANG", "C.UTF-8"),
        ];
        Self {
            egress,
            scope,
            guard: PathBuf::from("/proc/self/exe"),
            base_environment: base
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .to_vec(),
            limits: Limits::default(),
        }
    }
}

/// Sizes in bytes and waits of one link.
#[derive(Debug, Clone)]
pub struct Limits {
    /// The longest line a stdio server may print and the largest answer to one request.
    pub message: usize,
    /// Bytes of standard error that are kept.
    pub stderr_bytes: usize,
    /// Lines of standard error that are kept.
    pub stderr_lines: usize,
    /// Messages that may wait to be written.
    pub queue: usize,
    /// How long one write to a process may block before the link is given up.
    pub write: Duration,
    /// How long the process may take to be started.
    pub spawn: Duration,
    /// After end of file on its input, how long a server may take to end.
    pub eof_grace: Duration,
    /// After SIGTERM, how long it may take before SIGKILL.
    pub term_grace: Duration,
    /// How long the response head of an HTTP request may take, for messages without a deadline of their own.
    pub response_head: Duration,
    /// How long a body or an event stream that belongs to a request may be silent.
    pub idle: Duration,
    /// How often a broken event stream is resumed for one request.
    pub resumes: usize,
    /// Open files of a server process.
    pub open_files: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message: 16 << 20,
            stderr_bytes: 64 << 10,
            stderr_lines: 500,
            queue: 256,
            write: Duration::from_secs(10),
            spawn: Duration::from_secs(10),
            eof_grace: Duration::from_secs(2),
            term_grace: Duration::from_secs(2),
            response_head: Duration::from_secs(60),
            idle: Duration::from_secs(15 * 60),
            resumes: 5,
            open_files: 4096,
        }
    }
}
