//! Keeping a modern server's subscription to changes of its list of tools open.
//!
//! Not every modern server has it; the timer remains. A subscription that breaks is made again, and what changed in
//! between is asked for. Legacy servers announce without being asked (see `notices`).

use std::time::Duration;

use lifecycle::Backoff;
use rmcp::{
    Peer, RoleClient,
    model::SubscriptionFilter,
    service::{ServiceError, Subscription},
};

use super::{notices::Notifier, pace::spread};
use crate::transport::{WireErrorKind, wire_cause};

/// How long a server may take to acknowledge a subscription.
const ACKNOWLEDGE: Duration = Duration::from_secs(10);
/// How often a server that says nothing to it is asked.
const SILENT_TRIES: u32 = 3;

/// Listens until the server turns out not to have it.
pub(super) async fn listen(
    peer: Peer<RoleClient>,
    notifier: Notifier,
    pause: Duration,
    max: Duration,
) {
    let mut backoff = Backoff::new(pause, max);
    let mut silent = 0;
    loop {
        match subscribe(&peer).await {
            Answer::Listening(mut subscription) => {
                backoff.reset();
                silent = 0;
                while let Ok(Some(_)) = subscription.next().await {
                    notifier.tools_changed();
                }
                tokio::time::sleep(spread(pause)).await;
                // What changed while nobody listened was missed.
                notifier.tools_changed();
            }
            Answer::Silent if silent + 1 < SILENT_TRIES => silent += 1,
            Answer::Silent | Answer::Unknown => return,
            Answer::Broken => tokio::time::sleep(backoff.next_delay().max(pause)).await,
        }
    }
}

/// What a server says to a subscription.
enum Answer {
    Listening(Box<Subscription>),
    /// It does not know what that is.
    Unknown,
    /// Nothing.
    Silent,
    /// It could not be asked.
    Broken,
}

async fn subscribe(peer: &Peer<RoleClient>) -> Answer {
    let filter = SubscriptionFilter::builder().tools_list_changed().build();
    let subscribing = Box::pin(peer.listen(filter));
    match tokio::time::timeout(ACKNOWLEDGE, subscribing).await {
        Ok(Ok(subscription)) => Answer::Listening(Box::new(subscription)),
        Ok(Err(error)) => judge(&error),
        Err(_) => Answer::Silent,
    }
}

fn judge(error: &ServiceError) -> Answer {
    match error {
        ServiceError::TransportSend(error) => match wire_cause(error.error.as_ref()) {
            Some(WireErrorKind::HttpStatus(400..500) | WireErrorKind::InvalidResponse) => {
                Answer::Unknown
            }
            Some(_) | None => Answer::Broken,
        },
        ServiceError::TransportClosed => Answer::Broken,
        _ => Answer::Unknown,
    }
}
