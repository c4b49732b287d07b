//! Follows the registry's change feed, and keeps the desired state.
//!
//! Invariants: the published state is whole, a snapshot replaces it only once it is complete, and whatever events were
//! lost, a fresh snapshot at every interval repairs it. Acting on the state is the supervisor's.

use std::{sync::Arc, time::Duration};

use contracts::registry::v1 as pb;
use lifecycle::{Backoff, CancellationToken, Jitter};
use pb::watch_connectors_response::Event;
use rpc::error::ErrorView;
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until, timeout},
};
use tonic::Code;

use super::{FeedOptions, Freshness, RegistryClient, convert};
use crate::{desired::Desired, upstream::PeerError};

/// The reason with which servers end streams that are old, and nothing else.
const STREAM_EXPIRED: &str = "STREAM_EXPIRED";

/// The follower of the feed.
pub(super) struct Feed {
    pub(super) client: RegistryClient,
    pub(super) desired: watch::Sender<Arc<Desired>>,
    pub(super) freshness: Freshness,
    pub(super) options: FeedOptions,
    pub(super) token: Option<String>,
    /// When everything is to be read anew, however often the stream broke in between.
    pub(super) refresh_at: Instant,
}

/// Why following stopped.
#[derive(Debug)]
enum End {
    /// It is time for a fresh snapshot.
    Refresh,
    /// The token is too old, or of another feed.
    TokenExpired,
    /// The stream was as old as streams may be: that happens to every one of them.
    Expired,
    /// The stream ended, could not be opened, or was silent for too long.
    Broken(PeerError),
}

impl Feed {
    /// Follows the feed until cancelled.
    pub(super) async fn run(mut self, cancel: CancellationToken) {
        let FeedOptions {
            backoff,
            backoff_max,
            ..
        } = self.options;
        let mut pause = Backoff::new(backoff, backoff_max).jitter(Jitter::Equal);
        loop {
            let opened = Instant::now();
            let end = tokio::select! {
                biased;
                () = cancel.cancelled() => return,
                end = self.follow() => end,
            };
            match end {
                End::Refresh => {
                    self.token = None;
                    continue;
                }
                End::TokenExpired => {
                    tracing::warn!(
                        "the registry no longer knows where the feed was left; starting over"
                    );
                    self.token = None;
                }
                End::Expired => tracing::debug!("the registry's feed is opened again"),
                End::Broken(error) => {
                    tracing::warn!(%error, "the registry's feed broke; following it again");
                }
            }
            if opened.elapsed() > backoff_max {
                pause.reset();
            }
            tokio::select! {
                biased;
                () = cancel.cancelled() => return,
                () = sleep(pause.next_delay()) => {}
            }
        }
    }

    /// Follows one stream to its end.
    async fn follow(&mut self) -> End {
        if self.token.is_none() || self.refresh_at <= Instant::now() {
            self.token = None;
            self.refresh_at = Instant::now() + jittered(self.options.refresh);
        }
        let idle = self.options.idle;
        let request = pb::WatchConnectorsRequest {
            parents: Vec::new(),
            view: pb::WatchView::Desired.into(),
            resume_token: self.token.clone().unwrap_or_default(),
        };
        let mut stream = match timeout(idle, self.client.watch_connectors(request)).await {
            Ok(Ok(response)) => response.into_inner(),
            Ok(Err(status)) => return broken(&status),
            Err(_) => return End::Broken(PeerError::TimedOut),
        };
        let mut snapshot = self.token.is_none().then(Desired::default);
        loop {
            let message = tokio::select! {
                biased;
                message = timeout(idle, stream.message()) => message,
                // Never in the middle of a snapshot, or a large one would never be complete.
                () = sleep_until(self.refresh_at), if snapshot.is_none() => return End::Refresh,
            };
            match message {
                Ok(Ok(Some(message))) => self.take(message, &mut snapshot),
                Ok(Ok(None)) => return End::Broken(PeerError::Unreachable(Code::Unavailable)),
                Ok(Err(status)) => return broken(&status),
                Err(_) => return End::Broken(PeerError::TimedOut),
            }
        }
    }

    /// Takes one message in.
    fn take(&mut self, message: pb::WatchConnectorsResponse, snapshot: &mut Option<Desired>) {
        let pb::WatchConnectorsResponse {
            event,
            resume_token,
            revision,
        } = message;
        self.freshness.touch();
        if !resume_token.is_empty() {
            self.token = Some(resume_token);
        }
        if let Some(assembling) = snapshot {
            apply(assembling, event.as_ref());
            if matches!(event, Some(Event::SnapshotEnd(_))) {
                assembling.advance(revision);
                let complete = snapshot.take().unwrap_or_default();
                tracing::info!(
                    revision,
                    connectors = complete.len(),
                    "snapshot of the registry's feed"
                );
                self.desired.send_replace(Arc::new(complete));
            }
            return;
        }
        self.desired.send_modify(|desired| {
            let desired = Arc::make_mut(desired);
            apply(desired, event.as_ref());
            desired.advance(revision);
        });
    }
}

/// Applies what happened to one connector.
fn apply(desired: &mut Desired, event: Option<&Event>) {
    match event {
        Some(Event::Connector(connector)) => match convert::connector(connector.clone()) {
            Ok(connector) => desired.upsert(connector),
            Err(error) => tracing::error!(%error, "a connector of the feed has no readable name"),
        },
        Some(Event::Deleted(pb::DeletedConnector { name, uid })) => {
            if let (Ok(name), Ok(uid)) = (name.parse(), uid.parse()) {
                desired.remove(&name, uid);
            }
        }
        // An event of a newer release is worth its revision at least.
        Some(Event::SnapshotEnd(_) | Event::Progress(_)) | None => {}
    }
}

fn broken(status: &tonic::Status) -> End {
    if status.code() == Code::OutOfRange {
        End::TokenExpired
    } else if ErrorView::reason_of(status).is_some_and(|reason| reason == STREAM_EXPIRED) {
        End::Expired
    } else {
        End::Broken(PeerError::from(status))
    }
}

/// A duration up to a fifth shorter, so that instances do not refresh together.
fn jittered(duration: Duration) -> Duration {
    duration.mul_f64(1.0 - 0.2 * rand::random::<f64>())
}

#[cfg(test)]
mod tests {
    use rpc::error::RichError;

    use super::*;

    #[test]
    fn a_stream_that_grew_old_is_no_trouble_and_one_that_broke_is() {
        let expired = RichError::new(Code::Unavailable, STREAM_EXPIRED, "old").into();
        assert!(matches!(broken(&expired), End::Expired));
        let down = RichError::new(Code::Unavailable, "SHUTTING_DOWN", "going").into();
        assert!(matches!(broken(&down), End::Broken(_)));
    }
}
