//! One trace: what a caller begins is continued by the services and reaches the MCP server.

use std::collections::{BTreeMap, BTreeSet};

use contracts::runtime::v1::CallToolRequest;
use fake_opentelemetry_collector::{ExportedSpan, FakeCollectorServer};
use integration_tests::{Connection, HttpServer, LONG, State, Suite, Up, eventually};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

#[tokio::test]
async fn connecting_with_a_secret_is_one_trace_across_the_three_services() {
    let mut collector = FakeCollectorServer::start().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let up = Up::start_with(folder.path(), &["--otlp-endpoint", &collector.endpoint()]).await;
    let caller = up.clients("caller");
    let server = HttpServer::start(["echo"]);
    let connector = caller
        .connect(Connection::from(&server).secret("x-api-key", "s3cret-s3cret"))
        .await;
    caller.wait_for(&connector, State::Ready).await;

    // The runtime asks the registry, which asks the vault; then the runtime asks the vault itself.
    let wanted = [
        "ConnectorService/ResolveConnectors",
        "SecretService/CreateGrant",
        "SecretService/RedeemGrant",
    ];
    let mut spans: Vec<ExportedSpan> = Vec::new();
    eventually("one trace with all three", LONG, async || {
        spans.extend(
            collector
                .exported_spans(1, std::time::Duration::from_millis(500))
                .await,
        );
        let mut traces: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for span in spans.iter().filter(|span| span.kind == "SPAN_KIND_SERVER") {
            traces.entry(&span.trace_id).or_default().insert(&span.name);
        }
        let has = |names: &BTreeSet<&str>, part: &str| names.iter().any(|name| name.contains(part));
        if traces
            .values()
            .any(|names| wanted.iter().all(|part| has(names, part)))
        {
            return Ok(());
        }
        Err(format!("{traces:#?}"))
    })
    .await;
    assert!(
        !spans
            .iter()
            .any(|span| format!("{span:?}").contains("s3cret-s3cret")),
        "secrets stay out"
    );
}

#[tokio::test]
async fn a_calls_trace_reaches_the_mcp_server() {
    let mut collector = FakeCollectorServer::start().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let up = Up::start_with(folder.path(), &["--otlp-endpoint", &collector.endpoint()]).await;
    let caller = up.clients("caller");
    let server = HttpServer::start(["echo"]);
    let connector = caller.connect(&server).await;
    caller.wait_for(&connector, State::Ready).await;

    let mut request = tonic::Request::new(CallToolRequest {
        connector: connector.name.clone(),
        tool: "echo".into(),
        ..CallToolRequest::default()
    });
    request
        .metadata_mut()
        .insert("traceparent", PARENT.parse().unwrap());
    caller.tools.clone().call_tool(request).await.unwrap();

    let metas = server.seen().metas();
    let seen = metas[0]
        .get("traceparent")
        .and_then(|value| value.as_str())
        .unwrap_or_default();
    let fields: Vec<&str> = seen.split('-').collect();
    assert_eq!(fields.get(1), Some(&TRACE), "the server was sent {metas:?}");
    assert_ne!(
        fields.get(2),
        Some(&"00f067aa0ba902b7"),
        "a span of ours is the parent"
    );

    let mut spans: Vec<ExportedSpan> = Vec::new();
    eventually("the span that the server was told of", LONG, async || {
        spans.extend(
            collector
                .exported_spans(1, std::time::Duration::from_millis(500))
                .await,
        );
        let told = |span: &&ExportedSpan| {
            span.trace_id == TRACE && Some(&span.span_id.as_str()) == fields.get(2)
        };
        spans.iter().find(told).map(|_| ()).ok_or_else(|| {
            let names: Vec<_> = spans
                .iter()
                .map(|span| (&span.name, &span.trace_id))
                .collect();
            format!("{seen} is not among {names:?}")
        })
    })
    .await;
}

#[tokio::test]
async fn a_call_without_a_trace_works_all_the_same() {
    let suite = Suite::start().await;
    let server = HttpServer::start(["echo"]);
    let connector = suite.caller().connect(&server).await;
    suite.caller().wait_for(&connector, State::Ready).await;
    suite.caller().call(&connector, "echo", "{}").await.unwrap();
}
