//! Fetching a server's list of tools, page by page, within bounds.
//!
//! Definitions are kept as the bytes that were received. A tool that is wrong costs only itself; a list that cannot be
//! read to its end fails as a whole, and whoever asked keeps the last good one. When to fetch is the session's.

mod page;

use std::{collections::HashSet, sync::Arc};

use lifecycle::CancellationToken;
use names::ScopeName;
use tokio::time::Instant;

use self::page::Page;
use crate::{
    domain::{Failure, FailureCode, HeaderRule, LeftOut, LeftOutReason, Stage, ToolDefinition},
    session::{Live, SyncOptions, json_string, plain, wire_failure},
    transport::{RawReply, WireErrorKind},
};

/// How many left-out tools are remembered by name; more are only counted as a truncated list.
const MAX_LEFT_OUT: usize = 100;
/// The longest cursor that is sent back.
const MAX_CURSOR_BYTES: usize = 16 * 1024;
/// How many bytes of definitions are read in one go.
const SLICE: usize = 128 * 1024;
/// The server does not know the method.
const METHOD_NOT_FOUND: i64 = -32601;

/// A list of tools.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ToolList {
    /// The tools that are offered, in the server's order; names are unique.
    pub tools: Vec<ToolDefinition>,
    /// What was listed and is not offered.
    pub left_out: Vec<LeftOut>,
    /// Whether the server's list is longer than what was read.
    pub truncated: bool,
}

/// Fetches the whole list.
///
/// # Errors
/// [`Failure`] at stage `list`, unless the connection itself failed.
pub(crate) async fn list_tools(
    live: &Live,
    scope: &ScopeName,
    options: &SyncOptions,
    cancel: CancellationToken,
) -> Result<ToolList, Failure> {
    // Not part of the server's time. A closed semaphore means that the runtime stops, and this with it.
    let _of_scope = options.scope_parallel.take(scope).await;
    let _of_all = options.parallel.acquire().await.ok();
    let deadline = Instant::now() + options.timeout;
    let mut reading = Reading::new(options);
    let mut cursor: Option<String> = None;
    loop {
        let reply = fetch(live, cursor.as_deref(), deadline, &cancel).await?;
        let result = match reply {
            RawReply::Result(result) => result,
            // A server without tools need not know how to list them.
            RawReply::Error {
                code: METHOD_NOT_FOUND,
                ..
            } if cursor.is_none() => {
                return Ok(ToolList::default());
            }
            RawReply::Error { .. } => return Err(list_failed()),
        };
        let page = Page::parse(&result).ok_or_else(list_failed)?;
        reading.take(&page, result.len(), live.header_rule).await;
        match reading.next(page.next_cursor)? {
            Some(next) => cursor = Some(next),
            None => return Ok(reading.finish()),
        }
    }
}

async fn fetch(
    live: &Live,
    cursor: Option<&str>,
    deadline: Instant,
    cancel: &CancellationToken,
) -> Result<RawReply, Failure> {
    let cursor = cursor.map(json_string);
    let members: &[(&str, &str)] = match &cursor {
        Some(cursor) => &[("cursor", cursor)],
        None => &[],
    };
    let call = plain(live, "tools/list", members);
    live.request(call, deadline, cancel.clone())
        .await
        .map_err(|error| list_failure(&error.kind))
}

/// What an error of the wire means for a list.
fn list_failure(kind: &WireErrorKind) -> Failure {
    let failure = wire_failure(kind);
    match failure.code {
        FailureCode::Timeout => Failure::new(FailureCode::Timeout, Stage::List),
        FailureCode::InvalidMcpServer => list_failed(),
        FailureCode::InvalidUrl
        | FailureCode::PolicyDenied
        | FailureCode::DnsFailed
        | FailureCode::ConnectionFailed
        | FailureCode::TlsFailed
        | FailureCode::AuthRequired
        | FailureCode::AuthFailed
        | FailureCode::UnsupportedVersion
        | FailureCode::CommandNotFound
        | FailureCode::ProcessExited
        | FailureCode::ListFailed => failure,
    }
}

fn list_failed() -> Failure {
    Failure::new(FailureCode::ListFailed, Stage::List)
}

