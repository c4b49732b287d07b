//! Waiting until what was observed has caught up with what is desired.

use std::time::Duration;

use lifecycle::CancellationToken;
use names::ConnectorName;
use tokio::{sync::watch, time::Instant};

use super::{Registry, Shown};
use crate::error::{Error, Result};

/// A runtime's presence ends without any change in the feed; so now and then a waiter looks again.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Between two looks, however fast the feed grows.
const PAUSE: Duration = Duration::from_millis(20);

/// The end of a wait.
#[derive(Debug)]
pub struct Waited {
    /// The connector as it then was.
    pub shown: Shown,
    /// Whether it had settled.
    pub settled: bool,
}

impl Registry {
    /// Waits until a connector has settled at `min_revision` or later, but not beyond `until`, nor until `draining`.
    ///
    /// # Errors
    /// [`Error`]; that the time is up is none.
    pub async fn wait(
        &self,
        name: &ConnectorName,
        min_revision: i64,
        until: Instant,
        draining: &CancellationToken,
    ) -> Result<Waited> {
        let Ok(_permit) = self.waits.try_acquire() else {
            return Err(Error::TooManyWaits);
        };
        let mut newest = self.store.newest();
        loop {
            newest.mark_unchanged();
            // The feed is read first: what the connector shows then is at least as new.
            let revision = self.store.feed().await?.revision;
            let connector = self.store.get(name).await.map_err(Error::about(name))?;
            let lease = self.lease().await?;
            let settled =
                revision >= min_revision && connector.is_settled(lease.as_ref(), self.now());
            if settled || Instant::now() >= until {
                return Ok(Waited {
                    shown: self.show_with(connector, lease.as_ref()),
                    settled,
                });
            }
            let seen = connector.revisions.revision;
            let missing = min_revision.saturating_sub(revision) > 0;
            tokio::select! {
                biased;
                () = draining.cancelled() => return Err(Error::Draining),
                () = tokio::time::sleep_until(until) => {}
                () = tokio::time::sleep(LOOK_AGAIN) => {}
                changed = self.changed(name, seen, missing.then_some(min_revision), &mut newest) => changed?,
            }
        }
    }

    /// Waits until the connector is at another revision than `seen`, or the feed has come to `wanted`. Most revisions are
    /// of other connectors; one look at one column tells them.
    async fn changed(
        &self,
        name: &ConnectorName,
        seen: i64,
        wanted: Option<i64>,
        newest: &mut watch::Receiver<i64>,
    ) -> Result<()> {
        loop {
            // The sender lives in the store, as long as `self`.
            if newest.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
            let at = *newest.borrow_and_update();
            if wanted.is_some_and(|wanted| at >= wanted)
                || self.store.revision_of(name).await? != Some(seen)
            {
                return Ok(());
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}
