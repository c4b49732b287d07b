//! Which era a server belongs to, judged from its answer to `server/discover`.
//!
//! Pure. The rules are those of revision 2026-07-28, read against servers as they are: whatever is not a recognised
//! modern answer means legacy, and a link whose answer never came, or made no sense, is not used again. Sending the
//! question and opening links is in `connect`.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    live::{Agreement, kept},
    request::{LEGACY_VERSIONS, MODERN_VERSION},
};
use crate::{
    domain::{Era, Failure, FailureCode, Stage},
    transport::{RawReply, WireError, WireErrorKind},
};

/// The headers of a request do not fit its body.
pub(super) const HEADER_MISMATCH: i64 = -32020;
/// A capability of ours is missing.
const MISSING_CAPABILITY: i64 = -32021;
/// The revision is not spoken there.
pub(super) const UNSUPPORTED_VERSION: i64 = -32022;

/// The largest capabilities that are read, in bytes: rmcp keeps them for as long as the connection lives.
const MAX_CAPABILITIES: usize = 64 * 1024;

/// What an answer to `server/discover` means.
#[derive(Clone, Debug)]
pub(super) enum Verdict {
    /// A modern server, and what it said of itself.
    Modern(Box<Discovered>),
    /// A modern server that wants the question again.
    AskAgain,
    /// A legacy server; the link is as good as new.
    Legacy,
    /// Probably a legacy server; the link is not to be used again.
    LegacyOnFreshLink(Why),
    /// Neither; another handshake would not help.
    Failed(Failure),
}

/// Why a link is not to be used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// Nothing was answered in time: the server may be modern and slow.
    Silence,
    /// The answer made no sense, or the link ended over the question.
    Trouble,
}

/// A server's answer to `server/discover`.
#[derive(Clone, Debug)]
pub(super) struct Discovered {
    /// What is agreed on by it.
    pub(super) agreement: Agreement,
    /// Its capabilities, as JSON text.
    pub(super) capabilities: String,
}

/// The answer as JSON.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer<'a> {
    supported_versions: Vec<String>,
    #[serde(borrow, default)]
    capabilities: Option<&'a RawValue>,
    #[serde(borrow, default)]
    server_info: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "_meta")]
    meta: Option<Meta<'a>>,
}

/// The metadata of the answer.
#[derive(Deserialize)]
struct Meta<'a> {
    #[serde(borrow, default, rename = "io.modelcontextprotocol/serverInfo")]
    server_info: Option<&'a RawValue>,
}

/// The one capability that is read here.
#[derive(Default, Deserialize)]
struct Capabilities {
    #[serde(default)]
    tools: Option<ToolsCapability>,
}

/// How a server offers tools.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ToolsCapability {
    list_changed: bool,
}

/// The data of an error -32022.
#[derive(Deserialize)]
struct Supported {
    supported: Vec<String>,
}

/// Judges an answer.
pub(super) fn judge(answer: Result<RawReply, WireError>) -> Verdict {
    match answer {
        Ok(RawReply::Result(result)) => judge_result(&result),
        Ok(RawReply::Error { code, data, .. }) => judge_error(code, data.as_deref()),
        Err(WireError { kind, .. }) => judge_wire(&kind),
    }
}

fn judge_result(result: &Bytes) -> Verdict {
    // Some legacy servers answer `{}` to whatever they do not know. A list would be taken for the members in order.
    let is_object = result.trim_ascii_start().starts_with(b"{");
    let answer = serde_json::from_slice::<Answer<'_>>(result).ok();
    let Some(answer) = answer.filter(|_| is_object) else {
        return Verdict::Legacy;
    };
    if !speaks(&answer.supported_versions, &[MODERN_VERSION]) {
        return legacy_or_unsupported(&answer.supported_versions);
    }
    let capabilities = answer
        .capabilities
        .map(RawValue::get)
        .filter(|capabilities| capabilities.len() <= MAX_CAPABILITIES)
        .unwrap_or("{}");
    let read: Capabilities = serde_json::from_str(capabilities).unwrap_or_default();
    let in_meta = answer.meta.and_then(|meta| meta.server_info);
    let server_info = in_meta.or(answer.server_info);
    Verdict::Modern(Box::new(Discovered {
        agreement: Agreement {
            era: Era::Modern,
            version: MODERN_VERSION.to_owned(),
            server_info: server_info.and_then(|info| kept(info.get().as_bytes())),
            announces_tools: read.tools.is_some_and(|tools| tools.list_changed),
        },
        capabilities: capabilities.to_owned(),
    }))
}

