//! Headers of requests to MCP servers.
//!
//! Invariants: a user's header can replace none that the protocol or HTTP itself needs, and header values that came
//! from a secret are marked sensitive.

use std::borrow::Cow;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{ACCEPT, CONTENT_TYPE},
};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::super::{call::RawCall, error::OpenError, target::HttpTarget};
use crate::domain::{Era, FailureCode, Stage};

pub(super) const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");
pub(super) const VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
pub(super) const LAST_EVENT: HeaderName = HeaderName::from_static("last-event-id");
const METHOD: HeaderName = HeaderName::from_static("mcp-method");
const NAME: HeaderName = HeaderName::from_static("mcp-name");
/// The first revision with standard headers, and without sessions.
const FIRST_MODERN: &str = "2026-07-28";

/// Headers that no connector may set.
const RESERVED: [&str; 17] = [
    "accept",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "keep-alive",
    "last-event-id",
    "mcp-method",
    "mcp-name",
    "mcp-protocol-version",
    "mcp-session-id",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// The headers of every request: the protocol's and the connector's own.
pub(super) fn base(target: &HttpTarget) -> Result<HeaderMap, OpenError> {
    let mut headers = HeaderMap::with_capacity(target.headers.len() + 2);
    for (name, value) in &target.headers {
        let reserved = RESERVED.contains(&name.as_str())
            || name.as_str().starts_with("mcp-param-")
            || name.as_str().starts_with("proxy-");
        let value = HeaderValue::from_str(value.expose())
            .ok()
            .filter(|_| !reserved)
            .ok_or(OpenError::new(
                FailureCode::InvalidUrl,
                Stage::Policy,
                "a header has a name or a value that cannot be sent",
            ))?;
        let mut value = value;
        value.set_sensitive(true);
        headers.append(name.clone(), value);
    }
    headers.insert(
        ACCEPT,
        HeaderValue::from_static("application/json, text/event-stream"),
    );
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(headers)
}

/// The headers of a raw call beside the base.
pub(super) fn of_call(call: &RawCall) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    headers.insert(VERSION, HeaderValue::from_str(&call.protocol_version).ok()?);
    if call.era == Era::Modern {
        standard(&mut headers, call.method, call.name.as_deref())?;
        headers.extend(call.param_headers.iter().cloned());
    }
    Some(headers)
}

fn standard(headers: &mut HeaderMap, method: &str, name: Option<&str>) -> Option<()> {
    headers.insert(METHOD, HeaderValue::from_str(method).ok()?);
    if let Some(name) = name {
        headers.insert(NAME, HeaderValue::from_str(&encoded(name)).ok()?);
    }
    Some(())
}

/// A header value as SEP-2243 wants it: as it is where HTTP can carry it, else Base64 between sentinels.
fn encoded(value: &str) -> Cow<'_, str> {
    let bytes = value.as_bytes();
    let edges = [bytes.first(), bytes.last()];
    let lost_at_an_edge = edges.contains(&Some(&b' ')) || edges.contains(&Some(&b'\t'));
    let like_encoded = value.starts_with("=?base64?") && value.ends_with("?=");
    let plain = bytes.iter().all(|byte| matches!(byte, 0x20..=0x7e));
    if plain && !lost_at_an_edge && !like_encoded {
        return Cow::Borrowed(value);
    }
    Cow::Owned(format!("=?base64?{}?=", BASE64_STANDARD.encode(value)))
}

/// What must be known of a message that rmcp sends.
#[derive(Debug)]
pub(super) struct Outline {
    /// Its id as JSON, when it is a request.
    pub(super) id: Option<String>,
    /// Its method, when it is a request or a notification.
    pub(super) method: Option<String>,
    /// The id that a cancellation names, as JSON.
    pub(super) cancels: Option<String>,
    /// Headers that its revision wants; empty in the legacy era.
    pub(super) headers: HeaderMap,
}

#[derive(Deserialize)]
struct Wanted<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    method: Option<String>,
    #[serde(borrow)]
    params: Option<Params<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Params<'a> {
    name: Option<String>,
    uri: Option<String>,
    #[serde(borrow)]
    request_id: Option<&'a RawValue>,
    #[serde(rename = "_meta")]
    meta: Option<Meta>,
}

