//! Calls over standard streams.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use rmcp::{
    ClientHandler, RoleClient, ServiceExt as _,
    model::{ClientConfig, ProtocolVersion},
    transport::Transport as _,
};
use runtime_sync::transport::{Link, LinkEnd, RawReply, Sent, WireError, WireErrorKind};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::support::{
    PATIENCE, call, call_for, close, ended, eventually, link, options, python, raw, result, said,
    shell, within,
};

/// Answers every request with its own parameters.
const ECHO: &str = r#"
import json, sys
for line in sys.stdin:
    message = json.loads(line)
    print("got", line.strip(), file=sys.stderr)
    if "id" in message and "method" in message:
        print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": {"echo": message.get("params")}}))
"#;

#[tokio::test]
async fn a_result_arrives_byte_for_byte() {
    let script = r#"read line; echo '{"result": {"z":1, "big":12345678901234567890, "x":1.50} ,"id":"pb-1","jsonrpc":"2.0"}'; cat >&2"#;
    let link = link(&shell(script), &options()).await;
    assert_eq!(
        call(&link, raw("{}")).await,
        result(r#"{"z":1, "big":12345678901234567890, "x":1.50}"#)
    );
    close(link).await;
}

#[tokio::test]
async fn a_hundred_calls_at_once_each_get_their_own_answer() {
    // Answers only when all have come, the last one first.
    let script = r#"
import json, sys
calls = [json.loads(sys.stdin.readline()) for _ in range(100)]
for message in reversed(calls):
    print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": message["params"]}, separators=(",", ":")))
sys.stdin.read()
"#;
    let link = link(&python(script), &options()).await;
    let calls = (0..100).map(|n| call(&link, raw(&format!("{{\"n\":{n}}}"))));
    for (n, reply) in join_all(calls).await.into_iter().enumerate() {
        assert_eq!(reply, result(&format!("{{\"n\":{n}}}")));
    }
    close(link).await;
}

#[tokio::test]
async fn garbage_and_answers_to_nothing_are_dropped_and_counted() {
    let script = r#"
import sys
sys.stdin.readline()
print("starting up...")
print("{")
print("\xff\x00")
print('[1,2')
print('{"jsonrpc":"2.0","id":"pb-99","result":{}}')
print('{"jsonrpc":"2.0","id":"pb-1","result":{"n":1}}')
print('{"jsonrpc":"2.0","id":"pb-1","result":{"n":2}}')
print("flushed", file=sys.stderr)
sys.stdin.read()
"#;
    let link = link(&python(script), &options()).await;
    assert_eq!(call(&link, raw("{}")).await, result("{\"n\":1}"));
    eventually("six dropped", || match link.control.dropped_messages() {
        5.. => Ok(()),
        fewer => Err(fewer),
    })
    .await;
    close(link).await;
}

#[tokio::test]
async fn a_reply_that_is_neither_result_nor_error_is_an_error_at_once() {
    let link = link(
        &shell(r#"read line; echo '{"jsonrpc":"2.0","id":"pb-1"}'; cat"#),
        &options(),
    )
    .await;
    let expected = WireError {
        kind: WireErrorKind::InvalidResponse,
        sent: Sent::Answered,
    };
    assert_eq!(call(&link, raw("{}")).await, Err(expected));
    close(link).await;
}

#[tokio::test]
async fn a_json_rpc_error_is_an_answer() {
    let script = r#"read line; echo '{"jsonrpc":"2.0","id":"pb-1","error":{"code":-32602,"message":"bad","data":{"at" :1}}}'; cat"#;
    let link = link(&shell(script), &options()).await;
    let data = Some(Bytes::from_static(b"{\"at\" :1}"));
    assert_eq!(
        call(&link, raw("{}")).await,
        Ok(RawReply::Error {
            code: -32602,
            message: "bad".into(),
            data
        })
    );
    close(link).await;
}

#[tokio::test]
async fn a_call_that_is_not_answered_ends_at_its_deadline_and_the_server_is_told() {
    let link = link(
        &python("import sys\nfor line in sys.stdin: print('got', line, file=sys.stderr)"),
        &options(),
    )
    .await;
    let error = call_for(&link, raw("{}"), Duration::from_millis(300))
        .await
        .expect_err("no answer");
    assert_eq!(
        error,
        WireError {
            kind: WireErrorKind::DeadlineExceeded,
            sent: Sent::SentUnknown
        }
    );
    let told = said(
        &link,
        r#"got {"jsonrpc":"2.0","method":"notifications/cancelled""#,
    )
    .await;
    assert!(told.contains(r#""requestId":"pb-1""#), "{told}");
    close(link).await;
}

#[tokio::test]
async fn a_cancelled_and_a_dropped_call_are_both_cancelled_at_the_server() {
    let link = link(
        &python("import sys\nfor line in sys.stdin: print('got', line, file=sys.stderr)"),
        &options(),
    )
    .await;
    let cancel = CancellationToken::new();
    let cancelled = async {
        let calling = link
            .calls
            .call(raw("{}"), Instant::now() + PATIENCE, cancel.clone());
        let arrives = async {
            said(&link, r#"got {"jsonrpc":"2.0","id":"pb-1""#).await;
            cancel.cancel();
        };
        tokio::join!(calling, arrives).0
    };
    let error = within(cancelled).await.expect_err("cancelled");
    assert_eq!(
        error,
        WireError {
            kind: WireErrorKind::Cancelled,
            sent: Sent::SentUnknown
        }
    );

    tokio::select! {
        reply = call(&link, raw("{}")) => panic!("{reply:?}"),
        _ = said(&link, r#"got {"jsonrpc":"2.0","id":"pb-2""#) => {}
    }
    let stderr = link.stderr.clone().expect("a stdio link");
    eventually("both told", || {
        let lines = stderr.lines();
        let told = |id: &str| {
            lines
                .iter()
                .any(|line| line.text.contains("notifications/cancelled") && line.text.contains(id))
        };
        if told("pb-1") && told("pb-2") {
            Ok(())
        } else {
            Err(lines)
        }
    })
    .await;
    close(link).await;
}

#[tokio::test]
async fn a_call_that_was_cancelled_beforehand_was_not_sent() {
    let link = link(&python(ECHO), &options()).await;
    let cancel = CancellationToken::new();
    cancel.cancel();
    let error = link
        .calls
        .call(raw("{}"), Instant::now() + PATIENCE, cancel)
        .await
        .expect_err("cancelled");
    assert_eq!(
        error,
        WireError {
            kind: WireErrorKind::Cancelled,
            sent: Sent::NotSent
        }
    );
    assert!(
        call(&link, raw("{\"n\":2}")).await.is_ok(),
        "and disturbs nobody"
    );
    close(link).await;
}

#[tokio::test]
async fn parameters_that_are_no_object_are_not_sent() {
    let link = link(&python(ECHO), &options()).await;
    for bad in ["[]", "{", r#"{},"method":"x""#] {
        let error = call(&link, raw(bad)).await.expect_err("refused");
        assert_eq!(
            error,
            WireError {
                kind: WireErrorKind::InvalidRequest,
                sent: Sent::NotSent
            }
        );
    }
    close(link).await;
}

#[tokio::test]
async fn a_process_that_dies_during_a_call_leaves_its_outcome_unknown() {
    let link = link(&shell("read line; exit 7"), &options()).await;
    let error = call(&link, raw("{}")).await.expect_err("the process died");
    let end = LinkEnd::ProcessExited {
        code: Some(7),
        signal: None,
    };
    assert_eq!(
        error,
        WireError {
            kind: WireErrorKind::LinkEnded(end),
            sent: Sent::SentUnknown
        }
    );
}

#[tokio::test]
async fn an_answer_printed_just_before_the_end_still_counts() {
    let link = link(
        &shell(r#"read line; echo '{"jsonrpc":"2.0","id":"pb-1","result":{}}'; exit 0"#),
        &options(),
    )
    .await;
    assert_eq!(call(&link, raw("{}")).await, result("{}"));
    assert_eq!(
        ended(&link).await,
        LinkEnd::ProcessExited {
            code: Some(0),
            signal: None
        }
    );
}

#[tokio::test]
async fn a_request_of_the_server_that_nobody_takes_is_refused() {
    let script = r#"
import sys
sys.stdin.readline()
print('{"jsonrpc":"2.0","id":"s-1","method":"roots/list"}')
for line in sys.stdin:
    print("got", line, file=sys.stderr)
"#;
    let Link {
        messages,
        calls,
        ended,
        stderr,
        control,
    } = link(&python(script), &options()).await;
    drop(messages);
    let stderr = stderr.expect("a stdio link");
    let refused = eventually("a refusal", || {
        let lines = stderr.lines();
        let refused = |line: &str| line.contains("s-1") && line.contains("-32601");
        if lines.iter().any(|line| refused(&line.text)) {
            Ok(())
        } else {
            Err(lines)
        }
    });
    tokio::select! {
        reply = calls.call(raw("{}"), Instant::now() + PATIENCE, CancellationToken::new()) => {
            panic!("this server answers nothing: {reply:?}")
        }
        () = refused => {}
    }
    assert_eq!(*ended.borrow(), None);
    within(control.close(Instant::now() + PATIENCE)).await;
}

#[derive(Clone, Default)]
struct Legacy;

impl ClientHandler for Legacy {
    fn get_info(&self) -> ClientConfig {
        ClientConfig::default().with_protocol_version(ProtocolVersion::LATEST_WITH_INITIALIZE)
    }
}

const SERVER: &str = r#"
import json, sys
for line in sys.stdin:
    message = json.loads(line)
    method, id = message.get("method"), message.get("id")
    result = {"echo": message.get("params")}
    if method == "initialize":
        result = {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": {"name": "s", "version": "1"}}
    if method == "tools/list":
        result = {"tools": [{"name": "t", "inputSchema": {"type": "object"}}]}
    if method == "resources/list":
        print(json.dumps({"jsonrpc": "2.0", "id": id}))
        continue
    if id is not None and method:
        print(json.dumps({"jsonrpc": "2.0", "id": id, "result": result}, separators=(",", ":")))
"#;

#[tokio::test]
async fn rmcp_and_raw_calls_share_one_wire() {
    let Link {
        messages,
        calls,
        control,
        ..
    } = link(&python(SERVER), &options()).await;
    let client = within(Legacy.serve(messages)).await.expect("a handshake");
    let raw_call = calls.call(
        raw("{\"n\":1}"),
        Instant::now() + PATIENCE,
        CancellationToken::new(),
    );
    let (tools, reply) = within(async { tokio::join!(client.list_tools(None), raw_call) }).await;
    assert_eq!(tools.expect("tools").tools.len(), 1);
    assert_eq!(reply, result(r#"{"echo":{"n":1}}"#));
    let unreadable = within(client.list_resources(None)).await;
    assert!(
        unreadable.is_err(),
        "a reply with neither result nor error is an error, not silence"
    );
    assert_eq!(
        within(control.close(Instant::now() + PATIENCE)).await,
        LinkEnd::Closed
    );
    assert!(
        within(client.list_tools(None)).await.is_err(),
        "a closed link fails instead of hanging"
    );
}

#[tokio::test]
async fn rmcp_hears_of_the_end_and_its_sends_are_refused() {
    let mut link = link(&shell("exit 0"), &options()).await;
    ended(&link).await;
    assert!(within(link.messages.receive()).await.is_none());
    let ping =
        serde_json::from_str(r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#).expect("a message");
    let error = rmcp::transport::Transport::<RoleClient>::send(&mut link.messages, ping)
        .await
        .expect_err("ended");
    assert!(matches!(
        runtime_sync::transport::wire_cause(&error),
        Some(WireErrorKind::LinkEnded(_))
    ));
}
