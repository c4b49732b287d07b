//! Calls pass through exactly, many at once, and end when their callers want them to.

use std::{sync::Arc, time::Duration};

use lifecycle::CancellationToken;
use runtime_sync::{
    domain::{CallReason, Outcome},
    session::{SessionOptions, ToolCall},
};
use tokio::{sync::Notify, time::Instant};

use crate::{
    harness::{LONG, call, eventually, http, quiet},
    peer::{Peer, Say, legacy, modern, tool, tools},
};

#[tokio::test]
async fn arguments_and_results_pass_byte_for_byte() {
    const ARGUMENTS: &str = r#"{"z":1.0,"a":12345678901234567890,"n":null,"u":"\u00e9é","deep":{"b":[ 1 , 2 ],"a":-0}}"#;
    const RESULT: &str = r#"{"zz":1e2,"content":[{"type":"text","text":"\u00e9","x":18446744073709551616}], "isError":false,"structuredContent":{"b":1.0,"a":2}}"#;
    for is_modern in [true, false] {
        let peer = Peer::start(move |asked| match asked.method.as_str() {
            "tools/call" => Say::Result(RESULT.into()),
            _ if is_modern => modern(asked, &["one"]),
            _ => legacy(asked, &["one"]),
        })
        .await;
        let session = http(peer.url(), quiet());
        session.ready().await;
        let result = session.call("one", ARGUMENTS).await.unwrap();
        assert_eq!(result.json, RESULT.as_bytes());
        assert!(!result.is_error);
        assert_eq!(result.definition_hash, session.status().tools[0].hash);
        let params = &peer.asked("tools/call")[0].params;
        assert!(
            params.starts_with(&format!(r#"{{"name":"one","arguments":{ARGUMENTS}"#)),
            "{params}"
        );
    }
}

#[tokio::test]
async fn the_trace_of_the_caller_reaches_the_server() {
    const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    for is_modern in [true, false] {
        let peer = Peer::start(move |asked| {
            if is_modern {
                modern(asked, &["one"])
            } else {
                legacy(asked, &["one"])
            }
        })
        .await;
        let session = http(peer.url(), quiet());
        session.ready().await;
        let traced = ToolCall {
            trace: vec![("traceparent".into(), TRACE.into())],
            ..call("one", "{}")
        };
        session.handle.call_tool(traced).await.unwrap();
        let params: serde_json::Value =
            serde_json::from_str(&peer.asked("tools/call")[0].params).unwrap();
        assert_eq!(params["_meta"]["traceparent"], TRACE);
        let version = params["_meta"].get("io.modelcontextprotocol/protocolVersion");
        assert_eq!(version.is_some(), is_modern);
    }
}

#[tokio::test]
async fn annotated_arguments_and_the_name_ride_in_headers_for_modern_servers() {
    const TOOL: &str = r#"{"name":"geo","inputSchema":{"type":"object","properties":{"region":{"type":"string","x-mcp-header":"Region"},"id":{"type":"integer","x-mcp-header":"Id"}}}}"#;
    let peer = Peer::start(|asked| match asked.method.as_str() {
        "tools/list" => Say::Result(format!(r#"{{"tools":[{TOOL}]}}"#)),
        _ => modern(asked, &[]),
    })
    .await;
    let session = http(peer.url(), quiet());
    session.ready().await;
    session
        .call("geo", r#"{"region":"für","id":12345678901234567890}"#)
        .await
        .unwrap();
    let headers = &peer.asked("tools/call")[0].headers;
    assert_eq!(headers["mcp-method"], "tools/call");
    assert_eq!(headers["mcp-name"], "geo");
    assert_eq!(headers["mcp-param-region"], "=?base64?ZsO8cg==?=");
    assert_eq!(headers["mcp-param-id"], "12345678901234567890");
}

#[tokio::test]
async fn a_header_mismatch_has_the_definitions_fetched_and_the_call_sent_once_more() {
    let with_header = |header: &str| {
        format!(
            r#"{{"tools":[{{"name":"geo","inputSchema":{{"properties":{{"r":{{"type":"string","x-mcp-header":"{header}"}}}}}}}}]}}"#
        )
    };
    let peer = Peer::start(move |asked| match (asked.method.as_str(), asked.before) {
        ("tools/list", 0) => Say::Result(with_header("Old")),
        ("tools/list", _) => Say::Result(with_header("New")),
        ("tools/call", _) if !asked.headers.contains_key("mcp-param-new") => {
            Say::ErrorWith(400, -32020, "")
        }
        _ => modern(asked, &[]),
    })
    .await;
    let session = http(peer.url(), quiet());
    session.ready().await;
    session.call("geo", r#"{"r":"x"}"#).await.unwrap();
    assert_eq!(peer.count("tools/call"), 2);
}

#[tokio::test]
async fn a_tool_that_reports_an_error_is_a_completed_call() {
    let peer = Peer::start(|asked| match asked.method.as_str() {
        "tools/call" => Say::Result(r#"{"content":[],"isError":true}"#.into()),
        _ => modern(asked, &["one"]),
    })
    .await;
    let session = http(peer.url(), quiet());
    session.ready().await;
    assert!(session.call("one", "{}").await.unwrap().is_error);
}

#[tokio::test]
async fn sixty_four_calls_run_at_once_and_the_next_is_refused() {
    let gate = Arc::new(Notify::new());
    let held = Arc::clone(&gate);
    let peer = Peer::start(move |asked| match asked.method.as_str() {
        "tools/call" => Say::Later(
            Arc::clone(&held),
            format!(r#"{{"content":[],"echo":{}}}"#, asked.params),
        ),
        _ => legacy(asked, &["one"]),
    })
    .await;
    let session = http(peer.url(), quiet());
    session.ready().await;
    let arguments: Vec<_> = (0..64).map(|n| format!(r#"{{"n":{n}}}"#)).collect();
    let calls = futures_util::future::join_all(
        arguments
            .iter()
            .map(|arguments| session.call("one", arguments)),
    );
    let beyond = async {
        eventually("all calls arrived", || peer.count("tools/call") == 64).await;
        assert_eq!(session.handle.calls_in_flight(), 64);
        let refused = session.call("one", "{}").await.unwrap_err();
        assert_eq!(
            (refused.reason, refused.outcome),
            (CallReason::TooManyCalls, Outcome::NotSent)
        );
        // Each wakes one, and those that do not wait yet are served by the rest.
        while peer.count("tools/call") < 64 || session.handle.calls_in_flight() > 0 {
            gate.notify_waiters();
            tokio::task::yield_now().await;
        }
    };
    let (results, ()) = tokio::join!(calls, beyond);
    for (result, arguments) in results.into_iter().zip(&arguments) {
        let json = String::from_utf8(result.unwrap().json.to_vec()).unwrap();
        assert!(json.contains(arguments.as_str()), "{arguments} got {json}");
    }
}

#[tokio::test]
async fn a_cancelled_call_is_cancelled_at_a_legacy_server() {
    let peer = Peer::start(|asked| match asked.method.as_str() {
        "tools/call" => Say::Silence,
        _ => legacy(asked, &["one"]),
    })
    .await;
    let session = http(peer.url(), quiet());
    session.ready().await;
    let cancel = CancellationToken::new();
    let called = session.handle.call_tool(ToolCall {
        cancel: cancel.clone(),
        ..call("one", "{}")
    });
    let cancelling = async {
        eventually("the call arrived", || peer.count("tools/call") == 1).await;
        cancel.cancel();
    };
    let (result, ()) = tokio::join!(called, cancelling);
    let error = result.unwrap_err();
    assert_eq!(
        (error.reason, error.outcome),
        (CallReason::CallCancelled, Outcome::SentUnknown)
    );
    eventually("the server was told", || {
        peer.count("notifications/cancelled") == 1
    })
    .await;
}

#[tokio::test]
async fn a_dropped_call_is_cancelled_too() {
    let peer = Peer::start(|asked| match asked.method.as_str() {
        "tools/call" => Say::Silence,
        _ => legacy(asked, &["one"]),
    })
    .await;
    let session = http(peer.url(), quiet());
    session.ready().await;
    tokio::select! {
        result = session.call("one", "{}") => panic!("answered {result:?}"),
        () = eventually("the call arrived", || peer.count("tools/call") == 1) => {}
    }
    eventually("the server was told", || {
        peer.count("notifications/cancelled") == 1
    })
    .await;
    assert_eq!(session.handle.calls_in_flight(), 0);
}

#[tokio::test]
async fn a_deadline_ends_a_call_that_is_never_answered() {
    let peer = Peer::start(|asked| match asked.method.as_str() {
        "tools/call" => Say::Silence,
        _ => modern(asked, &["one"]),
    })
    .await;
    let session = http(peer.url(), quiet());
    session.ready().await;
    let deadline = Some(Instant::now() + Duration::from_millis(200));
    let error = session
        .handle
        .call_tool(ToolCall {
            deadline,
            ..call("one", "{}")
        })
        .await
        .unwrap_err();
    assert_eq!(
        (error.reason, error.outcome),
        (CallReason::DeadlineExceeded, Outcome::SentUnknown)
    );
}

#[tokio::test]
async fn without_a_deadline_the_connectors_own_limit_holds() {
    let peer = Peer::start(|asked| match asked.method.as_str() {
        "tools/call" => Say::Silence,
        _ => modern(asked, &["one"]),
    })
    .await;
    let mut options = quiet();
    options.call.timeout = Duration::from_millis(200);
    let session = http(peer.url(), options);
    session.ready().await;
    let error = session
        .handle
        .call_tool(ToolCall {
            deadline: None,
            ..call("one", "{}")
        })
        .await
        .unwrap_err();
    assert_eq!(error.reason, CallReason::DeadlineExceeded);
}

#[tokio::test]
async fn a_call_made_while_connecting_waits_inside_its_deadline() {
    let gate = Arc::new(Notify::new());
    let held = Arc::clone(&gate);
    let peer = Peer::start(move |asked| match (asked.method.as_str(), asked.before) {
        ("tools/list", 0) => Say::Later(Arc::clone(&held), tools(&["one"])),
        _ => modern(asked, &["one"]),
    })
    .await;
    let session = http(peer.url(), quiet());
    let impatient = ToolCall {
        deadline: Some(Instant::now() + Duration::from_millis(100)),
        ..call("one", "{}")
    };
    let error = session.handle.call_tool(impatient).await.unwrap_err();
    assert_eq!(
        (error.reason, error.outcome),
        (CallReason::ConnectorUnreachable, Outcome::NotSent)
    );
    let patient = session.call("one", "{}");
    tokio::pin!(patient);
    assert!(futures_util::poll!(&mut patient).is_pending());
    gate.notify_one();
    patient.await.unwrap();
}

#[tokio::test]
async fn arguments_over_several_lines_reach_a_stdio_server_as_one_message() {
    const ECHO: &str = r#"
        while IFS= read -r line; do
            id=${line#*\"id\":}; id=${id%%[,\}]*}
            case $line in
                *'"initialize"'*) echo '{"jsonrpc":"2.0","id":'"$id"',"result":{"protocolVersion":"2025-11-25","capabilities":{},"serverInfo":{"name":"sh","version":"1"}}}' ;;
                *'"tools/list"'*) echo '{"jsonrpc":"2.0","id":'"$id"',"result":{"tools":[{"name":"one","inputSchema":{"type":"object"}}]}}' ;;
                *'"tools/call"'*) printf '%s\n' '{"jsonrpc":"2.0","id":'"$id"',"result":{"content":[],"got":'"${line#*\"arguments\":}" ;;
                *'"id"'*) echo '{"jsonrpc":"2.0","id":'"$id"',"error":{"code":-32601,"message":"no"}}' ;;
            esac
        done
    "#;
    let session = crate::harness::script(ECHO, quiet());
    session.ready().await;
    let result = session
        .call("one", "{\n  \"a\":\r\n 1,\"t\":\"x\\ny\"}")
        .await
        .unwrap();
    let json = String::from_utf8(result.json.to_vec()).unwrap();
    assert!(json.contains(r#"{   "a":   1,"t":"x\ny"}"#), "{json}");
    session.handle.stop().await;
}

#[tokio::test]
async fn calls_to_one_connector_do_not_wait_for_a_slow_one() {
    let slow = Peer::start(|asked| match asked.method.as_str() {
        "tools/call" => Say::Silence,
        _ => modern(asked, &["one"]),
    })
    .await;
    let quick = Peer::start(|asked| match asked.method.as_str() {
        "tools/list" => Say::Result(format!(r#"{{"tools":[{}]}}"#, tool("one"))),
        _ => modern(asked, &[]),
    })
    .await;
    let options = || SessionOptions {
        probe: quiet().probe,
        ..quiet()
    };
    let (hanging, well) = (http(slow.url(), options()), http(quick.url(), options()));
    hanging.ready().await;
    well.ready().await;
    tokio::select! {
        result = hanging.call("one", "{}") => panic!("answered {result:?}"),
        result = tokio::time::timeout(LONG, well.call("one", "{}")) => { result.unwrap().unwrap(); }
    }
}
