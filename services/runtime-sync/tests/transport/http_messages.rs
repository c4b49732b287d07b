//! rmcp over our HTTP wire, and its session beside raw calls.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use rmcp::{
    ClientHandler, RoleClient, ServiceExt as _,
    model::{ClientConfig, ProtocolVersion},
    service::RunningService,
    transport::Transport as _,
};
use runtime_sync::transport::{
    CallWire, Link, LinkControl, LinkEnd, RawReply, Sent, WireError, WireErrorKind, wire_cause,
};
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{
    http_server::{Reply, Request, Server},
    support::{PATIENCE, endpoint, eventually, link, options, raw, result, within},
};

#[derive(Clone, Default)]
struct Legacy {
    tools_changed: Arc<AtomicUsize>,
}

impl ClientHandler for Legacy {
    fn get_info(&self) -> ClientConfig {
        ClientConfig::default().with_protocol_version(ProtocolVersion::LATEST_WITH_INITIALIZE)
    }

    async fn on_tool_list_changed(&self, _: rmcp::service::NotificationContext<RoleClient>) {
        self.tools_changed.fetch_add(1, Ordering::Relaxed);
    }
}

const INITIALIZED: &str = r#"{"protocolVersion":"2025-11-25","capabilities":{"tools":{"listChanged":true}},"serverInfo":{"name":"s","version":"1"}}"#;

