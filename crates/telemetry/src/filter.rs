//! Which lines and spans pass: the operator's filter, under a ceiling that it cannot lift.

use tracing::{Level, level_filters::LevelFilter};
use tracing_subscriber::filter::{EnvFilter, ParseError, Targets};

/// Targets that would print headers, payloads or SQL. Held at WARN.
const WIRE_TARGETS: &[&str] = &[
    "rmcp",
    "h2",
    "hyper",
    "hyper_util",
    "reqwest",
    "rustls",
    "sea_orm",
    "sqlx",
    "tokio_tungstenite",
    "tonic",
    "tower",
    "tower_http",
    "opentelemetry",
    "opentelemetry_sdk",
    "opentelemetry_otlp",
];

/// The operator's filter, in the syntax of `RUST_LOG`.
pub(crate) fn requested(directives: &str) -> Result<EnvFilter, ParseError> {
    EnvFilter::builder()
        .with_default_directive(LevelFilter::INFO.into())
        .parse(directives)
}

/// The ceiling: everything but the wire targets.
pub(crate) fn ceiling() -> Targets {
    let caps = WIRE_TARGETS
        .iter()
        .map(|target| (*target, LevelFilter::WARN));
    Targets::new()
        .with_default(LevelFilter::TRACE)
        .with_targets(caps)
}

/// What is exported as spans: INFO and above, under the same ceiling. The log filter does not
/// apply, so that a quiet log does not mean missing traces.
pub(crate) fn exported() -> Targets {
    ceiling().with_default(Level::INFO)
}
