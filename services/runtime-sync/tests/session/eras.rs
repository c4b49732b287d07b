//! A server of either era is found out and spoken to in its own way.

use std::time::Duration;

use runtime_sync::{
    domain::{ConnectionState, Era, Reason, Stage},
    session::SessionOptions,
};

use crate::{
    harness::{http, quiet, script},
    peer::{Peer, Say, initialized, legacy, modern},
};

#[tokio::test]
async fn a_modern_server_is_never_asked_to_initialize() {
    let peer = Peer::start(|asked| modern(asked, &["one"])).await;
    let session = http(peer.url(), quiet());
    let status = session.ready().await;
    assert_eq!(status.era, Some(Era::Modern));
    assert_eq!(status.protocol_version.as_deref(), Some("2026-07-28"));
    assert_eq!(
        status.server_info.as_deref(),
        Some(br#"{"name":"peer","version":"1"}"#.as_slice())
    );
    assert_eq!(status.generation, 7);
    assert_eq!(session.tool_names(), ["one"]);
    assert_eq!(peer.count("initialize"), 0);
    let listed = &peer.asked("tools/list")[0];
    assert_eq!(listed.headers["mcp-protocol-version"], "2026-07-28");
    assert!(
        listed
            .params
            .contains(r#""io.modelcontextprotocol/protocolVersion":"2026-07-28""#)
    );
}

#[tokio::test]
async fn a_legacy_server_is_shaken_hands_with_in_the_newest_legacy_revision() {
    let peer = Peer::start(|asked| legacy(asked, &["one", "two"])).await;
    let session = http(peer.url(), quiet());
    let status = session.ready().await;
    assert_eq!(status.era, Some(Era::Legacy));
    assert_eq!(status.protocol_version.as_deref(), Some("2025-11-25"));
    assert_eq!(session.tool_names(), ["one", "two"]);
    let asked = &peer.asked("initialize")[0];
    let params: serde_json::Value = serde_json::from_str(&asked.params).unwrap();
    assert_eq!(params["protocolVersion"], "2025-11-25");
    assert_eq!(params["capabilities"], serde_json::json!({}));
    assert_eq!(params["clientInfo"]["name"], "patchbay");
    assert_eq!(peer.count("notifications/initialized"), 1);
    let listed = &peer.asked("tools/list")[0];
    assert_eq!(listed.headers["mcp-session-id"], "s-1");
    assert!(!listed.params.contains("_meta"), "{}", listed.params);
}

#[tokio::test]
async fn every_way_of_not_knowing_discover_leads_to_initialize() {
    type Answer = fn() -> Say;
    let answers: [(&str, Answer); 9] = [
        ("an empty result", || Say::Result("{}".into())),
        ("method not found", || Say::Error(-32601, "")),
        ("invalid request", || Say::ErrorWith(400, -32600, "")),
        ("no session", || Say::ErrorWith(400, -32000, "")),
        ("bare 400", || Say::Status(400)),
        ("bare 404", || Say::Status(404)),
        ("bare 405", || Say::Status(405)),
        ("500", || Say::Status(500)),
        ("HTML", || {
            Say::Body("text/html", "<html>what?</html>".into())
        }),
    ];
    for (name, answer) in answers {
        let peer = Peer::start(move |asked| match asked.method.as_str() {
            "server/discover" => answer(),
            _ => legacy(asked, &["one"]),
        })
        .await;
        let session = http(peer.url(), quiet());
        let status = session
            .wait(name, |status| {
                status.state != ConnectionState::Pending
                    && status.state != ConnectionState::Connecting
            })
            .await;
        assert_eq!(
            status.state,
            ConnectionState::Ready,
            "{name}: {}",
            status.reason.as_str()
        );
        assert_eq!(status.era, Some(Era::Legacy), "{name}");
    }
}

#[tokio::test]
async fn silence_over_discover_leads_to_initialize_on_a_fresh_link() {
    let peer = Peer::start(|asked| match asked.method.as_str() {
        "server/discover" => Say::Silence,
        _ => legacy(asked, &["one"]),
    })
    .await;
    let options = SessionOptions {
        connect_timeout: Duration::from_secs(4),
        ..quiet()
    };
    let session = http(peer.url(), options);
    assert_eq!(session.ready().await.era, Some(Era::Legacy));
}

#[tokio::test]
async fn a_refused_revision_is_chosen_again_from_what_the_server_names() {
    let twice = Peer::start(|asked| match (asked.method.as_str(), asked.before) {
        ("server/discover", 0) => Say::ErrorWith(400, -32022, r#"{"supported":["2026-07-28"]}"#),
        _ => modern(asked, &["one"]),
    })
    .await;
    assert_eq!(
        http(twice.url(), quiet()).ready().await.era,
        Some(Era::Modern)
    );

    let older = Peer::start(|asked| match asked.method.as_str() {
        "server/discover" => Say::ErrorWith(400, -32022, r#"{"supported":["2025-06-18"]}"#),
        "initialize" => Say::Result(initialized("2025-06-18")),
        _ => legacy(asked, &["one"]),
    })
    .await;
    let status = http(older.url(), quiet()).ready().await;
    assert_eq!(status.protocol_version.as_deref(), Some("2025-06-18"));

    let newer =
        Peer::start(|_| Say::ErrorWith(400, -32022, r#"{"supported":["2031-01-01"]}"#)).await;
    let session = http(newer.url(), quiet());
    let status = session.state(ConnectionState::Misconfigured).await;
    assert_eq!(status.reason, Reason::UnsupportedVersion);
    assert_eq!(status.stage, Some(Stage::Handshake));
    assert_eq!(newer.count("initialize"), 0);
}

#[tokio::test]
async fn a_handshake_in_an_unknown_revision_is_refused() {
    let peer = Peer::start(|asked| match asked.method.as_str() {
        "initialize" => Say::Result(initialized("1999-01-01")),
        _ => legacy(asked, &[]),
    })
    .await;
    let session = http(peer.url(), quiet());
    let status = session.state(ConnectionState::Misconfigured).await;
    assert_eq!(status.reason, Reason::UnsupportedVersion);
}

#[tokio::test]
async fn what_does_not_speak_mcp_is_said_to_not_speak_mcp() {
    for answer in [
        "<html>hello</html>",
        "",
        "{}",
        "[1,2]",
        "{\"jsonrpc\":\"2.0\"}",
    ] {
        let peer = Peer::start(move |_| Say::Body("application/json", answer.into())).await;
        let options = SessionOptions {
            connect_timeout: Duration::from_secs(4),
            ..quiet()
        };
        let session = http(peer.url(), options);
        let status = session.state(ConnectionState::Unreachable).await;
        assert_eq!(
            status.reason,
            Reason::InvalidMcpServer,
            "{answer:?} at {:?}",
            status.stage
        );
    }
}

#[tokio::test]
async fn a_401_is_no_outage_and_no_reason_to_fall_back() {
    let peer = Peer::start(|_| Say::Head(401, "www-authenticate", "Bearer")).await;
    let session = http(peer.url(), quiet());
    let status = session.state(ConnectionState::AuthRequired).await;
    assert_eq!(status.reason, Reason::AuthRequired);
    assert_eq!(status.stage, Some(Stage::Auth));
    assert_eq!(peer.count("initialize"), 0);
}

#[tokio::test]
async fn a_server_that_was_upgraded_is_asked_for_its_era_again() {
    let peer = Peer::start(|asked| legacy(asked, &["old"])).await;
    let session = http(peer.url(), quiet());
    session.ready().await;
    peer.becomes(|asked| match asked.method.as_str() {
        "initialize" => Say::ErrorWith(400, -32022, r#"{"supported":["2026-07-28"]}"#),
        "server/discover" | "tools/list" => modern(asked, &["new"]),
        // The session of before is unknown.
        _ => Say::Status(404),
    });
    // Whether this call is answered is not the question; it finds out that the session is gone.
    drop(session.call("old", "{}").await);
    let status = session
        .wait("modern", |status| {
            status.era == Some(Era::Modern) && status.state == ConnectionState::Ready
        })
        .await;
    assert_eq!(status.tools[0].name, "new");
}

/// Answers nothing before `initialize`, and that late.
const SLOW: &str = r#"
    sleep 1.2
    while IFS= read -r line; do
        id=${line#*\"id\":}; id=${id%%[,\}]*}
        case $line in
            *'"initialize"'*) echo '{"jsonrpc":"2.0","id":'"$id"',"result":{"protocolVersion":"2025-11-25","capabilities":{},"serverInfo":{"name":"slow","version":"1"}}}' ;;
            *'"tools/list"'*) echo '{"jsonrpc":"2.0","id":'"$id"',"result":{"tools":[]}}' ;;
        esac
    done
"#;

#[tokio::test]
async fn a_slow_silent_legacy_server_is_reached_because_the_second_attempt_does_not_ask() {
    // Half of this is too short for the server, the whole is enough.
    let options = SessionOptions {
        connect_timeout: Duration::from_secs(2),
        ..quiet()
    };
    let session = script(SLOW, options);
    let status = session.ready().await;
    assert_eq!(status.era, Some(Era::Legacy));
    session.handle.stop().await;
}
