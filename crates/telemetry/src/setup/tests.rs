//! Promises of the subscriber. The subscribers of these tests are local to their thread.

use std::{
    io::Write,
    sync::{Arc, Mutex, PoisonError},
};

use super::*;

/// Keeps what is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn options(log: &str, format: LogFormat) -> Options {
    let log = log.to_owned();
    Options {
        service: "test",
        version: "0",
        format,
        log,
        otlp_endpoint: None,
    }
}

fn logged(options: &Options, work: impl FnOnce()) -> String {
    let log = Log::default();
    let writer = log.clone();
    let provider = provider(options).expect("provider");
    let subscriber = subscriber(options, &provider, move || writer.clone()).expect("subscriber");
    tracing::subscriber::with_default(subscriber, work);
    let bytes = log.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
    String::from_utf8(bytes).expect("text")
}

/// Runs `work` with tracing as a process without an exporter has it.
pub(crate) fn with_subscriber(work: impl FnOnce()) {
    logged(&options("off", LogFormat::Text), work);
}

#[test]
fn wire_targets_stay_at_warn_whatever_is_asked_for() {
    let log = logged(
        &options("trace,h2=trace,rmcp=trace", LogFormat::Text),
        || {
            tracing::debug!(target: "rmcp::transport", "payload");
            tracing::trace!(target: "h2::codec", "frame");
            tracing::info!(target: "hyper::proto", "headers");
            tracing::debug!(target: "sqlx::query", "statement");
            tracing::warn!(target: "rmcp", "trouble");
            tracing::trace!(target: "ours", "detail");
        },
    );
    assert!(log.contains("trouble") && log.contains("detail"), "{log}");
    for hidden in ["payload", "frame", "headers", "statement"] {
        assert!(!log.contains(hidden), "{log}");
    }
}

#[test]
fn the_filter_chooses_what_is_logged_but_not_what_is_traced() {
    let log = logged(&options("warn", LogFormat::Text), || {
        tracing::info!("quiet");
        tracing::info_span!("work").in_scope(|| {
            assert!(crate::TraceContext::current().is_some());
        });
    });
    assert_eq!(log, "");
}

#[test]
fn json_lines_are_json() {
    let log = logged(&options("info", LogFormat::Json), || {
        tracing::info!(answer = 42, "hello")
    });
    let line: serde_json::Value = serde_json::from_str(log.trim()).expect("JSON");
    assert_eq!(line["message"], "hello");
    assert_eq!(line["answer"], 42);
    assert_eq!(line["level"], "INFO");
}

#[test]
fn a_bad_filter_is_refused() {
    let options = options("info,=", LogFormat::Text);
    let provider = provider(&options).expect("provider");
    assert!(matches!(
        subscriber(&options, &provider, io::sink),
        Err(InitError::Filter(_))
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_reach_the_collector_when_the_guard_is_dropped() {
    let mut collector = fake_opentelemetry_collector::FakeCollectorServer::start()
        .await
        .expect("collector");
    let endpoint = Some(collector.endpoint());
    let options = Options {
        otlp_endpoint: endpoint,
        ..options("off", LogFormat::Text)
    };
    let provider = provider(&options).expect("provider");
    let subscriber = subscriber(&options, &provider, io::sink).expect("subscriber");
    tracing::subscriber::with_default(subscriber, || {
        tracing::info_span!("work", otel.name = "pkg.Service/Method").in_scope(|| ());
        tracing::debug_span!("detail").in_scope(|| ());
        tracing::info_span!(target: "h2::server", "wire").in_scope(|| ());
    });
    // The flush blocks its thread until the batch is sent.
    let flush = tokio::task::spawn_blocking(move || drop(Guard { provider }));
    let spans = collector.exported_spans(1, Duration::from_secs(20)).await;
    flush.await.expect("flushed");
    let names: Vec<&str> = spans.iter().map(|span| span.name.as_str()).collect();
    assert_eq!(names, ["pkg.Service/Method"]);
}
