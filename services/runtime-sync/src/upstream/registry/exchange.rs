//! One exchange with the registry: a report, and the definitions it asks for.
//!
//! Invariant: a connector is shown in its new state only once the registry has the definitions behind it, so that who
//! waits for READY and lists finds whole tools; but definitions that will not arrive hold no state back for ever.

use std::time::Duration;

use contracts::registry::v1 as pb;
use tokio::time::timeout;

use super::{
    RegistryClient, RegistryStreams,
    definitions::{self, Uploaded},
    ledger::Item,
    status,
};
use crate::{domain::SessionStatus, upstream::PeerError};

/// What an exchange works with.
pub(super) struct Exchange {
    pub(super) client: RegistryClient,
    pub(super) streams: RegistryStreams,
    pub(super) limit: Duration,
    /// Whether states are still held back until their definitions have arrived.
    pub(super) hold: Hold,
}

/// Whether a state waits for the definitions behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hold {
    /// It does.
    Back,
    /// They have kept it waiting for long enough.
    NoLonger,
}

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
        let uploaded = self.upload(&held, &missing).await;
        let whole = matches!(uploaded, Ok(Uploaded::All));
        done.error = uploaded.err();
        if !whole && self.hold == Hold::Back {
            done.rest = held;
            return done;
        }
        let second = held
            .iter()
            .map(|item| observed(item, &item.status))
            .collect();
        match self.report(instance, second).await {
            Ok(_) if whole => done.taken.extend(held),
            Ok(_) => done.shown = held,
            Err(error) => {
                done.rest = held;
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

    async fn upload(&mut self, held: &[Item], missing: &[String]) -> Result<Uploaded, PeerError> {
        let upload = definitions::upload(&mut self.streams, held, missing);
        match timeout(self.limit, upload).await {
            // Sending them again would not make the registry take them.
            Ok(Err(error @ PeerError::Refused { .. })) => {
                tracing::error!(%error, "the registry refused definitions of tools");
                Ok(Uploaded::All)
            }
            Ok(uploaded) => uploaded,
            Err(_) => Err(PeerError::TimedOut),
        }
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
