//! The stream of tool definitions: each is checked as it comes, and stored in small batches.

use contracts::registry::v1 as pb;
use rpc::Caller;
use tonic::{Status, Streaming};

use crate::{
    domain::{
        definition::{Definition, Unacceptable},
        violation::Violations,
    },
    registry::Registry,
};

/// Definitions held before they are stored; each has at most 256 KiB.
const BATCH: usize = 16;

/// Stores every definition of a stream; answers how many are stored.
pub(super) async fn store_all(
    registry: &Registry,
    caller: &Caller,
    mut stream: Streaming<pb::UploadDefinitionsRequest>,
) -> Result<u32, Status> {
    let mut batch = Vec::with_capacity(BATCH);
    let mut stored = 0;
    while let Some(message) = stream.message().await? {
        batch.push(checked(caller.authorise(message)?)?);
        if batch.len() == BATCH {
            stored += registry
                .store_definitions(std::mem::take(&mut batch))
                .await?;
        }
    }
    Ok(stored + registry.store_definitions(batch).await?)
}

fn checked(message: pb::UploadDefinitionsRequest) -> Result<Definition, Violations> {
    let pb::UploadDefinitionsRequest {
        definition_hash,
        definition_json,
    } = message;
    let hash = definition_hash.parse().map_err(|_| {
        Violations::one("definition_hash", "is SHA-256 in 64 lower-case hex digits")
    })?;
    Definition::new(hash, definition_json).map_err(|unacceptable| {
        let field = match unacceptable {
            Unacceptable::WrongHash => "definition_hash",
            Unacceptable::TooLarge | Unacceptable::NotCanonical | Unacceptable::NotAnObject => {
                "definition_json"
            }
        };
        Violations::one(field, unacceptable.to_string())
    })
}
