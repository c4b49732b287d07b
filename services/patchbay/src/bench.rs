//! Benches, run by `patchbay bench`: what a call costs through the suite against the same call made
//! directly, and what a session costs in time and memory.
//!
//! The suite runs in this process on a temporary folder, as `patchbay up` would run it. Build with
//! `--release`: numbers of a debug build say little. Nothing here is asserted; tests have bounds.

mod calls;
mod direct;
mod measure;
mod sessions;

use std::path::Path;

use anyhow::Context as _;
use contracts::registry::v1 as pb;
use contracts::registry::v1::connector::Transport;

use crate::cli::{BenchArgs, BenchCommand, Global};
use crate::client::Client;
use crate::client::print::short;
use crate::failure::Failure;
use crate::suite::{Suite, SuiteOptions};

/// Runs one of the benches.
pub(crate) async fn run(
    global: &Global,
    arguments: BenchArgs,
    program: &Path,
) -> Result<(), Failure> {
    let folder = tempfile::Builder::new()
        .prefix("patchbay-bench-")
        .tempdir()
        .context("a temporary folder for the bench")?;
    // As `up` does by default: what tracing costs is part of what is measured.
    let _telemetry = telemetry::init(&telemetry::Options {
        service: "patchbay-bench",
        version: env!("CARGO_PKG_VERSION"),
        format: telemetry::LogFormat::Text,
        log: "warn".to_owned(),
        otlp_endpoint: None,
    })
    .context("telemetry")?;
    let suite = Suite::start(SuiteOptions::ephemeral(folder.path(), program)?).await?;
    let client = suite.client(global)?;
    let result = match arguments.what {
        None => calls::run(&client, &arguments.calls, program).await,
        Some(BenchCommand::Calls(arguments)) => calls::run(&client, &arguments, program).await,
        Some(BenchCommand::Sessions { count }) => sessions::run(&client, count, program).await,
    };
    suite.stop().await;
    result
}

fn profile() -> &'static str {
    if cfg!(debug_assertions) {
        "debug build: use a release build for real numbers"
    } else {
        "release build"
    }
}

fn stdio(program: &Path) -> anyhow::Result<Transport> {
    let command = program
        .to_str()
        .context("the path of this program is not UTF-8")?
        .to_owned();
    let arguments = vec!["demo-server".to_owned()];
    Ok(Transport::Stdio(pb::StdioTransport {
        command,
        arguments,
        ..Default::default()
    }))
}

fn http(url: &str) -> Transport {
    Transport::StreamableHttp(pb::StreamableHttpTransport {
        url: url.to_owned(),
        headers: vec![],
    })
}

/// Creates a connector and gives its name and revision.
async fn create(
    client: &Client,
    parent: &str,
    id: &str,
    transport: Transport,
) -> Result<pb::Connector, Failure> {
    let request = pb::CreateConnectorRequest {
        parent: parent.to_owned(),
        connector_id: id.to_owned(),
        connector: Some(pb::Connector {
            transport: Some(transport),
            ..Default::default()
        }),
        ..Default::default()
    };
    let answer = client
        .registry()
        .create_connector(client.request(request))
        .await?
        .into_inner();
    Ok(answer
        .connector
        .context("the registry answered without the connector")?)
}

/// Waits until a connector is READY.
async fn ready(client: &Client, connector: &pb::Connector) -> Result<(), Failure> {
    let request = pb::WaitConnectorRequest {
        name: connector.name.clone(),
        min_revision: connector.revision,
        timeout: None,
    };
    let answer = client
        .registry()
        .wait_connector(client.patient_request(request))
        .await?
        .into_inner();
    let status = answer
        .connector
        .and_then(|connector| connector.status)
        .unwrap_or_default();
    if status.state() == pb::ConnectorState::Ready {
        return Ok(());
    }
    let state = short(status.state().as_str_name(), "CONNECTOR_STATE_");
    Err(anyhow::anyhow!(
        "{} is {state}: {} {}",
        connector.name,
        status.reason,
        status.message
    )
    .into())
}
