//! Sends the definitions of tools that the registry asks for.
//!
//! Invariants: one upload is bounded in count and bytes, and every connector has its share of it, so that none keeps the
//! definitions of others out; what does not fit is asked for again with the next report.

use std::collections::HashSet;

use contracts::registry::v1 as pb;

use super::{RegistryStreams, ledger::Item};
use crate::{domain::ToolDefinition, upstream::PeerError};

/// Definitions in one upload.
const MAX_COUNT: usize = 512;
/// Bytes of definitions in one upload.
const MAX_BYTES: usize = 8 << 20;

/// What one upload is to carry.
#[derive(Debug, Default)]
pub(super) struct Selection<'a> {
    chosen: Vec<&'a ToolDefinition>,
    bytes: usize,
    /// Hashes that the registry lacks and that do not fit.
    left: HashSet<&'a str>,
}

/// What came of an upload.
#[derive(Debug, Default)]
pub(super) struct Uploaded {
    sent: HashSet<String>,
    lacking: HashSet<String>,
    pub(super) error: Option<PeerError>,
}

impl<'a> Selection<'a> {
    /// Chooses among the missing definitions of some connectors: a share for each, then what else fits.
    pub(super) fn of(items: &'a [Item], missing: &[String]) -> Self {
        let mut missing: HashSet<&str> = missing.iter().map(String::as_str).collect();
        let mut wanted: Vec<Vec<&ToolDefinition>> = Vec::new();
        for item in items {
            let tools = item.tools.iter().flat_map(|tools| tools.iter());
            // Taken out: a definition that two connectors have is sent once.
            let tools = tools.filter(|tool| missing.remove(tool.hash.as_str()));
            let tools: Vec<_> = tools.collect();
            if !tools.is_empty() {
                wanted.push(tools);
            }
        }
        let connectors = wanted.len().max(1);
        let (count, bytes) = ((MAX_COUNT / connectors).max(1), MAX_BYTES / connectors);
        let (mut selection, mut later) = (Self::default(), Vec::new());
        for tools in wanted {
            let (mut own_count, mut own_bytes) = (0, 0);
            for tool in tools {
                // The first one may be larger than the share, or a large one would never be sent.
                let in_share =
                    own_count == 0 || (own_count < count && own_bytes + tool.raw.len() <= bytes);
                if in_share && selection.choose(tool) {
                    own_count += 1;
                    own_bytes += tool.raw.len();
                } else {
                    later.push(tool);
                }
            }
        }
        for tool in later {
            if !selection.choose(tool) {
                selection.left.insert(&tool.hash);
            }
        }
        selection
    }

    fn choose(&mut self, tool: &'a ToolDefinition) -> bool {
        let bytes = self.bytes + tool.raw.len();
        let fits = self.chosen.len() < MAX_COUNT && bytes <= MAX_BYTES;
        if fits || self.chosen.is_empty() {
            self.chosen.push(tool);
            self.bytes = bytes;
            return true;
        }
        false
    }

    /// Sends them; gives how many the registry took.
    pub(super) async fn send(&self, client: &mut RegistryStreams) -> Result<(), PeerError> {
        if self.chosen.is_empty() {
            return Ok(());
        }
        let requests: Vec<_> = self.chosen.iter().map(|tool| request(tool)).collect();
        let sent = requests.len();
        let response = client
            .upload_definitions(tokio_stream::iter(requests))
            .await
            .map_err(|status| PeerError::from(&status))?;
        let pb::UploadDefinitionsResponse { stored_count } = response.into_inner();
        tracing::debug!(sent, stored_count, "definitions uploaded");
        Ok(())
    }

    /// What came of it.
    pub(super) fn uploaded(self, result: Result<(), PeerError>) -> Uploaded {
        let chosen = self.chosen.iter().map(|tool| tool.hash.clone());
        let left = self.left.into_iter().map(str::to_owned);
        match result {
            Ok(()) => Uploaded {
                sent: chosen.collect(),
                lacking: left.collect(),
                error: None,
            },
            Err(error) => Uploaded {
                sent: HashSet::new(),
                lacking: chosen.chain(left).collect(),
                error: Some(error),
            },
        }
    }
}

impl Uploaded {
    /// Whether the registry has all definitions of a connector.
    pub(super) fn is_whole(&self, item: &Item) -> bool {
        !has_any(item, &self.lacking)
    }

    /// Whether a connector had a part of the upload.
    pub(super) fn has_served(&self, item: &Item) -> bool {
        has_any(item, &self.sent)
    }

    /// Adds another upload's outcome.
    pub(super) fn add(&mut self, other: Self) {
        self.sent.extend(other.sent);
        self.lacking.extend(other.lacking);
        self.error = self.error.take().or(other.error);
    }
}

fn has_any(item: &Item, hashes: &HashSet<String>) -> bool {
    let mut tools = item.tools.iter().flat_map(|tools| tools.iter());
    tools.any(|tool| hashes.contains(&tool.hash))
}

fn request(tool: &ToolDefinition) -> pb::UploadDefinitionsRequest {
    // Definitions were parsed as JSON before, so they are UTF-8.
    pb::UploadDefinitionsRequest {
        definition_hash: tool.hash.clone(),
        definition_json: String::from_utf8_lossy(&tool.raw).into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::ledger::tests::{item, tools},
        *,
    };

    fn hashes(items: &[Item]) -> Vec<String> {
        let tools = items.iter().flat_map(|item| item.tools.iter());
        let tools = tools.flat_map(|tools| tools.iter());
        tools.map(|tool| tool.hash.clone()).collect()
    }

    #[test]
    fn four_connectors_with_huge_definitions_keep_nobody_out() {
        let huge = |number| item(number, tools(&format!("huge-{number}"), 64, 250 << 10));
        let small = |number| item(number, tools(&format!("small-{number}"), 3, 100));
        let items: Vec<Item> = (0..4).map(huge).chain((4..20).map(small)).collect();
        let selection = Selection::of(&items, &hashes(&items));
        assert!(selection.bytes <= MAX_BYTES && selection.chosen.len() <= MAX_COUNT);
        let uploaded = selection.uploaded(Ok(()));
        for item in &items[4..] {
            assert!(uploaded.is_whole(item), "{}", item.uid);
        }
        for item in &items[..4] {
            assert!(!uploaded.is_whole(item) && uploaded.has_served(item));
        }
    }

    #[test]
    fn what_fits_is_sent_at_once_whoever_it_belongs_to_and_nothing_twice() {
        let one = item(1, tools("a", 400, 10));
        let same = item(2, tools("a", 400, 10));
        let items = [one, same, item(3, tools("b", 1, 10))];
        let selection = Selection::of(&items, &hashes(&items));
        assert_eq!(selection.chosen.len(), 401);
        let uploaded = selection.uploaded(Ok(()));
        assert!(items.iter().all(|item| uploaded.is_whole(item)));
    }

    #[test]
    fn a_failed_upload_leaves_only_those_whole_who_lacked_nothing() {
        let items = [item(1, tools("a", 2, 10)), item(2, tools("b", 2, 10))];
        let missing = hashes(&items[..1]);
        let uploaded = Selection::of(&items, &missing).uploaded(Err(PeerError::TimedOut));
        assert!(!uploaded.is_whole(&items[0]) && uploaded.is_whole(&items[1]));
    }
}
