//! JSON-RPC messages as bytes: writing requests, and reading just enough of what comes back.
//!
//! Invariant: parameters and results pass byte for byte; only the envelope is read. A message with a key twice is no
//! message: what two parsers would read differently is not passed on. Pure: no I/O here.

use std::borrow::Cow;

use bytes::{BufMut as _, Bytes, BytesMut};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    call::{RawCall, RawReply},
    error::WireErrorKind,
};

/// How our own request ids begin. rmcp's are numbers, so the two can never be confused.
const PREFIX: &str = "pb-";

/// Results up to this size are copied out of what was read.
const SMALL: usize = 4096;

/// The outermost members of a message.
#[derive(Debug, Deserialize)]
pub(super) struct Envelope<'a> {
    #[serde(borrow)]
    pub(super) id: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) method: Option<&'a RawValue>,
    #[serde(borrow)]
    result: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct RpcError<'a> {
    code: i64,
    #[serde(borrow, default)]
    message: Cow<'a, str>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

impl<'a> Envelope<'a> {
    /// Reads the envelope; `None` when this is no JSON object or a member stands twice.
    pub(super) fn read(text: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(text).ok()
    }

    /// The number of our own request that this replies to.
    pub(super) fn our_number(&self) -> Option<u64> {
        let digits = self
            .id?
            .get()
            .strip_prefix("\"")?
            .strip_suffix("\"")?
            .strip_prefix(PREFIX)?;
        digits.parse().ok()
    }

    /// Whether this is a reply, whoever asked.
    pub(super) fn is_reply(&self) -> bool {
        self.method.is_none() && (self.id.is_some() || self.error.is_some())
    }

    /// Whether this is an error that names no request.
    pub(super) fn is_anonymous_error(&self) -> bool {
        self.method.is_none() && self.error.is_some() && self.id.is_none()
    }

    /// The reply in it; `text` must be what the envelope was read from.
    pub(super) fn reply(&self, text: &Bytes) -> Result<RawReply, WireErrorKind> {
        // A small piece is copied, so that it does not keep a whole read alive.
        let exact = |raw: &RawValue| match raw.get().as_bytes() {
            small if small.len() <= SMALL => Bytes::copy_from_slice(small),
            large => text.slice_ref(large),
        };
        match (self.result, self.error) {
            (Some(result), None) => Ok(RawReply::Result(exact(result))),
            (None, Some(error)) => {
                let RpcError {
                    code,
                    message,
                    data,
                } = serde_json::from_str(error.get())
                    .map_err(|_| WireErrorKind::InvalidResponse)?;
                // `data` lies inside `error`, which lies inside `text`.
                Ok(RawReply::Error {
                    code,
                    message: message.into_owned(),
                    data: data.map(exact),
                })
            }
            (Some(_), Some(_)) | (None, None) => Err(WireErrorKind::InvalidResponse),
        }
    }
}

/// The id of our request with this number, as it stands in JSON without quotes.
pub(super) fn our_id(number: u64) -> String {
    format!("{PREFIX}{number}")
}

/// The request as one line without its line end.
pub(super) fn request(number: u64, call: &RawCall) -> Result<BytesMut, WireErrorKind> {
    // Parsed once, so that parameters can add no member to the envelope.
    let valid = call.params.first() == Some(&b'{')
        && serde_json::from_slice::<&RawValue>(&call.params)
            .is_ok_and(|raw| raw.get().len() == call.params.len());
    if !valid {
        return Err(WireErrorKind::InvalidRequest);
    }
    let mut line = BytesMut::with_capacity(call.params.len() + call.method.len() + 80);
    line.put_slice(br#"{"jsonrpc":"2.0","id":""#);
    line.put_slice(our_id(number).as_bytes());
    line.put_slice(br#"","method":""#);
    line.put_slice(call.method.as_bytes());
    line.put_slice(br#"","params":"#);
    // In valid JSON a bare line break stands only between tokens, where a space means the same.
    line.extend(call.params.iter().map(|byte| {
        if matches!(byte, b'\n' | b'\r') {
            b' '
        } else {
            *byte
        }
    }));
    line.put_u8(b'}');
    Ok(line)
}

/// `notifications/cancelled` for one of our requests.
pub(super) fn cancelled(number: u64) -> String {
    let id = our_id(number);
    format!(
        r#"{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{{"requestId":"{id}","reason":"the caller gave up"}}}}"#
    )
}

/// The answer to a server's `ping`.
pub(super) fn pong(id: &RawValue) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{},"result":{{}}}}"#, id.get())
}

/// The answer to a server's request that nobody here can serve.
pub(super) fn refusal(id: &RawValue) -> String {
    let id = id.get();
    format!(
        r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32601,"message":"not supported here"}}}}"#
    )
}