/// A legacy server with a session; `other` serves what is not its handshake.
async fn session_server<F, R>(other: F) -> Server
where
    F: Fn(Request, Reply) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = Option<Reply>> + Send + 'static,
{
    Server::start(move |request: Request, mut reply: Reply| {
        let other = other.clone();
        async move {
            match (request.method.as_str(), request.rpc()) {
                ("POST", "initialize") => {
                    let body = format!(
                        r#"{{"jsonrpc":"2.0","id":{},"result":{INITIALIZED}}}"#,
                        request.id()
                    );
                    // As the reference servers do it: on a stream.
                    reply.stream("mcp-session-id: s-1\r\n").await;
                    reply.event(&body).await;
                    None
                }
                ("POST", rpc) if rpc.starts_with("notifications/") => {
                    reply.status(202, "", "").await;
                    Some(reply)
                }
                ("GET", _) if request.header("last-event-id").is_empty() => {
                    reply.stream("").await;
                    reply
                        .event(r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#)
                        .await;
                    reply.hung_up().await;
                    None
                }
                ("DELETE", _) => {
                    reply.status(200, "", "").await;
                    Some(reply)
                }
                _ => other(request, reply).await,
            }
        }
    })
    .await
}

struct Connected {
    client: RunningService<RoleClient, Legacy>,
    handler: Legacy,
    calls: CallWire,
    ended: watch::Receiver<Option<LinkEnd>>,
    control: LinkControl,
}

async fn connect(server: &Server) -> Connected {
    let Link {
        messages,
        calls,
        ended,
        control,
        ..
    } = link(&endpoint(&server.url()), &options()).await;
    let handler = Legacy::default();
    let client = within(handler.clone().serve(messages))
        .await
        .expect("a handshake");
    Connected {
        client,
        handler,
        calls,
        ended,
        control,
    }
}

impl Connected {
    async fn call(&self) -> Result<RawReply, WireError> {
        within(self.calls.call(
            raw("{}"),
            Instant::now() + PATIENCE,
            CancellationToken::new(),
        ))
        .await
    }

    async fn close(self) -> LinkEnd {
        within(self.control.close(Instant::now() + PATIENCE)).await
    }
}

async fn echo(request: Request, mut reply: Reply) -> Option<Reply> {
    match request.rpc() {
        "tools/list" => {
            reply
                .result(
                    &request,
                    r#"{"tools":[{"name":"t","inputSchema":{"type":"object"}}]}"#,
                )
                .await
        }
        _ => reply.result(&request, "{}").await,
    }
    Some(reply)
}

#[tokio::test]
async fn rmcp_and_raw_calls_share_one_session_and_closing_deletes_it() {
    let mut server = session_server(echo).await;
    let connected = connect(&server).await;
    let tools = within(connected.client.list_tools(None))
        .await
        .expect("tools");
    assert_eq!(tools.tools.len(), 1);
    assert_eq!(connected.call().await, result("{}"));
    eventually("the notice", || {
        match connected.handler.tools_changed.load(Ordering::Relaxed) {
            0 => Err("none"),
            _ => Ok(()),
        }
    })
    .await;
    assert_eq!(connected.close().await, LinkEnd::Closed);
    let requests = server.rest();
    assert!(requests[0].header("mcp-session-id").is_empty() && requests[0].rpc() == "initialize");
    for request in &requests[1..] {
        assert_eq!(request.header("mcp-session-id"), "s-1", "{request:?}");
        assert_eq!(request.header("x-api-key"), "s3cret");
        if request.method != "DELETE" {
            assert_eq!(
                request.header("mcp-protocol-version"),
                "2025-11-25",
                "{request:?}"
            );
        }
    }
    assert_eq!(
        requests
            .iter()
            .filter(|request| request.method == "DELETE")
            .count(),
        1
    );
}

#[tokio::test]
async fn a_session_lost_with_404_ends_the_link_and_proves_the_call_did_not_run() {
    let mut server = session_server(|_, mut reply: Reply| async move {
        reply.status(404, "", "").await;
        Some(reply)
    })
    .await;
    let connected = connect(&server).await;
    let expected = WireError {
        kind: WireErrorKind::SessionLost,
        sent: Sent::NotSent,
    };
    assert_eq!(connected.call().await, Err(expected));
    assert_eq!(*connected.ended.borrow(), Some(LinkEnd::SessionLost));
    let again = connected.call().await;
    let ended = WireErrorKind::LinkEnded(LinkEnd::SessionLost);
    assert_eq!(
        again,
        Err(WireError {
            kind: ended,
            sent: Sent::NotSent
        })
    );
    assert!(
        within(connected.client.list_tools(None)).await.is_err(),
        "rmcp fails instead of hanging"
    );
    assert_eq!(connected.close().await, LinkEnd::SessionLost);
    assert!(
        server
            .rest()
            .iter()
            .all(|request| request.method != "DELETE"),
        "there is nothing to delete"
    );
}

#[tokio::test]
async fn a_session_lost_with_400_ends_the_link_and_proves_nothing() {
    let server = session_server(|_, mut reply: Reply| async move {
        let body = r#"{"jsonrpc":"2.0","error":{"code":-32000,"message":"Bad Request: No valid session ID provided"},"id":null}"#;
        reply.status(400, "content-type: application/json\r\n", body).await;
        Some(reply)
    })
    .await;
    let connected = connect(&server).await;
    let expected = WireError {
        kind: WireErrorKind::SessionLost,
        sent: Sent::SentUnknown,
    };
    assert_eq!(connected.call().await, Err(expected));
    assert_eq!(*connected.ended.borrow(), Some(LinkEnd::SessionLost));
    connected.close().await;
}

#[tokio::test]
async fn rmcps_own_request_on_a_lost_session_fails_with_the_cause() {
    let server = session_server(|_, mut reply: Reply| async move {
        let body = r#"{"jsonrpc":"2.0","error":{"code":-32000,"message":"No valid session ID provided"},"id":null}"#;
        reply.status(400, "content-type: application/json\r\n", body).await;
        Some(reply)
    })
    .await;
    let connected = connect(&server).await;
    let error = within(connected.client.list_tools(None))
        .await
        .expect_err("the session is lost");
    assert!(
        wire_cause(&error) == Some(&WireErrorKind::SessionLost)
            || connected.ended.borrow().is_some(),
        "{error:?}"
    );
    connected.close().await;
}

#[tokio::test]
async fn why_a_handshake_failed_is_found_in_rmcps_error() {
    for (status, headers) in [(401, ""), (401, "www-authenticate: Bearer\r\n")] {
        let server = Server::start(move |_, mut reply: Reply| async move {
            reply.status(status, headers, "secret text").await;
            Some(reply)
        })
        .await;
        let link = link(&endpoint(&server.url()), &options()).await;
        let error = within(Legacy::default().serve(link.messages))
            .await
            .map(drop)
            .expect_err("no handshake");
        assert!(
            matches!(wire_cause(&error), Some(WireErrorKind::AuthRequired { .. })),
            "{error:?}"
        );
        assert!(
            !format!("{error:?}{error}").contains("secret text"),
            "bodies stay out of errors"
        );
    }
}

#[tokio::test]
async fn a_stream_that_breaks_before_rmcps_reply_is_an_error_and_not_silence() {
    let server = session_server(|_, mut reply: Reply| async move {
        reply.stream("").await;
        None
    })
    .await;
    let connected = connect(&server).await;
    assert!(within(connected.client.list_tools(None)).await.is_err());
    assert_eq!(*connected.ended.borrow(), None, "the session is fine");
    connected.close().await;
}

#[tokio::test]
async fn rmcps_request_that_gets_no_head_fails_in_time() {
    let server = session_server(|_, mut reply: Reply| async move {
        reply.hung_up().await;
        None
    })
    .await;
    let mut options = options();
    options.limits.response_head = Duration::from_millis(300);
    let link = link(&endpoint(&server.url()), &options).await;
    let client = within(Legacy::default().serve(link.messages))
        .await
        .expect("a handshake");
    let error = within(client.list_tools(None)).await.expect_err("silence");
    assert_eq!(
        wire_cause(&error),
        Some(&WireErrorKind::TimedOut),
        "{error:?}"
    );
    within(link.control.close(Instant::now() + PATIENCE)).await;
}

#[tokio::test]
async fn notices_on_a_calls_stream_reach_rmcp_and_its_requests_are_answered() {
    let mut server = session_server(|request: Request, mut reply: Reply| async move {
        if request.rpc() != "tools/call" {
            reply.status(202, "", "").await;
            return Some(reply);
        }
        reply.stream("").await;
        reply
            .event(r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#)
            .await;
        reply
            .event(r#"{"jsonrpc":"2.0","id":"s-1","method":"ping"}"#)
            .await;
        reply
            .event(&format!(
                r#"{{"jsonrpc":"2.0","id":{},"result":{{}}}}"#,
                request.id()
            ))
            .await;
        None
    })
    .await;
    let connected = connect(&server).await;
    assert_eq!(connected.call().await, result("{}"));
    eventually("both notices", || {
        match connected.handler.tools_changed.load(Ordering::Relaxed) {
            2.. => Ok(()),
            fewer => Err(fewer),
        }
    })
    .await;
    let pong = loop {
        let request = server.next().await;
        if request.body["id"] == "s-1" {
            break request;
        }
    };
    assert!(pong.body.get("result").is_some(), "{pong:?}");
    connected.close().await;
}

#[tokio::test]
async fn a_request_on_a_calls_stream_that_nobody_takes_is_refused() {
    let mut server = Server::start(|request: Request, mut reply: Reply| async move {
        if request.rpc() != "tools/call" {
            reply.status(202, "", "").await;
            return Some(reply);
        }
        reply.stream("").await;
        reply
            .event(r#"{"jsonrpc":"2.0","id":7,"method":"roots/list"}"#)
            .await;
        reply
            .event(&format!(
                r#"{{"jsonrpc":"2.0","id":{},"result":{{}}}}"#,
                request.id()
            ))
            .await;
        None
    })
    .await;
    let Link {
        messages,
        calls,
        control,
        ..
    } = link(&endpoint(&server.url()), &options()).await;
    drop(messages);
    let reply = within(calls.call(
        raw("{}"),
        Instant::now() + PATIENCE,
        CancellationToken::new(),
    ))
    .await;
    assert_eq!(reply, result("{}"));
    server.next().await;
    let refusal = server.next().await;
    assert_eq!(
        (
            refusal.body["id"].as_i64(),
            refusal.body["error"]["code"].as_i64()
        ),
        (Some(7), Some(-32601))
    );
    within(control.close(Instant::now() + PATIENCE)).await;
}

#[tokio::test]
async fn a_modern_subscription_may_be_the_first_message() {
    let mut server = Server::start(|_, mut reply: Reply| async move {
        reply.stream("").await;
        reply
            .event(r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#)
            .await;
        reply.hung_up().await;
        None
    })
    .await;
    let mut link = link(&endpoint(&server.url()), &options()).await;
    let listen = r#"{"jsonrpc":"2.0","id":1,"method":"subscriptions/listen","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}},"notifications":{"toolsListChanged":true}}}"#;
    let listen = serde_json::from_str(listen).expect("a message");
    within(link.messages.send(listen)).await.expect("a head");
    let notice = within(link.messages.receive()).await.expect("a notice");
    assert!(
        format!("{notice:?}").contains("ToolListChanged"),
        "{notice:?}"
    );
    let request = server.next().await;
    assert_eq!(request.header("mcp-method"), "subscriptions/listen");
    assert_eq!(request.header("mcp-protocol-version"), "2026-07-28");
    let cancel = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#;
    within(
        link.messages
            .send(serde_json::from_str(cancel).expect("a message")),
    )
    .await
    .expect("taken");
    within(link.control.close(Instant::now() + PATIENCE)).await;
    assert!(
        server.rest().is_empty(),
        "in the modern era hanging up is the cancellation"
    );
}

#[tokio::test]
async fn closing_does_not_wait_for_a_server_that_does_not_answer_the_delete() {
    let server = Server::start(|request: Request, mut reply: Reply| async move {
        match request.rpc() {
            "initialize" => {
                let body = format!(
                    r#"{{"jsonrpc":"2.0","id":{},"result":{INITIALIZED}}}"#,
                    request.id()
                );
                reply
                    .status(
                        200,
                        "content-type: application/json\r\nmcp-session-id: s-1\r\n",
                        &body,
                    )
                    .await;
                Some(reply)
            }
            "notifications/initialized" => {
                reply.status(202, "", "").await;
                Some(reply)
            }
            _ => {
                reply.hung_up().await;
                None
            }
        }
    })
    .await;
    let connected = connect(&server).await;
    let end = within(
        connected
            .control
            .close(Instant::now() + Duration::from_millis(200)),
    )
    .await;
    assert_eq!(end, LinkEnd::Closed);
}

/// A legacy server with a session that treats GET so, and answers calls.
async fn server_with_get<F, R>(get: F) -> Server
where
    F: Fn(Reply) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = Option<Reply>> + Send + 'static,
{
    Server::start(move |request: Request, mut reply: Reply| {
        let get = get.clone();
        async move {
            match (request.method.as_str(), request.rpc()) {
                ("GET", _) => return get(reply).await,
                (_, "initialize") => {
                    let head = "content-type: application/json\r\nmcp-session-id: s-1\r\n";
                    let id = request.id();
                    let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{INITIALIZED}}}"#);
                    reply.status(200, head, &body).await;
                }
                (_, "tools/call") => reply.result(&request, "{}").await,
                _ => reply.status(202, "", "").await,
            }
            Some(reply)
        }
    })
    .await
}

#[tokio::test]
async fn a_server_without_a_stream_of_notices_keeps_its_session() {
    for status in [404, 405, 400, 500] {
        let mut server = server_with_get(move |mut reply: Reply| async move {
            reply.status(status, "", "Cannot GET /mcp").await;
            Some(reply)
        })
        .await;
        let connected = connect(&server).await;
        while server.next().await.method != "GET" {}
        assert_eq!(connected.call().await, result("{}"), "{status}");
        assert_eq!(*connected.ended.borrow(), None, "{status}");
        connected.close().await;
    }
}

#[tokio::test]
async fn a_session_denied_where_it_was_served_before_is_lost() {
    let asked = Arc::new(AtomicUsize::new(0));
    let server = server_with_get(move |mut reply: Reply| {
        let first = asked.fetch_add(1, Ordering::Relaxed) == 0;
        async move {
            if first {
                reply.stream("").await;
                reply.raw(b"retry: 1\n\n").await;
            } else {
                reply.status(404, "", "").await;
            }
            None
        }
    })
    .await;
    let connected = connect(&server).await;
    let mut ended = connected.ended.clone();
    let end = within(ended.wait_for(Option::is_some))
        .await
        .expect("a sender")
        .clone();
    assert_eq!(end, Some(LinkEnd::SessionLost));
    connected.close().await;
}
