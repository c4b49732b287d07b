//! A direct rmcp call against the same call through CallTool, over streamable HTTP and stdio.
//!
//! Both ways are measured in turns, so that what else happens on the machine falls on both alike.

use std::path::Path;
use std::sync::Arc;

use lifecycle::Tasks;
use serde::Serialize;
use tokio::net::TcpListener;

use super::direct::Direct;
use super::measure::{Call, Measured, measure};
use super::{create, http, profile, ready, stdio};
use crate::cli::{BenchCallsArgs, Output};
use crate::client::Client;
use crate::client::print::say;
use crate::client::table::Table;
use crate::demo::server::{http_url, serve_http};
use crate::failure::Failure;

/// What `echo` is given: 64 bytes.
const TEXT: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
/// How often the two ways take turns.
const TURNS: u64 = 4;
const STOP_GRACE: std::time::Duration = std::time::Duration::from_secs(2);

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    transport: &'static str,
    concurrency: u64,
    direct: Figures,
    call_tool: Figures,
    added_p50_ms: f64,
    throughput_ratio: f64,
    cpu_ratio: f64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Figures {
    p50_ms: f64,
    p99_ms: f64,
    calls_per_second: f64,
    cpu_ms_per_call: f64,
}

impl From<&Measured> for Figures {
    fn from(measured: &Measured) -> Self {
        Self {
            p50_ms: measured.quantile_ms(0.5),
            p99_ms: measured.quantile_ms(0.99),
            calls_per_second: measured.calls_per_second(),
            cpu_ms_per_call: measured.cpu_ms_per_call(),
        }
    }
}

pub(super) async fn run(
    client: &Client,
    arguments: &BenchCallsArgs,
    program: &Path,
) -> Result<(), Failure> {
    let tasks = Tasks::new("bench-server");
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = http_url(listener.local_addr()?);
    let stop = tasks.token();
    tasks.spawn("http", async move {
        if let Err(error) = serve_http(listener, stop.cancelled_owned()).await {
            tracing::error!(%error, "the bench's server ended");
        }
    });

    let mut rows = Vec::new();
    let direct = Direct::http(&url).await?;
    let through = through(client, "http", http(&url)).await?;
    compare(&mut rows, "http", &direct.call(TEXT), &through, arguments).await?;
    direct.close().await?;

    let direct = Direct::stdio(program).await?;
    let through = self::through(client, "stdio", stdio(program)?).await?;
    compare(&mut rows, "stdio", &direct.call(TEXT), &through, arguments).await?;
    direct.close().await?;
    tasks.stop(STOP_GRACE).await;
    report(client, arguments, &rows)
}

/// The call through the suite, on a connector of its own.
async fn through(
    client: &Client,
    id: &str,
    transport: contracts::registry::v1::connector::Transport,
) -> Result<Call, Failure> {
    let connector = create(client, "users/bench", id, transport).await?;
    ready(client, &connector).await?;
    let (tools, name) = (client.tools(), connector.name);
    Ok(Arc::new(move || {
        let mut tools = tools.clone();
        let request = contracts::runtime::v1::CallToolRequest {
            connector: name.clone(),
            tool: "echo".to_owned(),
            arguments_json: format!(r#"{{"text":"{TEXT}"}}"#),
            ..Default::default()
        };
        Box::pin(async move {
            let answer = tools.call_tool(request).await?.into_inner();
            anyhow::ensure!(!answer.is_error, "the tool reported an error");
            Ok(())
        })
    }))
}

async fn compare(
    rows: &mut Vec<Row>,
    transport: &'static str,
    direct: &Call,
    through: &Call,
    arguments: &BenchCallsArgs,
) -> anyhow::Result<()> {
    for &concurrency in &arguments.concurrency {
        let turn = (arguments.calls / TURNS).max(concurrency);
        for call in [direct, through] {
            measure(call, turn, concurrency).await?; // Warm-up, not counted.
        }
        let (mut direct_sum, mut through_sum) = (Measured::nothing()?, Measured::nothing()?);
        for _ in 0..TURNS {
            direct_sum.add(measure(direct, turn, concurrency).await?)?;
            through_sum.add(measure(through, turn, concurrency).await?)?;
        }
        rows.push(Row::new(transport, concurrency, &direct_sum, &through_sum));
    }
    Ok(())
}

impl Row {
    fn new(
        transport: &'static str,
        concurrency: u64,
        direct: &Measured,
        through: &Measured,
    ) -> Self {
        let (direct, call_tool) = (Figures::from(direct), Figures::from(through));
        Self {
            transport,
            concurrency,
            added_p50_ms: call_tool.p50_ms - direct.p50_ms,
            throughput_ratio: call_tool.calls_per_second / direct.calls_per_second,
            cpu_ratio: call_tool.cpu_ms_per_call / direct.cpu_ms_per_call,
            direct,
            call_tool,
        }
    }
}

fn report(client: &Client, arguments: &BenchCallsArgs, rows: &[Row]) -> Result<(), Failure> {
    if client.printer().output() == Output::Json {
        let json =
            serde_json::json!({ "build": profile(), "calls": arguments.calls, "rows": rows });
        return say(&format!("{json:#}\n"));
    }
    let mut table = Table::new([
        "TRANSPORT",
        "AT ONCE",
        "WAY",
        "P50",
        "P99",
        "CALLS/S",
        "CPU/CALL",
        "AGAINST DIRECT",
    ]);
    for row in rows {
        for (way, figures) in [("direct", &row.direct), ("CallTool", &row.call_tool)] {
            let against = match way {
                "direct" => String::new(),
                _ => format!(
                    "p50 {:+.3} ms, throughput x{:.2}, CPU x{:.2}",
                    row.added_p50_ms, row.throughput_ratio, row.cpu_ratio
                ),
            };
            table.row([
                row.transport.to_owned(),
                row.concurrency.to_string(),
                way.to_owned(),
                format!("{:.3} ms", figures.p50_ms),
                format!("{:.3} ms", figures.p99_ms),
                format!("{:.0}", figures.calls_per_second),
                format!("{:.3} ms", figures.cpu_ms_per_call),
                against,
            ]);
        }
    }
    say(&format!(
        "echo of {} bytes, {} calls each after a warm-up, {}\n\n{}\n\
         CPU/CALL is CPU time of this process, in which client, suite and the HTTP server run; a stdio \
         server's own is not in it.\n",
        TEXT.len(),
        arguments.calls,
        profile(),
        table.render()
    ))
}