/// Whose an overlong message is, as far as its beginning tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    /// It is the reply to our request with this number.
    Our(u64),
    /// It is a reply, and its id has not come yet.
    SomeReply,
    /// It is no reply to us, or nothing can be said.
    Unknown,
}

/// Judges the beginning of a message. Only its outermost members count: what is deeper a tool may have written.
pub(super) fn owner_in_head(head: &[u8]) -> Owner {
    if !head.trim_ascii_start().starts_with(b"{") {
        return Owner::Unknown;
    }
    let (mut at, mut depth, mut owner) = (0, 0_usize, Owner::Unknown);
    while let Some(byte) = head.get(at) {
        at += 1;
        match byte {
            b'{' | b'[' => depth += 1,
            b'}' | b']' if depth <= 1 => break,
            b'}' | b']' => depth -= 1,
            b'"' => {
                let Some(text) = string(&head[at..]) else {
                    break;
                };
                at += text.len() + 1;
                let value = head[at..].trim_ascii_start().strip_prefix(b":");
                match value.filter(|_| depth == 1).map(|value| (text, value)) {
                    Some((b"id", value)) => {
                        return number_of(value.trim_ascii_start())
                            .map_or(Owner::Unknown, Owner::Our);
                    }
                    Some((b"method", _)) => return Owner::Unknown,
                    Some((b"result" | b"error", _)) => owner = Owner::SomeReply,
                    Some(_) | None => {}
                }
            }
            _ => {}
        }
    }
    owner
}

/// The number of our request that an overlong reply seems to belong to by its last bytes. They may lie inside a string
/// of any depth, so this is a guess: use it only where there is nobody else it could belong to.
pub(super) fn our_number_in_tail(tail: &[u8]) -> Option<u64> {
    let begin = b"\"pb-";
    let at = tail
        .windows(begin.len())
        .rposition(|window| window == begin)?;
    let before = tail[..at].trim_ascii_end().strip_suffix(b":")?;
    if before.trim_ascii_end().ends_with(b"\"id\"") {
        number_of(&tail[at..])
    } else {
        None
    }
}

