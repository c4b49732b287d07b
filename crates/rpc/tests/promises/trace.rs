//! Spans of calls: named by OpenTelemetry's conventions, ended with the body.

use futures_util::StreamExt as _;
use tracing::Level;

use crate::{
    capture::{Capture, Ended},
    service::{GET, WATCH, ask},
    suite::{Suite, open, reaches, soon, unary, with_timeout},
};

/// Waits for the next ended span of this name. Ends come from tasks of the server.
async fn ended(capture: &Capture, name: &str, count: usize) -> Vec<Ended> {
    let waiting = async {
        loop {
            let spans = capture.ended(name);
            if spans.len() >= count {
                return spans;
            }
            tokio::task::yield_now().await;
        }
    };
    soon(name, waiting).await
}

#[tokio::test]
async fn both_ends_of_a_call_have_a_span_with_the_conventional_names() {
    let (capture, _guard) = Capture::start();
    let suite = Suite::start();
    unary(&suite.channels().unary, GET, ask("echo"))
        .await
        .expect("answer");
    for name in ["rpc.server", "rpc.client"] {
        let span = ended(&capture, name, 1).await.remove(0);
        assert_eq!(span.level, Level::INFO, "exporters see INFO and above");
        let expected = [
            ("otel.name", "test.v1.TestService/Get"),
            ("otel.kind", name.trim_start_matches("rpc.")),
            ("rpc.system.name", "grpc"),
            ("rpc.method", "test.v1.TestService/Get"),
            ("rpc.status_code", "OK"),
            ("server.address", "127.0.0.1"),
            ("server.port", &suite.address().port().to_string()),
        ];
        for (key, value) in expected {
            assert_eq!(
                span.fields.get(key).map(String::as_str),
                Some(value),
                "{name}: {key}"
            );
        }
        assert!(!span.fields.contains_key("error.type"), "{span:?}");
    }
}

#[tokio::test]
async fn the_status_stands_in_the_span_and_server_faults_as_errors() {
    let (capture, _guard) = Capture::start();
    let suite = Suite::start();
    let channel = suite.channels().unary;
    assert!(unary(&channel, GET, ask("panic")).await.is_err());
    assert!(unary(&channel, GET, ask("exhausted")).await.is_err());
    let timeout = std::time::Duration::from_millis(700);
    assert!(
        unary(&channel, GET, with_timeout(ask("hang"), timeout))
            .await
            .is_err()
    );
    let spans = ended(&capture, "rpc.server", 3).await;
    let seen: Vec<_> = spans
        .iter()
        .map(|span| {
            (
                span.fields["rpc.status_code"].as_str(),
                span.fields.get("error.type"),
            )
        })
        .collect();
    assert_eq!(seen[0], ("INTERNAL", Some(&"INTERNAL".to_owned())));
    assert_eq!(
        seen[1],
        ("RESOURCE_EXHAUSTED", None),
        "not a fault of the server"
    );
    // The client may have hung up before the server's own timer.
    assert!(
        matches!(seen[2].0, "DEADLINE_EXCEEDED" | "CANCELLED"),
        "{seen:?}"
    );
}

#[tokio::test]
async fn callers_cannot_invent_span_names() {
    let (capture, _guard) = Capture::start();
    let suite = Suite::start();
    assert!(
        unary(&suite.channels().unary, "/invented.Service/Name", ask(""))
            .await
            .is_err()
    );
    let span = ended(&capture, "rpc.server", 1).await.remove(0);
    assert_eq!(span.fields["rpc.method"], "_OTHER");
    assert_eq!(span.fields["otel.name"], "_OTHER");
}

#[tokio::test]
async fn the_span_of_a_stream_lasts_as_long_as_its_body() {
    let (capture, _guard) = Capture::start();
    let suite = Suite::start();
    let mut stream = open(&suite.channels().streams, WATCH, ask("hang"))
        .await
        .expect("open");
    assert!(stream.next().await.expect("some").is_ok());
    assert!(capture.ended("rpc.server").is_empty());
    drop(stream);
    reaches(&suite.state.gone, 1).await;
    let span = ended(&capture, "rpc.server", 1).await.remove(0);
    assert_eq!(span.fields["rpc.status_code"], "CANCELLED");
}

#[tokio::test]
async fn the_clients_span_of_a_stream_says_how_the_stream_ended() {
    let (capture, _guard) = Capture::start();
    let suite = Suite::start();
    let channel = suite.channels().streams;
    for (count, what) in ["end", "leak"].into_iter().enumerate() {
        let mut stream = open(&channel, WATCH, ask(what)).await.expect("open");
        assert_eq!(capture.ended("rpc.client").len(), count);
        while let Some(Ok(_)) = stream.next().await {}
        drop(stream);
    }
    let mut given_up = open(&channel, WATCH, ask("hang")).await.expect("open");
    assert!(given_up.next().await.expect("some").is_ok());
    drop(given_up);
    let timeout = std::time::Duration::from_millis(900);
    let late = with_timeout(ask("hang"), timeout);
    let mut late = open(&channel, WATCH, late).await.expect("open");
    while let Some(Ok(_)) = late.next().await {}
    drop(late);
    let spans = ended(&capture, "rpc.client", 4).await;
    let code = |span: &Ended| span.fields["rpc.status_code"].clone();
    let codes: Vec<_> = spans.iter().map(code).collect();
    assert_eq!(codes, ["OK", "INTERNAL", "CANCELLED", "DEADLINE_EXCEEDED"]);
}

#[tokio::test]
async fn no_token_stands_in_any_span() {
    let (capture, _guard) = Capture::start();
    let suite = Suite::start();
    assert!(
        unary(&suite.channels_of("s3cret").unary, GET, ask("echo"))
            .await
            .is_err()
    );
    let mut spans = ended(&capture, "rpc.server", 1).await;
    spans.extend(ended(&capture, "rpc.client", 1).await);
    assert!(!format!("{spans:?}").contains("s3cret"), "{spans:?}");
}
