//! W3C trace context: read from incoming headers, written to outgoing ones and to MCP's `_meta`.
//!
//! The context lives in the current `tracing` span; there is no other place where it is kept.

use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::{
    Context,
    propagation::{Extractor, Injector, TextMapPropagator as _},
    trace::{SpanContext, TraceContextExt as _},
};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// Which trace a piece of work belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceContext {
    trace_id: u128,
}

impl TraceContext {
    /// The trace of the current span, if tracing is set up.
    #[must_use]
    pub fn current() -> Option<Self> {
        Self::of(&Span::current())
    }

    /// The trace of a span, if tracing is set up and the span is enabled.
    #[must_use]
    pub fn of(span: &Span) -> Option<Self> {
        Self::of_context(span.context().span().span_context())
    }

    /// The trace that a caller's `traceparent` names.
    #[must_use]
    pub fn of_headers(headers: &HeaderMap) -> Option<Self> {
        Self::of_context(extract(headers).span().span_context())
    }

    /// A new trace, for when there is none: an error report needs an id to be found by.
    #[must_use]
    pub fn random() -> Self {
        Self {
            trace_id: rand::random(),
        }
    }

    fn of_context(context: &SpanContext) -> Option<Self> {
        let trace_id = u128::from_be_bytes(context.trace_id().to_bytes());
        context.is_valid().then_some(Self { trace_id })
    }
}

/// The trace id, 32 hexadecimal digits.
impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.trace_id)
    }
}

/// Makes `span` a child of the caller's span, as its `traceparent` and `tracestate` say.
///
/// Has to be called before the span is entered. Without those headers the span stays a root.
pub fn adopt_parent(span: &Span, headers: &HeaderMap) {
    let parent = extract(headers);
    if parent.span().span_context().is_valid() {
        // Fails only if no OpenTelemetry layer is set up: then there is nothing to propagate.
        drop(span.set_parent(parent));
    }
}

/// Hands `traceparent` (and `tracestate`, if any) of the current span to `set`, for any carrier:
/// MCP's `_meta`, environment variables. Calls nothing if there is no trace.
pub fn inject(set: impl FnMut(&str, String)) {
    inject_span(&Span::current(), set);
}

/// Writes `traceparent` and `tracestate` of `span` into `headers`, in place of what is there.
pub fn inject_headers(span: &Span, headers: &mut HeaderMap) {
    inject_span(span, |key, value| {
        let name = HeaderName::try_from(key);
        if let (Ok(name), Ok(value)) = (name, HeaderValue::try_from(value)) {
            headers.insert(name, value);
        }
    });
}

fn inject_span(span: &Span, set: impl FnMut(&str, String)) {
    let context = span.context();
    if context.span().span_context().is_valid() {
        TraceContextPropagator::new().inject_context(&context, &mut Setter(set));
    }
}

fn extract(headers: &HeaderMap) -> Context {
    // From an empty context: what happens to be current on this thread is not the caller's.
    TraceContextPropagator::new().extract_with_context(&Context::new(), &Headers(headers))
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}

struct Setter<F>(F);

impl<F: FnMut(&str, String)> Injector for Setter<F> {
    fn set(&mut self, key: &str, value: String) {
        // The propagator sets an empty tracestate, which is noise for everybody.
        if !value.is_empty() {
            (self.0)(key, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::setup::tests::with_subscriber;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

    fn caller() -> HeaderMap {
        let mut headers = HeaderMap::new();
        let parent = format!("00-{TRACE}-b7ad6b7169203331-01");
        headers.insert("traceparent", parent.parse().expect("header"));
        headers.insert("tracestate", HeaderValue::from_static("vendor=1"));
        headers
    }

    #[test]
    fn a_span_continues_its_callers_trace_and_passes_it_on_under_its_own_id() {
        with_subscriber(|| {
            let span = tracing::info_span!("server");
            adopt_parent(&span, &caller());
            assert_eq!(TraceContext::of(&span).expect("trace").to_string(), TRACE);
            let mut onward = HeaderMap::new();
            inject_headers(&span, &mut onward);
            let parent = onward["traceparent"].to_str().expect("text");
            assert!(parent.starts_with(&format!("00-{TRACE}-")), "{parent}");
            assert!(!parent.contains("b7ad6b7169203331"), "{parent}");
            assert_eq!(onward["tracestate"], "vendor=1");
        });
    }

    #[test]
    fn without_a_caller_a_trace_begins_and_reaches_any_carrier() {
        with_subscriber(|| {
            tracing::info_span!("root").in_scope(|| {
                let mut carried = Vec::new();
                inject(|key, value| carried.push((key.to_owned(), value)));
                let trace = TraceContext::current().expect("trace").to_string();
                assert_eq!(carried.len(), 1, "{carried:?}");
                assert_eq!(carried[0].0, "traceparent");
                assert!(carried[0].1.contains(&trace), "{carried:?}");
            });
        });
    }

    #[test]
    fn without_tracing_nothing_is_injected() {
        let mut headers = HeaderMap::new();
        inject_headers(&Span::current(), &mut headers);
        assert!(headers.is_empty());
        assert_eq!(TraceContext::current(), None);
        assert_ne!(TraceContext::random(), TraceContext::random());
    }

    #[test]
    fn a_malformed_traceparent_is_as_good_as_none() {
        let mut headers = HeaderMap::new();
        for value in [
            "",
            "00-00-00-00",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        ] {
            headers.insert("traceparent", HeaderValue::from_static(value));
            assert_eq!(TraceContext::of_headers(&headers), None, "{value:?}");
        }
        assert_eq!(
            TraceContext::of_headers(&caller())
                .expect("trace")
                .to_string(),
            TRACE
        );
    }
}
