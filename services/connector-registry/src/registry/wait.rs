//! Waiting until what was observed has caught up with what is desired.

use std::time::Duration;

use names::ConnectorName;
use tokio::time::Instant;

use super::{Registry, Shown};
use crate::error::{Error, Result};

/// A runtime's presence ends without any change in the feed; so now and then a waiter looks again.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// The end of a wait.
#[derive(Debug)]
pub struct Waited {
    /// The connector as it then was.
    pub shown: Shown,
    /// Whether it had settled.
    pub settled: bool,
}

impl Registry {
    /// Waits until a connector has settled at `min_revision` or later, but not beyond `until`.
    ///
    /// # Errors
    /// [`Error`]; that the time is up is none.
    pub async fn wait(
        &self,
        name: &ConnectorName,
        min_revision: i64,
        until: Instant,
    ) -> Result<Waited> {
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
            tokio::select! {
                // The sender lives in the store, as long as `self`.
                _ = newest.changed() => {}
                () = tokio::time::sleep_until(until) => {}
                () = tokio::time::sleep(LOOK_AGAIN) => {}
            }
        }
    }
}
