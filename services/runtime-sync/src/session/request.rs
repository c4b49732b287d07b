//! How requests of a session look: exact parameter texts and `_meta`. The headers that repeat arguments are in
//! `param_headers`.
//!
//! Arguments are copied byte for byte, except that line breaks between tokens become spaces, because a line is a
//! message over stdio. Nothing here sends, and nothing here knows whether a call may be made.

use std::borrow::Cow;

use bytes::Bytes;

use super::{
    live::{Agreement, Live},
    param_headers::param_headers,
};
use crate::{
    domain::{Era, ToolDefinition},
    transport::RawCall,
};

/// What we call ourselves.
pub(super) const CLIENT_NAME: &str = "patchbay";
/// Which release we are.
pub(super) const CLIENT_VERSION: &str = env!("CARGO_PKG_VERSION");
/// The newest revision spoken here, and the only one without a handshake.
pub(super) const MODERN_VERSION: &str = "2026-07-28";
/// The revisions with a handshake.
pub(super) const LEGACY_VERSIONS: [&str; 4] =
    ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"];
/// What a reply may hold beside its result: an error's message and data, or the envelope.
const ENVELOPE: usize = 128 * 1024;
/// The trace context that may ride in `_meta`; anything else a caller names is dropped.
const TRACE_KEYS: [&str; 3] = ["traceparent", "tracestate", "baggage"];

/// A request without a name, such as a list or a probe.
pub(crate) fn plain(live: &Live, method: &'static str, members: &[(&str, &str)]) -> RawCall {
    raw(
        &live.agreement.era,
        &live.agreement.version,
        method,
        members,
    )
}

/// The question which revisions a server speaks, asked before anything is agreed on.
pub(super) fn discover() -> RawCall {
    raw(&Era::Modern, MODERN_VERSION, "server/discover", &[])
}

fn raw(era: &Era, version: &str, method: &'static str, members: &[(&str, &str)]) -> RawCall {
    RawCall {
        method,
        name: None,
        params: params(*era, version, members, &[]),
        era: *era,
        protocol_version: version.to_owned(),
        param_headers: Vec::new(),
        max_reply: usize::MAX,
    }
}

/// A tool call.
pub(super) fn tool_call(
    live: &Live,
    tool: &ToolDefinition,
    arguments: &str,
    trace: &[(String, String)],
    max_result: usize,
) -> RawCall {
    let Agreement { era, version, .. } = &live.agreement;
    let members = [
        ("name", json_string(&tool.name)),
        ("arguments", one_line(arguments).into_owned()),
    ];
    let members = members
        .each_ref()
        .map(|(key, value)| (*key, value.as_str()));
    RawCall {
        method: "tools/call",
        name: Some(tool.name.clone()),
        params: params(*era, version, &members, trace),
        era: *era,
        protocol_version: version.clone(),
        param_headers: param_headers(&tool.header_arguments, arguments),
        max_reply: max_result.saturating_add(ENVELOPE),
    }
}

/// The parameters of a request as JSON text: the members, and `_meta` as the era wants it.
fn params(era: Era, version: &str, members: &[(&str, &str)], trace: &[(String, String)]) -> Bytes {
    let mut meta: Vec<(&str, Cow<'_, str>)> = Vec::new();
    if era == Era::Modern {
        meta.push((
            "io.modelcontextprotocol/protocolVersion",
            json_string(version).into(),
        ));
        meta.push(("io.modelcontextprotocol/clientCapabilities", "{}".into()));
        let info = format!(r#"{{"name":"{CLIENT_NAME}","version":"{CLIENT_VERSION}"}}"#);
        meta.push(("io.modelcontextprotocol/clientInfo", info.into()));
    }
    for (key, value) in trace {
        if let Some(key) = TRACE_KEYS.iter().find(|known| *known == key) {
            meta.push((key, json_string(value).into()));
        }
    }
    let mut text =
        String::with_capacity(384 + members.iter().map(|(_, value)| value.len()).sum::<usize>());
    text.push('{');
    for (key, value) in members {
        push_member(&mut text, key, value);
    }
    if !meta.is_empty() {
        if text.len() > 1 {
            text.push(',');
        }
        text.push_str("\"_meta\":{");
        for (key, value) in &meta {
            push_member(&mut text, key, value);
        }
        text.push('}');
    }
    text.push('}');
    Bytes::from(text)
}

/// Appends `"key":value`, after a comma unless the object was just opened. Keys are ours and need no escape.
fn push_member(text: &mut String, key: &str, value: &str) {
    if !text.ends_with('{') {
        text.push(',');
    }
    text.push('"');
    text.push_str(key);
    text.push_str("\":");
    text.push_str(value);
}

/// A text as a JSON string.
pub(crate) fn json_string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// The same JSON on one line. Inside a JSON string there is no bare line break, so only space between tokens changes.
fn one_line(json: &str) -> Cow<'_, str> {
    if json.contains(['\n', '\r']) {
        Cow::Owned(json.replace(['\n', '\r'], " "))
    } else {
        Cow::Borrowed(json)
    }
}

#[cfg(test)]
mod tests {
    use super::{one_line, params};
    use crate::domain::Era;

    fn text(era: Era, members: &[(&str, &str)], trace: &[(&str, &str)]) -> String {
        let trace: Vec<_> = trace
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        String::from_utf8(params(era, "2026-07-28", members, &trace).to_vec()).unwrap()
    }

    #[test]
    fn legacy_parameters_hold_what_was_asked_and_nothing_else() {
        assert_eq!(text(Era::Legacy, &[], &[]), "{}");
        assert_eq!(
            text(Era::Legacy, &[("arguments", r#"{"z":1,"a":1.0}"#)], &[]),
            r#"{"arguments":{"z":1,"a":1.0}}"#
        );
    }

    #[test]
    fn modern_parameters_say_in_each_request_who_asks_and_in_which_revision() {
        let text = text(
            Era::Modern,
            &[],
            &[("traceparent", "00-a-b-01"), ("evil", "x")],
        );
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        let meta = &value["_meta"];
        assert_eq!(
            meta["io.modelcontextprotocol/protocolVersion"],
            "2026-07-28"
        );
        assert_eq!(
            meta["io.modelcontextprotocol/clientCapabilities"],
            serde_json::json!({})
        );
        assert_eq!(
            meta["io.modelcontextprotocol/clientInfo"]["name"],
            "patchbay"
        );
        assert_eq!(meta["traceparent"], "00-a-b-01");
        assert!(meta.get("evil").is_none());
    }

    #[test]
    fn arguments_over_several_lines_become_one_line_and_stay_the_same_json() {
        assert_eq!(one_line("{\n\"a\":\r\n\"x\\ny\"}"), "{ \"a\":  \"x\\ny\"}");
        assert_eq!(
            one_line(r#"{"big":12345678901234567890}"#),
            r#"{"big":12345678901234567890}"#
        );
    }
}
