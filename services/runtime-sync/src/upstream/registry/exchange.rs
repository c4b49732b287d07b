//! One exchange with the registry: a report, and the definitions it asks for.
//!
//! Invariant: a connector is shown in its new state only once the registry has the definitions behind it, so that who
//! waits for READY and lists finds whole tools; but definitions that will not arrive hold no state back for ever.

use std::time::Duration;

use contracts::registry::v1 as pb;
use tokio::time::timeout;

use super::{
    RegistryClient, RegistryStreams,
    definitions::{Selection, Uploaded},
    ledger::{Hold, Item},
    status,
};
use crate::{domain::SessionStatus, upstream::PeerError};

/// What an exchange works with.
pub(super) struct Exchange {
    pub(super) client: RegistryClient,
    pub(super) streams: RegistryStreams,
    pub(super) limit: Duration,
}

/// What keeps a connector waiting counts: definitions that were sent in part, and an upload that failed.
const PART: u32 = 1;
const FAILURE: u32 = 4;

/// What came of an exchange.
#[derive(Debug, Default)]
pub(super) struct Done {
    /// A claim that was granted.
    pub(super) claimed: Option<i64>,
    /// Taken with everything behind it.
    pub(super) taken: Vec<Item>,
    /// The state was taken; definitions are missing.
    pub(super) shown: Vec<Item>,
    /// Not taken.
    pub(super) rest: Vec<Item>,
    /// What those whose definitions are missing have waited for, in the measure of [`Hold`].
    pub(super) waited: u32,
    /// Why not.
    pub(super) error: Option<PeerError>,
}

impl Exchange {
    /// Claims the sessions.
    pub(super) async fn claim(mut self, claim: pb::RuntimeInstance) -> Done {
        match self.report(claim, Vec::new()).await {
            Ok(response) => Done {
                claimed: Some(response.lease_epoch),
                ..Done::default()
            },
            Err(error) => Done {
                error: Some(error),
                ..Done::default()
            },
        }
    }

    /// Reports a batch, which may be empty.
    pub(super) async fn send(mut self, instance: pb::RuntimeInstance, batch: Vec<Item>) -> Done {
        let first = batch.iter().map(with_tools).collect();
        let missing = match self.report(instance.clone(), first).await {
            Ok(response) => response.missing_hashes,
            Err(error) => {
                return Done {
                    rest: batch,
                    error: Some(error),
                    ..Done::default()
                };
            }
        };
        let (held, taken): (Vec<Item>, Vec<Item>) =
            batch.into_iter().partition(|item| item.tools.is_some());
        let mut done = Done {
            taken,
            ..Done::default()
        };
        if held.is_empty() {
            return done;
        }
        let mut uploaded = self.upload(&held, &missing).await;
        done.error = uploaded.error.take();
        done.waited = if done.error.is_some() { FAILURE } else { PART };
        let (ready, mut rest): (Vec<Item>, Vec<Item>) = held
            .into_iter()
            .partition(|item| item.hold == Hold::NoLonger || uploaded.is_whole(item));
        // Who had no part of this upload comes first next time.
        rest.sort_by_key(|item| uploaded.has_served(item));
        done.rest = rest;
        if ready.is_empty() {
            return done;
        }
        let second = ready.iter().map(|item| observed(item, &item.status));
        match self.report(instance, second.collect()).await {
            Ok(_) => {
                let (whole, shown): (Vec<Item>, Vec<Item>) =
                    ready.into_iter().partition(|item| uploaded.is_whole(item));
                done.taken.extend(whole);
                done.shown = shown;
            }
            Err(error) => {
                done.rest.extend(ready);
                done.error = Some(error);
            }
        }
        done
    }

    /// Sends one report, within the limit.
    async fn report(
        &mut self,
        instance: pb::RuntimeInstance,
        connectors: Vec<pb::ObservedConnector>,
    ) -> Result<pb::ReportStatusResponse, PeerError> {
        let request = pb::ReportStatusRequest {
            instance: Some(instance),
            connectors,
        };
        match timeout(self.limit, self.client.report_status(request)).await {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => Err(PeerError::from(&status)),
            Err(_) => Err(PeerError::TimedOut),
        }
    }

    /// Uploads what is missing. A refusal is of one definition: then each connector is uploaded by itself, and what is
    /// refused of it counts as sent, because sending it again would not make the registry take it.
    async fn upload(&mut self, held: &[Item], missing: &[String]) -> Uploaded {
        let selection = Selection::of(held, missing);
        match self.send_definitions(&selection).await {
            Err(PeerError::Refused { .. }) if held.len() > 1 => {}
            result => return selection.uploaded(accepted(result)),
        }
        let mut uploaded = Uploaded::default();
        for item in held {
            let selection = Selection::of(std::slice::from_ref(item), missing);
            let result = accepted(self.send_definitions(&selection).await);
            let failed = result.is_err();
            uploaded.add(selection.uploaded(result));
            if failed {
                break;
            }
        }
        uploaded
    }

    async fn send_definitions(&mut self, selection: &Selection<'_>) -> Result<(), PeerError> {
        let sent = timeout(self.limit, selection.send(&mut self.streams)).await;
        sent.unwrap_or(Err(PeerError::TimedOut))
    }
}

/// A refusal is final, and is not to be met again.
fn accepted(result: Result<(), PeerError>) -> Result<(), PeerError> {
    match result {
        Err(error @ PeerError::Refused { .. }) => {
            tracing::error!(%error, "the registry refused definitions of tools");
            Ok(())
        }
        result => result,
    }
}

/// A connector with its tools if those are news, and then in the state it was last shown in.
fn with_tools(item: &Item) -> pb::ObservedConnector {
    let Some(tools) = &item.tools else {
        return observed(item, &item.status);
    };
    let tools = tools.iter().map(|tool| pb::ObservedTool {
        name: tool.name.clone(),
        definition_hash: tool.hash.clone(),
    });
    let tools = pb::ObservedTools {
        tools: tools.collect(),
    };
    pb::ObservedConnector {
        tools: Some(tools),
        ..observed(item, &item.before)
    }
}

fn observed(item: &Item, status: &SessionStatus) -> pb::ObservedConnector {
    pb::ObservedConnector {
        uid: item.uid.to_string(),
        generation: status.generation,
        status: Some(status::status(status)),
        tools: None,
    }
}
