//! Asking a running service whether it is ready, and keeping it as ready as its database.

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use anyhow::Context as _;
use database::Database;
use lifecycle::CancellationToken;
use rpc::Health;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::Failure;

const HEALTH_TIMEOUT: Duration = Duration::from_secs(3);
const PING_EVERY: Duration = Duration::from_secs(5);

/// Asks the service `name`, which listens at `address`, whether it is ready; at most 3 s.
///
/// # Errors
/// [`Failure::Other`] when it does not answer or is not ready.
pub async fn healthcheck(name: &str, mut address: SocketAddr) -> Result<(), Failure> {
    if address.ip().is_unspecified() {
        // Who listens everywhere listens on this machine, too.
        address.set_ip(match address {
            SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    let check = async {
        let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{address}"))?;
        let mut client = HealthClient::new(endpoint.connect().await?);
        let request = HealthCheckRequest {
            service: String::new(),
        };
        anyhow::Ok(client.check(request).await?.into_inner().status())
    };
    let status = tokio::time::timeout(HEALTH_TIMEOUT, check)
        .await
        .context("no answer in time")?
        .with_context(|| format!("{name} at {address} does not answer"))?;
    match status {
        ServingStatus::Serving => Ok(()),
        ServingStatus::Unknown | ServingStatus::NotServing | ServingStatus::ServiceUnknown => {
            Err(anyhow::anyhow!("{name} at {address} is not ready").into())
        }
    }
}

/// Keeps a service ready for as long as its database answers. Ends when cancelled.
pub async fn watch_database(database: Database, health: Health, cancel: CancellationToken) {
    loop {
        tokio::select! {
            () = cancel.cancelled() => return,
            () = tokio::time::sleep(PING_EVERY) => {}
        }
        let answer = database.ping().await;
        if let Err(error) = &answer {
            tracing::warn!(%error, "the database does not answer");
        }
        health.set_ready(answer.is_ok());
    }
}
