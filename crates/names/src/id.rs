//! Checks shared by every name type. Nothing here knows a particular resource.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// Characters that stand for themselves in a percent-encoded segment: RFC 3986 "unreserved".
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Why a name was refused. The text is static and safe to show to anybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidName(pub &'static str);

/// A user or project id: the caller's own, 1–128 of `[A-Za-z0-9._~@:-]`, but not `-`, `.`, `..`.
pub(crate) fn check_owner_id(id: &str) -> Result<(), InvalidName> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._~@:-".contains(&byte);
    if id.is_empty() || id.len() > 128 {
        return Err(InvalidName("a user or project id has 1 to 128 characters"));
    }
    if !id.bytes().all(allowed) {
        return Err(InvalidName(
            "a user or project id consists of A-Z a-z 0-9 . _ ~ @ : -",
        ));
    }
    if matches!(id, "-" | "." | "..") {
        return Err(InvalidName("a user or project id is not '-', '.' or '..'"));
    }
    Ok(())
}

/// A connector id: `[a-z]([a-z0-9-]{0,61}[a-z0-9])?`.
pub(crate) fn check_resource_id(id: &str) -> Result<(), InvalidName> {
    const SHAPE: InvalidName = InvalidName(
        "an id has 1 to 63 characters of a-z 0-9 -, starts with a letter and does not end with '-'",
    );
    let bytes = id.as_bytes();
    let starts = bytes.first().is_some_and(u8::is_ascii_lowercase);
    let inner = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-';
    if starts && bytes.len() <= 63 && bytes.iter().all(inner) && !id.ends_with('-') {
        Ok(())
    } else {
        Err(SHAPE)
    }
}

/// Percent-encodes one path segment in its only canonical spelling.
pub(crate) fn encode_segment(raw: &str) -> String {
    utf8_percent_encode(raw, ESCAPED).to_string()
}

/// Decodes one path segment; any other than the canonical spelling is refused, so that two
/// spellings never name the same thing.
pub(crate) fn decode_segment(encoded: &str) -> Result<String, InvalidName> {
    let raw = percent_decode_str(encoded)
        .decode_utf8()
        .map_err(|_| InvalidName("a percent-encoded segment is not UTF-8"))?
        .into_owned();
    if encode_segment(&raw) == encoded {
        Ok(raw)
    } else {
        Err(InvalidName(
            "a segment is not percent-encoded in its canonical spelling",
        ))
    }
}
