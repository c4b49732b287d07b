//! What the status of an answer proves about the call.

use std::time::Duration;

use bytes::Bytes;
use runtime_sync::transport::{RawReply, Sent, WireError, WireErrorKind};

use crate::{
    http_server::{Reply, Server},
    support::{call, close, endpoint, link, modern, options, raw},
};

const JSON: &str = "content-type: application/json\r\n";

/// What a call comes to when it is answered so.
async fn on(status: u16, headers: &'static str, body: &'static str) -> Result<RawReply, WireError> {
    let server = Server::start(move |_, mut reply: Reply| async move {
        reply.status(status, headers, body).await;
        Some(reply)
    })
    .await;
    let link = link(&endpoint(&server.url()), &options()).await;
    let reply = call(&link, raw("{}")).await;
    close(link).await;
    reply
}

const fn answered(kind: WireErrorKind) -> Result<RawReply, WireError> {
    Err(WireError {
        kind,
        sent: Sent::Answered,
    })
}

const fn not_sent(kind: WireErrorKind) -> Result<RawReply, WireError> {
    Err(WireError {
        kind,
        sent: Sent::NotSent,
    })
}

const fn unknown(kind: WireErrorKind) -> Result<RawReply, WireError> {
    Err(WireError {
        kind,
        sent: Sent::SentUnknown,
    })
}

#[tokio::test]
async fn a_401_proves_that_the_call_did_not_run_with_or_without_a_challenge() {
    let challenge = Some("Bearer error=\"x\"".into());
    let challenged = on(401, "www-authenticate: Bearer error=\"x\"\r\n", "").await;
    assert_eq!(
        challenged,
        not_sent(WireErrorKind::AuthRequired { challenge })
    );
    let bare = on(401, "", "secret text").await;
    assert_eq!(
        bare,
        not_sent(WireErrorKind::AuthRequired { challenge: None })
    );
}

#[tokio::test]
async fn a_403_proves_it_only_when_a_scope_is_missing() {
    let challenge = Some("Bearer error=\"insufficient_scope\"".into());
    let scope = on(
        403,
        "www-authenticate: Bearer error=\"insufficient_scope\"\r\n",
        "",
    )
    .await;
    assert_eq!(
        scope,
        not_sent(WireErrorKind::Forbidden {
            challenge,
            insufficient_scope: true
        })
    );
    let bare = on(403, "", "").await;
    assert_eq!(
        bare,
        answered(WireErrorKind::Forbidden {
            challenge: None,
            insufficient_scope: false
        })
    );
}

#[tokio::test]
async fn a_rate_limit_says_how_long_to_wait() {
    let retry_after = Some(Duration::from_secs(7));
    assert_eq!(
        on(429, "retry-after: 7\r\n", "").await,
        answered(WireErrorKind::RateLimited { retry_after })
    );
    let unclear = on(429, "retry-after: soon\r\n", "").await;
    assert_eq!(
        unclear,
        answered(WireErrorKind::RateLimited { retry_after: None })
    );
}

#[tokio::test]
async fn a_refusal_is_an_answer_and_a_failing_gateway_knows_nothing() {
    for status in [400, 404, 405, 413] {
        assert_eq!(
            on(status, "", "").await,
            answered(WireErrorKind::HttpStatus(status)),
            "{status}"
        );
        assert_eq!(
            on(status, JSON, "{}").await,
            answered(WireErrorKind::HttpStatus(status)),
            "{status}"
        );
    }
    for status in [408, 500, 502, 504] {
        let html = on(status, "content-type: text/html\r\n", "<html>").await;
        assert_eq!(html, unknown(WireErrorKind::HttpStatus(status)), "{status}");
        assert_eq!(
            on(status, JSON, "not json").await,
            unknown(WireErrorKind::HttpStatus(status)),
            "{status}"
        );
    }
}

#[tokio::test]
async fn a_json_rpc_error_says_more_than_its_status() {
    let body = r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"m"}}"#;
    for status in [200, 400, 404, 500, 503] {
        let error = RawReply::Error {
            code: -32000,
            message: "m".into(),
            data: None,
        };
        assert_eq!(on(status, JSON, body).await, Ok(error), "{status}");
    }
}

#[tokio::test]
async fn errors_of_the_modern_era_keep_their_data() {
    let server = Server::start(|_, mut reply: Reply| async move {
        let body = r#"{"jsonrpc":"2.0","id":"pb-1","error":{"code":-32022,"message":"m","data":{"supported":["x"]}}}"#;
        reply.status(400, JSON, body).await;
        Some(reply)
    })
    .await;
    let link = link(&endpoint(&server.url()), &options()).await;
    let data = Some(Bytes::from_static(br#"{"supported":["x"]}"#));
    let expected = RawReply::Error {
        code: -32022,
        message: "m".into(),
        data,
    };
    assert_eq!(call(&link, modern("{}")).await, Ok(expected));
    close(link).await;
}

#[tokio::test]
async fn what_is_no_mcp_is_an_invalid_response() {
    for (status, headers, body) in [
        (200, "content-type: text/html\r\n", "<html>"),
        (200, "", "{}"),
        (200, JSON, "<html>"),
        (200, JSON, "{}"),
        (200, JSON, r#"{"jsonrpc":"2.0","id":"other","result":{}}"#),
    ] {
        let reply = on(status, headers, body).await;
        assert_eq!(
            reply,
            answered(WireErrorKind::InvalidResponse),
            "{status} {headers} {body}"
        );
    }
}

#[tokio::test]
async fn a_request_that_is_only_taken_proves_nothing() {
    for status in [202, 204] {
        assert_eq!(
            on(status, "", "").await,
            unknown(WireErrorKind::InvalidResponse)
        );
    }
}
