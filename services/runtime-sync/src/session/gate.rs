//! What the call path sees of a session: the wire that is up, or why there is none.
//!
//! A gate is replaced as a whole through a `watch`, so that a call costs no round trip to the actor. The rules for
//! opening and closing it are the actor's.

use std::{collections::HashMap, sync::Arc};

use tokio::time::Instant;

use super::live::Live;
use crate::domain::{CallReason, ToolDefinition};

/// Whether calls may pass.
#[derive(Clone, Debug)]
pub(crate) enum Gate {
    /// A connection is being made; calls wait.
    Connecting,
    /// Calls pass.
    Open(Arc<Open>),
    /// Calls fail.
    Closed {
        /// Why.
        reason: CallReason,
        /// When the next attempt to connect is planned.
        retry_at: Option<Instant>,
    },
}

/// A wire and the tools behind it.
#[derive(Debug)]
pub(crate) struct Open {
    /// The connection.
    pub(crate) live: Arc<Live>,
    /// The tools it offers.
    pub(crate) tools: ToolIndex,
}

/// The last good list of tools, by name.
#[derive(Clone, Debug, Default)]
pub(crate) struct ToolIndex {
    tools: Arc<Vec<ToolDefinition>>,
    positions: Arc<HashMap<String, usize>>,
}

impl ToolIndex {
    /// An index over a list whose names are unique.
    pub(crate) fn new(tools: Arc<Vec<ToolDefinition>>) -> Self {
        let positions = tools
            .iter()
            .enumerate()
            .map(|(position, tool)| (tool.name.clone(), position))
            .collect();
        Self {
            tools,
            positions: Arc::new(positions),
        }
    }

    /// The tool of that name.
    pub(crate) fn get(&self, name: &str) -> Option<&ToolDefinition> {
        self.positions
            .get(name)
            .and_then(|position| self.tools.get(*position))
    }
}
