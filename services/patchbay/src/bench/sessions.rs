//! Many connectors to one HTTP server: how fast they become READY, and what each costs in memory here.
//!
//! The server is a process of its own, so that its share is not counted.

use std::collections::HashMap;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use contracts::registry::v1 as pb;
use contracts::registry::v1::watch_connectors_response::Event;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use super::{create, http, profile};
use crate::cli::Output;
use crate::client::Client;
use crate::client::print::say;
use crate::client::table::fields;
use crate::failure::Failure;

/// Connectors of one user; the default quota.
const PER_USER: u32 = 10;
/// Requests to create one, at once.
const CREATED_AT_ONCE: usize = 16;
/// Longest time for all of them together.
const READY_WITHIN: Duration = Duration::from_secs(300);
/// Calm before memory is read, so that buffers of the handshakes are gone.
const SETTLE: Duration = Duration::from_secs(2);

pub(super) async fn run(client: &Client, count: u32, program: &Path) -> Result<(), Failure> {
    let (_server, url) = start_server(program).await?;
    // The first connector pays for what all of them share.
    let (first, _) = connect(client, "warm", 1, &url).await?;
    tokio::time::sleep(SETTLE).await;
    let before = resident_kilobytes()?;
    let started = Instant::now();
    let (created, mut times) = connect(client, "bench", count, &url).await?;
    let all_ready = started.elapsed();
    tokio::time::sleep(SETTLE).await;
    let after = resident_kilobytes()?;
    times.sort_unstable();
    let quantile = |percent: usize| {
        times
            .get((times.len() - 1) * percent / 100)
            .copied()
            .unwrap_or_default()
    };
    let each = after.saturating_sub(before) / u64::from(count);
    let tools = first.len() + created.len();
    report(
        client,
        &Report {
            build: profile(),
            connectors: count,
            created_ms: created.last().copied().unwrap_or_default().as_millis(),
            all_ready_ms: all_ready.as_millis(),
            ready_p50_ms: quantile(50).as_millis(),
            ready_p99_ms: quantile(99).as_millis(),
            rss_before_kb: before,
            rss_after_kb: after,
            rss_per_session_kb: each,
            sessions: tools,
        },
    )
}

#[derive(Debug, serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    build: &'static str,
    connectors: u32,
    created_ms: u128,
    all_ready_ms: u128,
    ready_p50_ms: u128,
    ready_p99_ms: u128,
    rss_before_kb: u64,
    rss_after_kb: u64,
    rss_per_session_kb: u64,
    sessions: usize,
}

fn report(client: &Client, report: &Report) -> Result<(), Failure> {
    if client.printer().output() == Output::Json {
        let json = serde_json::to_string_pretty(report).context("the report as JSON")?;
        return say(&format!("{json}\n"));
    }
    let ms = |ms: u128| format!("{ms} ms");
    let kb = |kb: u64| format!("{kb} kB");
    say(&fields([
        ("build", report.build.to_owned()),
        ("connectors", report.connectors.to_string()),
        ("all created after", ms(report.created_ms)),
        ("all READY after", ms(report.all_ready_ms)),
        ("creation to READY, p50", ms(report.ready_p50_ms)),
        ("creation to READY, p99", ms(report.ready_p99_ms)),
        ("memory before", kb(report.rss_before_kb)),
        ("memory after", kb(report.rss_after_kb)),
        ("memory per session", kb(report.rss_per_session_kb)),
    ]))
}

/// Creates the connectors and waits until all are READY. Gives when each was created, counted from the
/// start, and how long each took from there to READY.
async fn connect(
    client: &Client,
    user: &str,
    count: u32,
    url: &str,
) -> Result<(Vec<Duration>, Vec<Duration>), Failure> {
    let request = pb::WatchConnectorsRequest {
        parents: vec!["users/-".to_owned()],
        view: pb::WatchView::Full.into(),
        resume_token: String::new(),
    };
    let mut watch = client
        .registry_streams()
        .watch_connectors(request)
        .await?
        .into_inner();
    let started = Instant::now();
    let one = |number: u32| async move {
        let parent = format!("users/{user}-{}", number / PER_USER);
        let before = started.elapsed();
        let created = create(client, &parent, &format!("c{number}"), http(url)).await?;
        Ok::<_, Failure>((created.name, before))
    };
    let creating = stream::iter(0..count)
        .map(one)
        .buffer_unordered(CREATED_AT_ONCE);
    let creating = creating.try_collect::<HashMap<String, Duration>>();
    let watching = async {
        let mut ready = HashMap::new();
        while ready.len() < usize::try_from(count).unwrap_or(usize::MAX) {
            let event = watch
                .message()
                .await?
                .ok_or_else(|| anyhow!("the watch ended"))?;
            note(&mut ready, user, started, event)?;
        }
        Ok::<_, Failure>(ready)
    };
    let both = tokio::time::timeout(READY_WITHIN, async { tokio::try_join!(creating, watching) });
    let (created, ready) = both
        .await
        .map_err(|_| anyhow!("not all connectors were READY within {READY_WITHIN:?}"))??;
    let mut starts: Vec<Duration> = created.values().copied().collect();
    starts.sort_unstable();
    let took = ready
        .iter()
        .filter_map(|(name, at)| Some(at.saturating_sub(*created.get(name)?)));
    Ok((starts, took.collect()))
}

fn note(
    ready: &mut HashMap<String, Duration>,
    user: &str,
    started: Instant,
    event: pb::WatchConnectorsResponse,
) -> anyhow::Result<()> {
    let Some(Event::Connector(connector)) = event.event else {
        return Ok(());
    };
    let status = connector.status.unwrap_or_default();
    if !connector.name.starts_with(&format!("users/{user}-")) {
        return Ok(());
    }
    match status.state() {
        pb::ConnectorState::Ready => {
            ready
                .entry(connector.name)
                .or_insert_with(|| started.elapsed());
        }
        pb::ConnectorState::Misconfigured | pb::ConnectorState::AuthRequired => {
            return Err(anyhow!(
                "{}: {} {}",
                connector.name,
                status.reason,
                status.message
            ));
        }
        pb::ConnectorState::Unspecified
        | pb::ConnectorState::Pending
        | pb::ConnectorState::Connecting
        | pb::ConnectorState::Idle
        | pb::ConnectorState::Degraded
        | pb::ConnectorState::Unreachable
        | pb::ConnectorState::Disabled => {}
    }
    Ok(())
}

/// Starts the bundled server as a process that ends with the returned handle.
async fn start_server(program: &Path) -> anyhow::Result<(Child, String)> {
    let mut server = Command::new(program)
        .args(["demo-server", "--listen", "127.0.0.1:0"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("the bundled server")?;
    let output = server
        .stdout
        .take()
        .context("the server's standard output")?;
    let mut url = String::new();
    BufReader::new(output).read_line(&mut url).await?;
    anyhow::ensure!(!url.trim().is_empty(), "the bundled server did not start");
    Ok((server, url.trim().to_owned()))
}

/// What this process has in memory.
fn resident_kilobytes() -> anyhow::Result<u64> {
    let status =
        std::fs::read_to_string("/proc/self/status").context("memory can be read on Linux only")?;
    resident(&status).context("/proc/self/status without VmRSS")
}

fn resident(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_from_the_kernel() {
        assert_eq!(
            resident("Name:\tx\nVmRSS:\t   12345 kB\nVmData:\t1 kB\n"),
            Some(12345)
        );
        assert_eq!(resident("Name:\tx\n"), None);
        assert!(resident_kilobytes().unwrap() > 0);
    }
}
