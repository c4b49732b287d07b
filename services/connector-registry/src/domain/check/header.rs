//! HTTP headers a connector may send.
//!
//! Headers that the protocol or the HTTP client sets are refused: a connector that set them would break framing, routing
//! or the session, or smuggle a second request.

use super::Requirement;

/// Set by the transport; lower case.
const RESERVED: [&str; 14] = [
    "accept",
    "accept-encoding",
    "connection",
    "expect",
    "host",
    "keep-alive",
    "last-event-id",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
];
/// Set by the transport, whatever follows; lower case.
const RESERVED_PREFIXES: [&str; 3] = ["content-", "mcp-", ":"];
const TRACE: [&str; 3] = ["traceparent", "tracestate", "baggage"];
const MAX_NAME: usize = 128;
const MAX_VALUE: usize = 64 * 1024;

/// A header's name: an HTTP token that the transport does not need for itself.
///
/// # Errors
/// What the name must be.
pub fn header_name(name: &str) -> Result<(), Requirement> {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || name.len() > MAX_NAME {
        return Err("a header name has 1 to 128 characters");
    }
    let lower = name.to_ascii_lowercase();
    if RESERVED.contains(&lower.as_str())
        || TRACE.contains(&lower.as_str())
        || RESERVED_PREFIXES
            .iter()
            .any(|prefix| lower.starts_with(prefix))
    {
        return Err("this header is set by the transport and cannot be configured");
    }
    if name.bytes().all(token) {
        Ok(())
    } else {
        Err("a header name is an HTTP token (RFC 9110, section 5.6.2)")
    }
}

/// A header's value: visible ASCII, spaces and tabs inside, at most 64 KiB.
///
/// # Errors
/// What the value must be.
pub fn header_value(value: &str) -> Result<(), Requirement> {
    let visible = |byte: u8| byte.is_ascii_graphic() || matches!(byte, b' ' | b'\t');
    if value.len() > MAX_VALUE {
        Err("a header value has at most 65536 bytes")
    } else if !value.bytes().all(visible) {
        Err("a header value consists of visible ASCII characters")
    } else if value.trim() != value {
        Err("a header value does not start or end with white space")
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usual_headers_are_accepted() {
        for name in [
            "Authorization",
            "X-Api-Key",
            "x-goog-user-project",
            "Accept-Language",
            "Cookie",
        ] {
            assert_eq!(header_name(name), Ok(()), "{name}");
        }
        assert_eq!(header_value("Bearer a.b-c_d=="), Ok(()));
        assert_eq!(header_value(""), Ok(()));
    }

    #[test]
    fn headers_of_the_transport_are_refused_in_any_case() {
        for name in [
            "Accept",
            "ACCEPT",
            "Mcp-Session-Id",
            "mcp-protocol-version",
            "MCP-Anything",
            "Last-Event-ID",
            "Host",
            "Content-Type",
            "content-length",
            "Transfer-Encoding",
            "Connection",
            "traceparent",
            ":authority",
        ] {
            assert!(header_name(name).is_err(), "{name} must be refused");
        }
    }

    #[test]
    fn names_and_values_that_could_split_a_request_are_refused() {
        for name in ["", "a b", "a:b", "a\r\nb", "é", &"x".repeat(129)] {
            assert!(header_name(name).is_err(), "{name:?}");
        }
        for value in [
            "a\r\nX: y",
            "a\nb",
            "é",
            " a",
            "a ",
            "a\0",
            &"x".repeat(65_537),
        ] {
            assert!(header_value(value).is_err(), "{value:?}");
        }
    }
}
