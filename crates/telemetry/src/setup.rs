//! The subscriber of a process: log lines on standard error, spans to OTLP if asked for.
//!
//! Each layer has its own filter: the exporter's is not the log's.

use std::{io, time::Duration};

use clap::ValueEnum;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::{
    Resource,
    trace::{Sampler, SdkTracerProvider},
};
use thiserror::Error;
use tracing::Subscriber;
use tracing_subscriber::{
    Layer, Registry, filter::FilterExt as _, fmt::MakeWriter, layer::SubscriberExt as _,
    registry::LookupSpan, util::SubscriberInitExt as _,
};

use crate::filter;

/// How long the last spans may take to leave when the process ends.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(3);

/// Command-line options of every program of the suite; flatten them into its configuration.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// How log lines look.
    #[arg(long, env = "PATCHBAY_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
    /// What is logged, in the syntax of RUST_LOG, for example `info,runtime_sync=debug`. Wire
    /// targets (rmcp, h2, hyper, rustls, sqlx, tower, …) never log below warn.
    #[arg(long, env = "PATCHBAY_LOG", default_value = "info")]
    pub log: String,
    /// Where spans go, as OTLP over gRPC, for example `http://localhost:4317`. Unset: nowhere.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT")]
    pub otlp_endpoint: Option<String>,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// What [`init`] sets up.
#[derive(Debug, Clone)]
pub struct Options {
    /// The service's name in traces.
    pub service: &'static str,
    /// Its version.
    pub version: &'static str,
    /// How log lines look.
    pub format: LogFormat,
    /// What is logged, in the syntax of `RUST_LOG`.
    pub log: String,
    /// Where spans go.
    pub otlp_endpoint: Option<String>,
}

impl Args {
    /// The options for the service of this name.
    #[must_use]
    pub fn options(self, service: &'static str, version: &'static str) -> Options {
        let Self {
            log_format: format,
            log,
            otlp_endpoint,
        } = self;
        Options {
            service,
            version,
            format,
            log,
            otlp_endpoint,
        }
    }
}

/// Why telemetry could not be set up.
#[derive(Debug, Error)]
pub enum InitError {
    /// The log filter is not in the syntax of `RUST_LOG`.
    #[error("the log filter is not valid")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// The OTLP endpoint cannot be used.
    #[error("the OTLP endpoint cannot be used")]
    Endpoint(#[from] opentelemetry_otlp::ExporterBuildError),
    /// The process has a subscriber already.
    #[error("telemetry is set up already")]
    Twice(#[from] tracing_subscriber::util::TryInitError),
}

/// Sends the spans that are still waiting when it is dropped. Keep it until the process ends.
#[derive(Debug)]
#[must_use = "dropping the guard stops the export of spans"]
pub struct Guard {
    provider: SdkTracerProvider,
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Err(error) = self.provider.shutdown_with_timeout(FLUSH_TIMEOUT) {
            tracing::warn!(%error, "the last spans could not be exported");
        }
    }
}

/// Sets up logs and traces for this process. Call it once, inside the tokio runtime.
///
/// # Errors
/// When the filter or the endpoint is not valid, or the process has a subscriber already.
pub fn init(options: &Options) -> Result<Guard, InitError> {
    let provider = provider(options)?;
    subscriber(options, &provider, io::stderr)?.try_init()?;
    Ok(Guard { provider })
}

fn provider(options: &Options) -> Result<SdkTracerProvider, InitError> {
    let resource = Resource::builder()
        .with_service_name(options.service)
        .with_attribute(opentelemetry::KeyValue::new(
            "service.version",
            options.version,
        ))
        .build();
    let builder = SdkTracerProvider::builder().with_resource(resource);
    Ok(match &options.otlp_endpoint {
        Some(endpoint) => {
            let exporter = SpanExporter::builder()
                .with_tonic()
                .with_endpoint(endpoint)
                .build()?;
            builder.with_batch_exporter(exporter).build()
        }
        // Trace ids are made all the same: they stand in errors and reach peers. Without an
        // exporter no trace begins as sampled, so that nobody downstream records for nothing.
        None => {
            let sampler = Sampler::ParentBased(Box::new(Sampler::AlwaysOff));
            builder.with_sampler(sampler).build()
        }
    })
}

fn subscriber<W>(
    options: &Options,
    provider: &SdkTracerProvider,
    writer: W,
) -> Result<impl Subscriber + Send + Sync + 'static, InitError>
where
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    let spans = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("patchbay"))
        // Work at every entry of every span, for what nobody here asks: our context is the span's.
        .with_context_activation(false)
        .with_tracked_inactivity(false)
        .with_threads(false)
        .with_filter(filter::exported());
    let lines = lines(options.format, writer)
        .with_filter(filter::requested(&options.log)?.and(filter::ceiling()));
    Ok(Registry::default().with(spans).with(lines))
}

fn lines<S, W>(format: LogFormat, writer: W) -> Box<dyn Layer<S> + Send + Sync + 'static>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    let layer = tracing_subscriber::fmt::layer().with_writer(writer);
    match format {
        LogFormat::Text => layer.with_ansi(false).boxed(),
        LogFormat::Json => layer.json().flatten_event(true).boxed(),
    }
}

#[cfg(test)]
pub(crate) mod tests;