/// The number in our id, which stands in quotes at the beginning.
fn number_of(value: &[u8]) -> Option<u64> {
    let digits = string(value.strip_prefix(b"\"")?)?.strip_prefix(PREFIX.as_bytes())?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// What stands before the closing quote.
fn string(text: &[u8]) -> Option<&[u8]> {
    let mut at = 0;
    loop {
        match text.get(at)? {
            b'"' => return Some(&text[..at]),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// The messages in a line: usually one, several in a batch of revision 2025-03-26.
pub(super) fn split_batch(text: &Bytes) -> Vec<Bytes> {
    if text.first() != Some(&b'[') {
        return vec![text.clone()];
    }
    let batch: Vec<&RawValue> = serde_json::from_slice(text).unwrap_or_default();
    batch
        .into_iter()
        .map(|raw| text.slice_ref(raw.get().as_bytes()))
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::Era;

    fn call(params: &str) -> RawCall {
        RawCall {
            method: "tools/call",
            name: None,
            params: Bytes::copy_from_slice(params.as_bytes()),
            era: Era::Legacy,
            protocol_version: "2025-11-25".to_owned(),
            param_headers: Vec::new(),
            max_reply: usize::MAX,
        }
    }

    fn reply(text: &str) -> Result<RawReply, WireErrorKind> {
        let text = Bytes::copy_from_slice(text.as_bytes());
        Envelope::read(&text)
            .ok_or(WireErrorKind::InvalidResponse)?
            .reply(&text)
    }

    #[test]
    fn a_request_carries_its_parameters_exactly() {
        let line = request(
            7,
            &call(r#"{"name":"t","arguments":{"n":9007199254740993,"x":1.0}}"#),
        )
        .expect("a line");
        assert_eq!(
            &line[..],
            br#"{"jsonrpc":"2.0","id":"pb-7","method":"tools/call","params":{"name":"t","arguments":{"n":9007199254740993,"x":1.0}}}"#
        );
    }

    #[test]
    fn parameters_can_neither_break_the_line_nor_leave_their_member() {
        let line = request(1, &call("{\n\"a\":\r\n1}")).expect("a line");
        assert!(!line.contains(&b'\n') && !line.contains(&b'\r'));
        for bad in [
            "",
            "1",
            "[]",
            "{",
            r#"{},"id":"x""#,
            r#"{}{}"#,
            "{} ",
            r#"{"a":"line
break"}"#,
        ] {
            assert_eq!(
                request(1, &call(bad)).map(drop),
                Err(WireErrorKind::InvalidRequest),
                "{bad}"
            );
        }
    }

    #[test]
    fn a_result_keeps_its_bytes() {
        let result = r#"{ "content":[], "big":12345678901234567890123, "z":1, "a":1.50 }"#;
        let text = format!(r#"{{"result": {result} ,"id":"pb-3","jsonrpc":"2.0"}}"#);
        assert_eq!(
            reply(&text),
            Ok(RawReply::Result(Bytes::copy_from_slice(result.as_bytes())))
        );
        assert_eq!(
            Envelope::read(text.as_bytes()).and_then(|envelope| envelope.our_number()),
            Some(3)
        );
    }

    #[test]
    fn an_error_keeps_code_message_and_exact_data() {
        let text = r#"{"jsonrpc":"2.0","id":"pb-3","error":{"code":-32022,"message":"a\"b","data":{"supported":[ "x" ]}}}"#;
        let data = Some(Bytes::from_static(br#"{"supported":[ "x" ]}"#));
        assert_eq!(
            reply(text),
            Ok(RawReply::Error {
                code: -32022,
                message: "a\"b".into(),
                data
            })
        );
    }

    #[test]
    fn what_is_no_clear_reply_is_invalid() {
        for text in [
            r#"{"jsonrpc":"2.0","id":"pb-1"}"#,
            r#"{"jsonrpc":"2.0","id":"pb-1","result":null}"#,
            r#"{"jsonrpc":"2.0","id":"pb-1","result":{},"error":{"code":1,"message":""}}"#,
            r#"{"jsonrpc":"2.0","id":"pb-1","result":{},"result":{}}"#,
            r#"{"jsonrpc":"2.0","id":"pb-1","error":"text"}"#,
            r#"{"jsonrpc":"2.0","id":"pb-1","result":{}"#,
            "<html>",
        ] {
            assert_eq!(reply(text), Err(WireErrorKind::InvalidResponse), "{text}");
        }
    }

    #[test]
    fn only_our_own_ids_are_ours() {
        let number = |id: &str| {
            let text = format!(r#"{{"id":{id},"result":{{}}}}"#);
            Envelope::read(text.as_bytes()).and_then(|envelope| envelope.our_number())
        };
        assert_eq!(number("\"pb-12\""), Some(12));
        for id in [
            "12",
            "\"12\"",
            "\"pb-\"",
            "\"pb-x\"",
            "\"pb--1\"",
            "null",
            "\"xpb-1\"",
        ] {
            assert_eq!(number(id), None, "{id}");
        }
    }

    #[test]
    fn the_owner_of_an_overlong_reply_is_read_from_its_outermost_members_only() {
        let head = |text: &str| owner_in_head(text.as_bytes());
        assert_eq!(
            head(r#" {"jsonrpc":"2.0","id" : "pb-42","result":{"#),
            Owner::Our(42)
        );
        assert_eq!(
            head(r#"{"x":[{"id":"pb-1"}],"y":"{\"id\":\"pb-2\"","id":"pb-3","#),
            Owner::Our(3)
        );
        for forged in [
            r#"{"result":{"id":"pb-1","x":"#,
            r#"{"result":{"text":"\"id\":\"pb-1\""#,
            r#"{"error":{"id":"pb-1"#,
        ] {
            assert_eq!(head(forged), Owner::SomeReply, "{forged}");
        }
        for foreign in [
            "",
            "x",
            r#"[{"id":"pb-1","#,
            r#"{"id":7,"result":{"#,
            r#"{"id":"pb-x","result":{"#,
            r#"{"id":"pb-1"#,
            r#"{"name":"pb-1","#,
            r#"{"}":"pb-1""#,
            r#"{"method":"notifications/message","params":{"id":"pb-1","#,
        ] {
            assert_eq!(head(foreign), Owner::Unknown, "{foreign}");
        }
    }

    #[test]
    fn the_tail_of_an_overlong_reply_is_only_good_for_a_guess() {
        let tail = |text: &str| our_number_in_tail(text.as_bytes());
        assert_eq!(tail(r#"xxx"},"jsonrpc":"2.0","id":"pb-9"}"#), Some(9));
        assert_eq!(tail(r#"x\"id\":\"pb-1\""}"#), None);
        assert_eq!(tail(r#"x"},"name":"pb-1"}"#), None);
        assert_eq!(tail(""), None);
    }

    #[test]
    fn a_batch_is_its_messages() {
        let batch = Bytes::from_static(br#"[{"id":1} , {"id":2}]"#);
        assert_eq!(
            split_batch(&batch),
            [
                Bytes::from_static(b"{\"id\":1}"),
                Bytes::from_static(b"{\"id\":2}")
            ]
        );
        assert_eq!(split_batch(&Bytes::from_static(b"[")), Vec::<Bytes>::new());
    }

    proptest! {
        #[test]
        fn no_bytes_can_panic_the_reader(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            let text = Bytes::from(text);
            for message in split_batch(&text) {
                if let Some(envelope) = Envelope::read(&message) {
                    let _reply = envelope.reply(&message);
                }
            }
            let _guess = (owner_in_head(&text), our_number_in_tail(&text));
        }
    }
}