#[derive(Deserialize)]
struct Meta {
    #[serde(rename = "io.modelcontextprotocol/protocolVersion")]
    version: Option<String>,
}

impl Outline {
    /// Reads the outline of a message of our own making.
    pub(super) fn read(body: &Bytes) -> Option<Self> {
        let Wanted { id, method, params } = serde_json::from_slice(body).ok()?;
        let (mut headers, mut cancels) = (HeaderMap::new(), None);
        if let Some(Params {
            name,
            uri,
            request_id,
            meta,
        }) = params
        {
            let version = meta.and_then(|meta| meta.version);
            if let (Some(method), Some(version)) = (&method, version)
                && version.as_str() >= FIRST_MODERN
            {
                headers.insert(VERSION, HeaderValue::from_str(&version).ok()?);
                standard(&mut headers, method, name.or(uri).as_deref())?;
            }
            cancels = request_id.map(|id| id.get().to_owned());
        }
        let cancels = cancels.filter(|_| method.as_deref() == Some("notifications/cancelled"));
        Some(Self {
            id: id
                .map(|id| id.get().to_owned())
                .filter(|_| method.is_some()),
            method,
            cancels,
            headers,
        })
    }

    /// Whether the request says by itself which modern revision it speaks.
    pub(super) fn is_modern(&self) -> bool {
        self.headers.contains_key(METHOD)
    }
}

#[cfg(test)]
mod tests {
    use url::Url;

    use super::*;

    fn target(name: &'static str, value: &str) -> HttpTarget {
        HttpTarget {
            url: Url::parse("https://a.example/").expect("a URL"),
            headers: vec![(
                HeaderName::from_static(name),
                sensitive::Text::new(value.to_owned()),
            )],
        }
    }

    #[test]
    fn a_connectors_headers_are_sensitive_and_cannot_replace_the_protocols() {
        let headers = base(&target("authorization", "Bearer x")).expect("headers");
        assert!(headers["authorization"].is_sensitive());
        assert!(!format!("{headers:?}").contains("Bearer"));
        for name in [
            "host",
            "content-length",
            "mcp-session-id",
            "transfer-encoding",
            "mcp-param-x",
            "proxy-authorization",
        ] {
            assert!(base(&target(name, "x")).is_err(), "{name}");
        }
        assert!(base(&target("x-key", "a\r\nhost: evil")).is_err());
    }

    #[test]
    fn names_that_headers_cannot_carry_are_encoded() {
        assert_eq!(encoded("get_weather"), "get_weather");
        assert_eq!(encoded(" x"), "=?base64?IHg=?=");
        assert_eq!(encoded("größe"), "=?base64?Z3LDtsOfZQ==?=");
        assert_eq!(
            encoded("=?base64?eA==?="),
            "=?base64?PT9iYXNlNjQ/ZUE9PT89?="
        );
        assert_eq!(encoded("a\r\nb"), "=?base64?YQ0KYg==?=");
    }

    #[test]
    fn a_modern_message_gets_its_standard_headers_and_a_legacy_one_none() {
        let modern = Bytes::from_static(
            br#"{"jsonrpc":"2.0","id":3,"method":"prompts/get","params":{"name":"p","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}"#,
        );
        let outline = Outline::read(&modern).expect("an outline");
        assert!(outline.is_modern());
        assert_eq!(outline.id.as_deref(), Some("3"));
        assert_eq!(outline.headers[NAME], "p");
        let legacy = Bytes::from_static(br#"{"jsonrpc":"2.0","id":"a","method":"ping"}"#);
        let outline = Outline::read(&legacy).expect("an outline");
        assert!(!outline.is_modern() && outline.headers.is_empty());
        let cancel = Bytes::from_static(
            br#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":7}}"#,
        );
        assert_eq!(
            Outline::read(&cancel)
                .expect("an outline")
                .cancels
                .as_deref(),
            Some("7")
        );
        let reply = Bytes::from_static(br#"{"jsonrpc":"2.0","id":1,"result":{}}"#);
        assert_eq!(Outline::read(&reply).expect("an outline").id, None);
    }
}
