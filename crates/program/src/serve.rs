//! From start to signal to stop.

use std::{error::Error, future::Future};

use anyhow::Context as _;
use lifecycle::EarlyEnd;

use crate::Failure;

/// Starts a service, keeps it until a signal or until a part of it ends before it should, and stops it.
///
/// # Errors
/// [`Failure::Other`] when it does not start, or when a part of it ended early.
pub async fn serve<A, E: Error + Send + Sync + 'static>(
    (name, version): (&'static str, &'static str),
    telemetry: telemetry::Args,
    start: impl Future<Output = Result<A, E>>,
    early_end: impl AsyncFnOnce(&A) -> EarlyEnd,
    stop: impl AsyncFnOnce(A),
) -> Result<(), Failure> {
    // One provider for every TLS stack in the process; a second installation is harmless.
    drop(rustls::crypto::ring::default_provider().install_default());
    let options = telemetry.options(name, version);
    let _flush_at_the_end = telemetry::init(&options).context("telemetry")?;
    let signal = lifecycle::signals().context("signals")?;
    let app = start
        .await
        .with_context(|| format!("{name} did not start"))?;
    let ended = tokio::select! {
        signal = signal => {
            tracing::info!(%signal, "stopping");
            Ok(())
        }
        end = early_end(&app) => Err(anyhow::anyhow!("{end}")),
    };
    stop(app).await;
    Ok(ended?)
}
