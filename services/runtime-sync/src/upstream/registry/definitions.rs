//! Sends the definitions of tools that the registry asks for.
//!
//! Invariant: one upload is bounded in count and bytes; what does not fit is asked for again with the next report.

use std::collections::{HashMap, HashSet};

use contracts::registry::v1 as pb;

use super::{RegistryStreams, ledger::Item};
use crate::{domain::ToolDefinition, upstream::PeerError};

/// Definitions in one upload.
const MAX_COUNT: usize = 512;
/// Bytes of definitions in one upload.
const MAX_BYTES: usize = 8 << 20;

/// Whether the registry now has all that it asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Uploaded {
    /// All of it.
    All,
    /// A part; report again for the rest.
    Part,
}

/// Sends the missing definitions among those of a report.
pub(super) async fn upload(
    client: &mut RegistryStreams,
    batch: &[Item],
    missing: &[String],
) -> Result<Uploaded, PeerError> {
    let (requests, uploaded) = select(batch, missing);
    if requests.is_empty() {
        return Ok(uploaded);
    }
    let sent = requests.len();
    let response = client
        .upload_definitions(tokio_stream::iter(requests))
        .await
        .map_err(|status| PeerError::from(&status))?;
    let pb::UploadDefinitionsResponse { stored_count } = response.into_inner();
    tracing::debug!(sent, stored_count, "definitions uploaded");
    Ok(uploaded)
}

fn select(batch: &[Item], missing: &[String]) -> (Vec<pb::UploadDefinitionsRequest>, Uploaded) {
    let missing: HashSet<&str> = missing.iter().map(String::as_str).collect();
    let tools = batch.iter().flat_map(|item| item.tools.iter());
    let wanted: HashMap<&str, &ToolDefinition> = tools
        .flat_map(|tools| tools.iter())
        .filter(|tool| missing.contains(tool.hash.as_str()))
        .map(|tool| (tool.hash.as_str(), tool))
        .collect();
    let (mut requests, mut bytes) = (Vec::new(), 0);
    for tool in wanted.values() {
        bytes += tool.raw.len();
        if requests.len() == MAX_COUNT || (bytes > MAX_BYTES && !requests.is_empty()) {
            return (requests, Uploaded::Part);
        }
        // Definitions were parsed as JSON before, so they are UTF-8.
        requests.push(pb::UploadDefinitionsRequest {
            definition_hash: tool.hash.clone(),
            definition_json: String::from_utf8_lossy(&tool.raw).into_owned(),
        });
    }
    (requests, Uploaded::All)
}