fn judge_error(code: i64, data: Option<&[u8]>) -> Verdict {
    match code {
        UNSUPPORTED_VERSION => {
            let supported = data
                .and_then(|data| serde_json::from_slice::<Supported>(data).ok())
                .map(|data| data.supported)
                .unwrap_or_default();
            if speaks(&supported, &[MODERN_VERSION]) {
                Verdict::AskAgain
            } else {
                legacy_or_unsupported(&supported)
            }
        }
        HEADER_MISMATCH | MISSING_CAPABILITY => Verdict::Failed(Failure::new(
            FailureCode::InvalidMcpServer,
            Stage::Handshake,
        )),
        _ => Verdict::Legacy,
    }
}

/// A server that names its revisions is taken at its word.
fn legacy_or_unsupported(supported: &[String]) -> Verdict {
    if speaks(supported, &LEGACY_VERSIONS) {
        Verdict::Legacy
    } else {
        Verdict::Failed(unsupported())
    }
}

fn speaks(supported: &[String], known: &[&str]) -> bool {
    supported
        .iter()
        .any(|version| known.contains(&version.as_str()))
}

/// No revision in common.
pub(super) fn unsupported() -> Failure {
    Failure::new(FailureCode::UnsupportedVersion, Stage::Handshake)
}

fn judge_wire(kind: &WireErrorKind) -> Verdict {
    match kind {
        WireErrorKind::PolicyDenied
        | WireErrorKind::DnsFailed
        | WireErrorKind::ConnectFailed
        | WireErrorKind::TlsFailed
        | WireErrorKind::AuthRequired { .. }
        | WireErrorKind::Forbidden { .. }
        | WireErrorKind::RateLimited { .. }
        | WireErrorKind::RedirectRefused
        | WireErrorKind::InvalidRequest
        | WireErrorKind::Cancelled => Verdict::Failed(wire_failure(kind)),
        WireErrorKind::DeadlineExceeded | WireErrorKind::TimedOut => {
            Verdict::LegacyOnFreshLink(Why::Silence)
        }
        // Any status, 5xx included: servers fail in every way over a method they do not know.
        WireErrorKind::HttpStatus(_)
        | WireErrorKind::LinkEnded(_)
        | WireErrorKind::Busy
        | WireErrorKind::Broken
        | WireErrorKind::SessionLost
        | WireErrorKind::ResponseTooLarge
        | WireErrorKind::InvalidResponse => Verdict::LegacyOnFreshLink(Why::Trouble),
    }
}

