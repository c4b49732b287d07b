//! What is read from a server's result: whether it is one, and whether the tool reports an error.
//!
//! The bytes themselves pass through untouched. What an unreadable result means for a call is said in `call`.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

/// What a result says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The tool ran and reports success.
    Success,
    /// The tool ran and reports an error.
    ToolError,
    /// The server asks something before it runs the tool.
    InputRequired,
    /// This is no result that any revision knows.
    Invalid,
}

/// The two members that matter.
#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow, default, rename = "isError")]
    is_error: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "resultType")]
    result_type: Option<&'a RawValue>,
}

/// Reads a result.
pub(super) fn read(result: &Bytes) -> Verdict {
    // A list would be taken for the members in their order.
    let is_object = result.trim_ascii_start().starts_with(b"{");
    let Some(head) = is_object
        .then(|| serde_json::from_slice::<Head<'_>>(result).ok())
        .flatten()
    else {
        return Verdict::Invalid;
    };
    match head.result_type.map(RawValue::get) {
        None | Some("\"complete\"") => {}
        Some("\"input_required\"") => return Verdict::InputRequired,
        // The specification says so: an unknown type makes the result invalid.
        Some(_) => return Verdict::Invalid,
    }
    match head.is_error.map(RawValue::get) {
        None | Some("false") => Verdict::Success,
        Some("true") => Verdict::ToolError,
        Some(_) => Verdict::Invalid,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{Verdict, read};

    #[test]
    fn results_are_told_apart_by_two_members_only() {
        for (result, verdict) in [
            (r#"{"content":[]}"#, Verdict::Success),
            (
                r#"{"content":[],"isError":false,"resultType":"complete"}"#,
                Verdict::Success,
            ),
            (r#"{"content":[],"isError":true}"#, Verdict::ToolError),
            (r#"{"is\u0045rror":true}"#, Verdict::ToolError),
            (
                r#"{"resultType":"input_required","inputRequests":{}}"#,
                Verdict::InputRequired,
            ),
            (r#"{"resultType":"task"}"#, Verdict::Invalid),
            (r#"{"isError":"yes"}"#, Verdict::Invalid),
            (r#"{"isError":true,"isError":false}"#, Verdict::Invalid),
            ("[]", Verdict::Invalid),
            ("[true]", Verdict::Invalid),
            ("null", Verdict::Invalid),
            (r#""text""#, Verdict::Invalid),
        ] {
            assert_eq!(read(&Bytes::from(result)), verdict, "{result}");
        }
    }

    #[test]
    fn an_is_error_deep_inside_the_result_is_not_the_tools() {
        let result = r#"{"structuredContent":{"isError":true},"content":[{"isError":true}]}"#;
        assert_eq!(read(&Bytes::from(result)), Verdict::Success);
    }
}