/// What was read so far.
struct Reading<'a> {
    options: &'a SyncOptions,
    list: ToolList,
    names: HashSet<String>,
    cursors: HashSet<String>,
    pages: usize,
    bytes: usize,
}

impl<'a> Reading<'a> {
    fn new(options: &'a SyncOptions) -> Self {
        Self {
            options,
            list: ToolList::default(),
            names: HashSet::new(),
            cursors: HashSet::new(),
            pages: 0,
            bytes: 0,
        }
    }

    /// Takes the tools of one page in.
    async fn take(&mut self, page: &Page<'_>, bytes: usize, rule: HeaderRule) {
        self.pages += 1;
        self.bytes = self.bytes.saturating_add(bytes);
        self.list.truncated |= page.is_cut;
        let mut worked = 0;
        for raw in &page.tools {
            // Hashing takes its time, and other sessions share the thread.
            worked += raw.get().len();
            if worked > SLICE {
                worked = 0;
                tokio::task::yield_now().await;
            }
            // A copy, because a slice would keep the whole page alive for one tool.
            let raw = bytes::Bytes::copy_from_slice(raw.get().as_bytes());
            match ToolDefinition::parse(raw, rule) {
                Ok(tool) => self.offer(tool),
                Err(left_out) => self.leave_out(left_out),
            }
        }
    }

    fn offer(&mut self, tool: ToolDefinition) {
        let refused = if self.list.tools.len() >= self.options.max_tools {
            Some(LeftOutReason::OverLimit)
        } else if !self.names.insert(tool.name.clone()) {
            Some(LeftOutReason::DuplicateName)
        } else {
            None
        };
        match refused {
            None => self.list.tools.push(tool),
            Some(reason) => self.leave_out(LeftOut {
                bytes: tool.raw.len(),
                name: Some(tool.name),
                reason,
            }),
        }
    }

    fn leave_out(&mut self, left_out: LeftOut) {
        self.list.truncated |= left_out.reason == LeftOutReason::OverLimit;
        if self.list.left_out.len() < MAX_LEFT_OUT {
            self.list.left_out.push(left_out);
        } else {
            self.list.truncated = true;
        }
    }

    /// The cursor to go on with; `None` at the end of the list or at a bound.
    fn next(&mut self, cursor: Option<String>) -> Result<Option<String>, Failure> {
        // Servers end a list with an empty cursor, too.
        let Some(cursor) = cursor.filter(|cursor| !cursor.is_empty()) else {
            return Ok(None);
        };
        // A list that leads back to itself has no end: nothing in it can be trusted to be all.
        if cursor.len() > MAX_CURSOR_BYTES || !self.cursors.insert(cursor.clone()) {
            return Err(list_failed());
        }
        let full = self.pages >= self.options.max_pages
            || self.bytes >= self.options.max_bytes
            || self.list.tools.len() >= self.options.max_tools;
        if full {
            self.list.truncated = true;
            return Ok(None);
        }
        Ok(Some(cursor))
    }

    fn finish(self) -> ToolList {
        self.list
    }
}

impl ToolList {
    /// The list as shared parts of a status.
    pub(crate) fn shared(self) -> (Arc<Vec<ToolDefinition>>, Arc<Vec<LeftOut>>, bool) {
        (
            Arc::new(self.tools),
            Arc::new(self.left_out),
            self.truncated,
        )
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::{HeaderRule, Page, Reading, SLICE, SyncOptions};

    #[tokio::test]
    async fn a_large_page_lets_others_run_in_between() {
        let options = SyncOptions::default();
        let page = |size: usize| {
            let filler = "x".repeat(size);
            let tool = format!(r#"{{"name":"a","description":"{filler}","inputSchema":{{}}}}"#);
            format!(r#"{{"tools":[{tool},{tool},{tool}]}}"#)
        };
        for (size, in_one_go) in [(10, true), (SLICE / 2, false)] {
            let text = page(size);
            let page = Page::parse(text.as_bytes()).unwrap();
            let mut reading = Reading::new(&options);
            let taken = reading.take(&page, text.len(), HeaderRule::Ignored);
            assert_eq!(taken.now_or_never().is_some(), in_one_go, "{size}");
        }
    }
}