/// What an error of the wire means for a connection.
pub(crate) fn wire_failure(kind: &WireErrorKind) -> Failure {
    let (code, stage) = kind.failure();
    let pause = match kind {
        WireErrorKind::RateLimited { retry_after } => *retry_after,
        _ => None,
    };
    Failure::new(code, stage).with_retry_after(pause)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{Era, FailureCode, RawReply, Verdict, Why, WireErrorKind, judge, judge_wire};

    fn result(json: &str) -> Verdict {
        judge(Ok(RawReply::Result(Bytes::copy_from_slice(
            json.as_bytes(),
        ))))
    }

    fn error(code: i64, data: Option<&str>) -> Verdict {
        judge(Ok(RawReply::Error {
            code,
            message: String::new(),
            data: data.map(|data| Bytes::copy_from_slice(data.as_bytes())),
        }))
    }

    #[test]
    fn a_modern_server_is_taken_at_its_word() {
        let Verdict::Modern(found) = result(
            r#"{"resultType":"complete","supportedVersions":["2025-11-25","2026-07-28"],
                "capabilities":{"tools":{"listChanged":true},"x":1},
                "_meta":{"io.modelcontextprotocol/serverInfo":{"name":"s","version":"1","new":true}}}"#,
        ) else {
            panic!("not modern");
        };
        assert_eq!(found.agreement.era, Era::Modern);
        assert_eq!(found.agreement.version, "2026-07-28");
        assert!(found.agreement.announces_tools);
        assert_eq!(
            found.agreement.server_info.as_deref(),
            Some(br#"{"name":"s","version":"1","new":true}"#.as_slice())
        );
    }

    #[test]
    fn capabilities_too_large_to_keep_are_as_good_as_none() {
        let filler = "x".repeat(super::MAX_CAPABILITIES);
        let Verdict::Modern(found) = result(&format!(
            r#"{{"supportedVersions":["2026-07-28"],"capabilities":{{"tools":{{"listChanged":true}},"x":"{filler}"}}}}"#
        )) else {
            panic!("not modern");
        };
        assert_eq!(found.capabilities, "{}");
        assert!(!found.agreement.announces_tools);
    }

    #[test]
    fn whatever_a_legacy_server_answers_means_legacy() {
        for answer in [
            "{}",
            "[]",
            "null",
            "true",
            r#"{"supportedVersions":"none"}"#,
        ] {
            assert!(matches!(result(answer), Verdict::Legacy), "{answer}");
        }
        for code in [-32601, -32602, -32600, -32603, -32000, -32002, 0, 7] {
            assert!(matches!(error(code, None), Verdict::Legacy), "{code}");
        }
    }

    #[test]
    fn a_refused_version_is_chosen_from_what_the_server_names() {
        let refused = |versions: &str| {
            error(
                -32022,
                Some(&format!(r#"{{"supported":{versions},"requested":"x"}}"#)),
            )
        };
        assert!(matches!(refused(r#"["2026-07-28"]"#), Verdict::AskAgain));
        assert!(matches!(refused(r#"["2025-11-25"]"#), Verdict::Legacy));
        for versions in [r#"["2031-01-01"]"#, "[]"] {
            let Verdict::Failed(failure) = refused(versions) else {
                panic!("{versions} was not refused");
            };
            assert_eq!(failure.code, FailureCode::UnsupportedVersion);
        }
        assert!(matches!(error(-32022, None), Verdict::Failed(_)));
    }

    #[test]
    fn modern_refusals_are_no_reason_to_fall_back() {
        for code in [-32020, -32021] {
            assert!(matches!(error(code, None), Verdict::Failed(_)), "{code}");
        }
    }

    #[test]
    fn silence_and_trouble_need_a_fresh_link() {
        for (kind, expected) in [
            (WireErrorKind::DeadlineExceeded, Why::Silence),
            (WireErrorKind::HttpStatus(500), Why::Trouble),
            (WireErrorKind::HttpStatus(400), Why::Trouble),
            (WireErrorKind::HttpStatus(405), Why::Trouble),
            (WireErrorKind::Broken, Why::Trouble),
            (WireErrorKind::InvalidResponse, Why::Trouble),
        ] {
            assert!(
                matches!(judge_wire(&kind), Verdict::LegacyOnFreshLink(why) if why == expected),
                "{kind:?}"
            );
        }
    }

    #[test]
    fn no_handshake_is_tried_where_none_can_help() {
        for (kind, code) in [
            (WireErrorKind::DnsFailed, FailureCode::DnsFailed),
            (WireErrorKind::ConnectFailed, FailureCode::ConnectionFailed),
            (WireErrorKind::TlsFailed, FailureCode::TlsFailed),
            (
                WireErrorKind::AuthRequired { challenge: None },
                FailureCode::AuthRequired,
            ),
            (WireErrorKind::PolicyDenied, FailureCode::PolicyDenied),
        ] {
            assert!(
                matches!(judge_wire(&kind), Verdict::Failed(failure) if failure.code == code),
                "{kind:?}"
            );
        }
    }
}
