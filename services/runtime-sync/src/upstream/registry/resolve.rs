//! Asks the registry for effective connectors, just before connecting: many at once, in few requests.
//!
//! Invariant: a request names at most 16 connectors and waits at most a few milliseconds for company. Nothing here
//! decides what an answer means for a session.

use std::time::Duration;

use contracts::registry::v1 as pb;
use lifecycle::{CancellationToken, Tasks};
use names::ConnectorName;
use pb::resolved_connector::Outcome;
use sensitive::Text;
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, timeout_at},
};
use tracing::{Instrument as _, Span};

use super::{RegistryClient, convert, lease::LeaseBoard};
use crate::{desired::DesiredConnector, upstream::PeerError};

/// Names in one request, as the registry allows.
const BATCH: usize = 16;
/// How long the first of a batch waits for others.
const WINDOW: Duration = Duration::from_millis(3);

/// What the registry answers about one connector.
#[derive(Debug)]
pub enum Resolved {
    /// It can be connected.
    Effective(Box<Effective>),
    /// It cannot, for this reason.
    Unresolved(String),
}

/// A connector as it is to be connected.
#[derive(Debug)]
pub struct Effective {
    /// The connector as it is now.
    pub connector: DesiredConnector,
    /// Redeems its secrets, once; `None` when it has none.
    pub grant: Option<Text>,
}

/// Asks for effective connectors. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Resolver {
    asks: mpsc::Sender<Ask>,
}

#[derive(Debug)]
struct Ask {
    name: ConnectorName,
    /// The attempt to connect that asks, so that its trace goes on into the registry.
    span: Span,
    answer: oneshot::Sender<Result<Resolved, PeerError>>,
}

impl Resolver {
    /// Starts the task that collects requests.
    pub(super) fn start(client: RegistryClient, lease: LeaseBoard, tasks: &Tasks) -> Self {
        let (asks, inbox) = mpsc::channel(BATCH * 8);
        let collector = Collector {
            client,
            lease,
            inbox,
            batches: tasks.child("resolve"),
        };
        tasks.spawn("resolver", collector.run(tasks.token()));
        Self { asks }
    }

    /// The connector as it is to be connected now, with a grant for its secrets. Cancel safe.
    ///
    /// # Errors
    /// When the registry cannot be asked, or will not answer this instance.
    pub async fn resolve(&self, name: &ConnectorName) -> Result<Resolved, PeerError> {
        let (answer, answered) = oneshot::channel();
        let ask = Ask {
            name: name.clone(),
            span: Span::current(),
            answer,
        };
        if self.asks.send(ask).await.is_err() {
            return Err(PeerError::Stopped);
        }
        answered.await.unwrap_or(Err(PeerError::Stopped))
    }
}

struct Collector {
    client: RegistryClient,
    lease: LeaseBoard,
    inbox: mpsc::Receiver<Ask>,
    batches: Tasks,
}

impl Collector {
    async fn run(mut self, cancel: CancellationToken) {
        loop {
            let first = tokio::select! {
                biased;
                () = cancel.cancelled() => return,
                ask = self.inbox.recv() => ask,
            };
            let Some(first) = first else {
                // Nobody can ask any more; the end comes with everybody else's.
                return cancel.cancelled().await;
            };
            let mut batch = vec![first];
            let until = Instant::now() + WINDOW;
            while batch.len() < BATCH {
                match timeout_at(until, self.inbox.recv()).await {
                    Ok(Some(ask)) => batch.push(ask),
                    Ok(None) | Err(_) => break,
                }
            }
            // One request can stand in one trace only; the others point to it.
            let span = batch
                .first()
                .map_or_else(Span::none, |ask| ask.span.clone());
            for ask in batch.iter().skip(1) {
                ask.span.follows_from(&span);
            }
            let answered = answer(self.client.clone(), self.lease.clone(), batch);
            self.batches.spawn_job("batch", answered.instrument(span));
        }
    }
}

/// Resolves a batch and answers everybody in it.
async fn answer(mut client: RegistryClient, lease: LeaseBoard, batch: Vec<Ask>) {
    let Some(instance) = lease.instance() else {
        for ask in batch {
            send(ask, Err(PeerError::NoLease));
        }
        return;
    };
    let request = pb::ResolveConnectorsRequest {
        instance: Some(instance),
        names: batch.iter().map(|ask| ask.name.to_string()).collect(),
    };
    match client.resolve_connectors(request).await {
        Ok(response) => {
            let pb::ResolveConnectorsResponse { connectors } = response.into_inner();
            let mut connectors = connectors.into_iter();
            for ask in batch {
                let resolved = connectors
                    .next()
                    .filter(|resolved| resolved.name == ask.name.to_string())
                    .map_or(Err(PeerError::Malformed), read);
                send(ask, resolved);
            }
        }
        Err(status) => {
            let error = PeerError::from(&status);
            if error.reason() == pb_reason(pb::ErrorReason::LeaseLost) {
                lease.suspect();
            }
            for ask in batch {
                send(ask, Err(error.clone()));
            }
        }
    }
}

/// The name of a reason as it stands in error details.
pub(super) fn pb_reason(reason: pb::ErrorReason) -> &'static str {
    reason.as_str_name().trim_start_matches("ERROR_REASON_")
}

fn read(resolved: pb::ResolvedConnector) -> Result<Resolved, PeerError> {
    let pb::ResolvedConnector { name: _, outcome } = resolved;
    match outcome {
        Some(Outcome::Effective(pb::EffectiveConnector {
            connector,
            grant_token,
            // Recomputed from the spec: what is redeemed for is what is dialled.
            destination: _,
            secrets: _,
        })) => {
            let connector = connector.ok_or(PeerError::Malformed)?;
            let connector = convert::connector(connector).map_err(|_| PeerError::Malformed)?;
            let grant = Some(grant_token).filter(|token| !token.is_empty());
            Ok(Resolved::Effective(Box::new(Effective {
                connector,
                grant: grant.map(Text::new),
            })))
        }
        Some(Outcome::Unresolved(pb::Unresolved { reason, message: _ })) => {
            Ok(Resolved::Unresolved(reason))
        }
        None => Err(PeerError::Malformed),
    }
}

fn send(ask: Ask, answer: Result<Resolved, PeerError>) {
    // Whoever asked may have given up.
    drop(ask.answer.send(answer));
}
