//! Scripted MCP servers over standard input and output: the program `scripted-server`, well behaved or not.

use std::sync::atomic::{AtomicU32, Ordering};

use contracts::registry::v1::StdioTransport;

use crate::processes::{Process, marked};
use crate::programs;

/// How to start one. Each has a mark among its arguments (and so do its children), by which its processes are found.
#[derive(Debug, Clone)]
pub struct StdioServer {
    mark: String,
    arguments: Vec<String>,
}

/// What a server can do wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Misbehaviour {
    /// Reads everything and answers nothing.
    Silent,
    /// Works, and writes to standard error as fast as it can.
    FloodsStderr,
    /// Prints lines that are no JSON, and answers nothing.
    Garbage,
    /// Answers the call of its tool with 100 MB.
    HugeAnswer,
    /// Lists its tools without end: every page names the same next page.
    RepeatsCursor,
    /// Works, and starts children in sessions of their own that ignore every polite signal.
    Forks,
    /// Shakes hands, lists its tools, then never reads again.
    Deaf,
    /// Shakes hands, lists its tools, and exits.
    Dies,
}

impl StdioServer {
    /// One that behaves, with these tools (see [`crate::Script`]).
    #[must_use]
    pub fn with_tools(tools: &[&str]) -> Self {
        let mark = new_mark();
        let arguments = vec!["serve".into(), mark.clone(), tools.join(",")];
        Self { mark, arguments }
    }

    /// One that does not, with one tool called `work`.
    #[must_use]
    pub fn that(misbehaviour: Misbehaviour) -> Self {
        use clap::ValueEnum as _;
        let mark = new_mark();
        let name = misbehaviour
            .to_possible_value()
            .map(|value| value.get_name().to_owned());
        let arguments = vec!["misbehave".into(), mark.clone(), name.unwrap_or_default()];
        Self { mark, arguments }
    }

    /// For a connector's specification.
    #[must_use]
    pub fn transport(&self) -> StdioTransport {
        StdioTransport {
            command: programs::own("scripted-server").display().to_string(),
            arguments: self.arguments.clone(),
            ..StdioTransport::default()
        }
    }

    /// Its living processes: itself, guards that name it, children.
    #[must_use]
    pub fn processes(&self) -> Vec<Process> {
        marked(&self.mark)
    }

    /// Its own process, if there is exactly one that is the program itself.
    #[must_use]
    pub fn pid(&self) -> Option<i32> {
        let own = programs::own("scripted-server").display().to_string();
        let is_own = |process: &&Process| process.arguments.first() == Some(&own);
        match self.processes().iter().filter(is_own).collect::<Vec<_>>()[..] {
            [process] => Some(process.pid),
            _ => None,
        }
    }
}

/// A number that is also a length of sleep, so that `sleep MARK` is a child that can be found.
fn new_mark() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("86399.{:07}{next:05}1", std::process::id())
}
