//! Lists of tools: whole, exact, bounded, and never worse than the last good one.

use std::{sync::Arc, time::Duration};

use runtime_sync::{
    domain::{ConnectionState, LeftOutReason, Reason, Stage},
    session::{RequestError, SessionOptions, SyncOptions},
};
use tokio::{sync::Notify, time::Instant};

use crate::{
    harness::{LONG, eventually, http, quiet},
    peer::{Peer, Say, modern, tool, tools},
};

fn limited(change: impl FnOnce(&mut SyncOptions)) -> SessionOptions {
    let mut options = quiet();
    change(&mut options.sync);
    options
}

#[tokio::test]
async fn pages_are_joined_in_order() {
    let peer = Peer::start(|asked| match (asked.method.as_str(), asked.before) {
        ("tools/list", 0) => Say::Result(format!(
            r#"{{"tools":[{}],"nextCursor":"a\"1"}}"#,
            tool("one")
        )),
        ("tools/list", 1) => {
            assert!(
                asked.params.starts_with(r#"{"cursor":"a\"1""#),
                "{}",
                asked.params
            );
            Say::Result(format!(r#"{{"tools":[{}],"nextCursor":"2"}}"#, tool("two")))
        }
        ("tools/list", _) => Say::Result(format!(
            r#"{{"tools":[{}],"nextCursor":""}}"#,
            tool("three")
        )),
        _ => modern(asked, &[]),
    })
    .await;
    let session = http(peer.url(), quiet());
    session.ready().await;
    assert_eq!(session.tool_names(), ["one", "two", "three"]);
}

#[tokio::test]
async fn definitions_are_kept_byte_for_byte() {
    const DEFINITION: &str = r#"{"zeta":1.0,  "name":"t","execution":{"taskSupport":"optional"},"inputSchema":{"type":"object","maximum":12345678901234567890,"required":[]},"unknown":null}"#;
    let peer = Peer::start(|asked| match asked.method.as_str() {
        "tools/list" => Say::Result(format!(r#"{{"tools":[ {DEFINITION} ]}}"#)),
        _ => modern(asked, &[]),
    })
    .await;
    let session = http(peer.url(), quiet());
    let status = session.ready().await;
    assert_eq!(status.tools[0].raw, DEFINITION.as_bytes());
}

#[tokio::test]
async fn a_cursor_that_leads_back_to_itself_fails_the_list_and_ends() {
    let peer = Peer::start(|asked| match asked.method.as_str() {
        "tools/list" => Say::Result(format!(
            r#"{{"tools":[{}],"nextCursor":"again"}}"#,
            tool("one")
        )),
        _ => modern(asked, &[]),
    })
    .await;
    let options = SessionOptions {
        backoff_max: LONG,
        quick_retry: LONG,
        ..quiet()
    };
    let session = http(peer.url(), options);
    let status = session.state(ConnectionState::Unreachable).await;
    assert_eq!(status.reason, Reason::ListFailed);
    assert_eq!(status.stage, Some(Stage::List));
    assert_eq!(peer.count("tools/list"), 2);
}

#[tokio::test]
async fn a_list_without_end_is_cut_and_said_to_be() {
    let peer = Peer::start(|asked| match asked.method.as_str() {
        "tools/list" => {
            let (name, next) = (format!("t{}", asked.before), asked.before + 1);
            Say::Result(format!(
                r#"{{"tools":[{}],"nextCursor":"{next}"}}"#,
                tool(&name)
            ))
        }
        _ => modern(asked, &[]),
    })
    .await;
    let pages = http(peer.url(), limited(|sync| sync.max_pages = 5));
    let status = pages.ready().await;
    assert!(status.truncated);
    assert_eq!(status.tools.len(), 5);

    let items = http(peer.url(), limited(|sync| sync.max_tools = 3));
    let status = items.ready().await;
    assert!(status.truncated);
    assert_eq!(status.tools.len(), 3);

    let bytes = http(peer.url(), limited(|sync| sync.max_bytes = 200));
    let status = bytes.ready().await;
    assert!(status.truncated);
    assert!(status.tools.len() < 5);
}

#[tokio::test]
async fn a_wrong_tool_costs_only_itself_and_is_reported() {
    let peer = Peer::start(|asked| match asked.method.as_str() {
        "tools/list" => {
            let filler = "d".repeat(300 * 1024);
            let big = format!(r#"{{"name":"big","description":"{filler}","inputSchema":{{}}}}"#);
            let double = r#"{"name":"double","inputSchema":{"a":1,"a":2}}"#;
            let header = r#"{"name":"header","inputSchema":{"properties":{"a":{"type":"object","x-mcp-header":"A"}}}}"#;
            Say::Result(format!(
                r#"{{"tools":[7,null,{{"name":"shapeless"}},{big},{},{},{double},{header},{}]}}"#,
                tool("good"),
                tool("good"),
                tool("better"),
            ))
        }
        _ => modern(asked, &[]),
    })
    .await;
    let session = http(peer.url(), quiet());
    let status = session.ready().await;
    assert_eq!(session.tool_names(), ["good", "better"]);
    let left_out: Vec<_> = status
        .left_out
        .iter()
        .map(|left_out| (left_out.name.as_deref(), left_out.reason))
        .collect();
    assert_eq!(
        left_out,
        [
            (None, LeftOutReason::Malformed),
            (None, LeftOutReason::Malformed),
            (Some("shapeless"), LeftOutReason::Malformed),
            (Some("big"), LeftOutReason::TooLarge),
            (Some("good"), LeftOutReason::DuplicateName),
            (Some("double"), LeftOutReason::NotCanonical),
            (Some("header"), LeftOutReason::InvalidHeaders),
        ]
    );
}

#[tokio::test]
async fn an_answer_of_100_megabytes_fails_the_list_within_the_limit_of_the_wire() {
    let peer = Peer::start(|asked| match asked.method.as_str() {
        "tools/list" => Say::Result(format!(r#"{{"tools":[],"x":"{}"}}"#, "x".repeat(100 << 20))),
        _ => modern(asked, &[]),
    })
    .await;
    let options = SessionOptions {
        backoff_max: LONG,
        quick_retry: LONG,
        ..quiet()
    };
    let session = http(peer.url(), options);
    let status = session.state(ConnectionState::Unreachable).await;
    assert_eq!(status.reason, Reason::ListFailed);
}

#[tokio::test]
async fn a_server_without_tools_is_ready_with_none() {
    let peer = Peer::start(|asked| match asked.method.as_str() {
        "tools/list" => Say::Error(-32601, ""),
        _ => modern(asked, &[]),
    })
    .await;
    let session = http(peer.url(), quiet());
    assert!(session.ready().await.tools.is_empty());
}

#[tokio::test]
async fn a_sync_on_demand_sees_what_changed() {
    let peer = Peer::start(|asked| modern(asked, &["old"])).await;
    let session = http(peer.url(), quiet());
    let before = session.ready().await;
    peer.becomes(|asked| modern(asked, &["new"]));
    let after = session.sync().await;
    assert_eq!(after.tools[0].name, "new");
    assert!(after.synced >= before.synced && after.sequence > before.sequence);
    assert_eq!(
        session.call("old", "{}").await.unwrap_err().reason.as_str(),
        "TOOL_NOT_FOUND"
    );
    session.call("new", "{}").await.unwrap();
}

#[tokio::test]
async fn a_failed_sync_keeps_the_last_good_list() {
    let peer = Peer::start(|asked| modern(asked, &["good"])).await;
    let session = http(peer.url(), quiet());
    session.ready().await;
    for wrong in ["{}", r#"{"tools":null}"#, r#"{"tools":[],"nextCursor":7}"#] {
        peer.becomes(move |asked| match asked.method.as_str() {
            "tools/list" => Say::Result(wrong.into()),
            _ => modern(asked, &[]),
        });
        let failed = session.handle.sync(Instant::now() + LONG).await;
        assert!(
            matches!(failed, Err(RequestError::Failed(Reason::ListFailed))),
            "{failed:?}"
        );
        let status = session.status();
        assert_eq!(status.sync_failure, Some(Reason::ListFailed));
        assert_eq!(session.tool_names(), ["good"]);
        session.call("good", "{}").await.unwrap();
    }
    peer.becomes(|asked| modern(asked, &["better"]));
    assert_eq!(session.sync().await.sync_failure, None);
}

#[tokio::test]
async fn the_timer_finds_what_nobody_announced() {
    let peer = Peer::start(|asked| modern(asked, &["old"])).await;
    let session = http(
        peer.url(),
        limited(|sync| sync.interval = Duration::from_millis(50)),
    );
    session.ready().await;
    peer.becomes(|asked| modern(asked, &["new"]));
    session
        .wait("the new list", |status| status.tools[0].name == "new")
        .await;
}

#[tokio::test]
async fn a_sync_asked_for_while_another_runs_is_fetched_anew() {
    let gate = Arc::new(Notify::new());
    let held = Arc::clone(&gate);
    let peer = Peer::start(move |asked| match (asked.method.as_str(), asked.before) {
        ("tools/list", 0) => Say::Result(tools(&["first"])),
        ("tools/list", 1) => Say::Later(Arc::clone(&held), tools(&["second"])),
        ("tools/list", _) => Say::Result(tools(&["third"])),
        _ => modern(asked, &[]),
    })
    .await;
    let session = http(peer.url(), quiet());
    session.ready().await;
    let deadline = Instant::now() + LONG;
    let (running, waiting) = (session.handle.clone(), session.handle.clone());
    let both = async {
        tokio::join!(running.sync(deadline), async {
            eventually("the first sync runs", || peer.count("tools/list") == 2).await;
            let asked = waiting.sync(deadline);
            tokio::pin!(asked);
            assert!(futures_util::poll!(&mut asked).is_pending());
            gate.notify_one();
            asked.await
        })
    };
    let (_, later) = both.await;
    assert_eq!(later.unwrap().tools[0].name, "third");
}

#[tokio::test]
async fn a_sync_that_takes_longer_than_its_asker_waits_does_not_hold_anything_up() {
    let peer = Peer::start(|asked| match (asked.method.as_str(), asked.before) {
        ("tools/list", 1) => Say::Silence,
        _ => modern(asked, &["one"]),
    })
    .await;
    let session = http(peer.url(), quiet());
    session.ready().await;
    let late = session
        .handle
        .sync(Instant::now() + Duration::from_millis(50))
        .await;
    assert!(
        matches!(late, Err(RequestError::DeadlineExceeded)),
        "{late:?}"
    );
    session.call("one", "{}").await.unwrap();
}

const ACKNOWLEDGED: &str = r#"{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{"notifications":{"toolsListChanged":true},"_meta":{"io.modelcontextprotocol/subscriptionId":ID}}}"#;
const CHANGED: &str = r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed","params":{"_meta":{"io.modelcontextprotocol/subscriptionId":ID}}}"#;
const ANNOUNCING: &str = r#"{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{"tools":{"listChanged":true}}}"#;

#[tokio::test]
async fn a_modern_server_is_listened_to_and_listened_to_again_after_a_break() {
    let gate = Arc::new(Notify::new());
    let held = Arc::clone(&gate);
    let peer = Peer::start(move |asked| match asked.method.as_str() {
        "server/discover" => Say::Result(ANNOUNCING.into()),
        "subscriptions/listen" => {
            Say::Stream(Arc::clone(&held), vec![ACKNOWLEDGED.into(), CHANGED.into()])
        }
        "tools/list" => Say::Result(tools(&[["a", "b", "c", "d"][asked.before.min(3)]])),
        _ => modern(asked, &[]),
    })
    .await;
    let session = http(peer.url(), quiet());
    session.ready().await;
    for (round, expected) in [(1, "b"), (2, "c")] {
        let listening = || peer.count("subscriptions/listen") == round;
        eventually("it listens", listening).await;
        let listed = || peer.count("tools/list") > round;
        // Acknowledged, changed, and at the second round the end of the first stream lies before them.
        let mut ticks = tokio::time::interval(Duration::from_millis(5));
        while !listed() {
            ticks.tick().await;
            gate.notify_one();
        }
        session
            .wait(expected, |status| status.tools[0].name.as_str() >= expected)
            .await;
    }
    let params = &peer.asked("subscriptions/listen")[0].params;
    assert!(params.contains(r#""toolsListChanged":true"#), "{params}");
}

#[tokio::test]
async fn a_modern_server_without_subscriptions_is_asked_once() {
    let peer = Peer::start(move |asked| match asked.method.as_str() {
        "server/discover" => Say::Result(ANNOUNCING.into()),
        _ => modern(asked, &["one"]),
    })
    .await;
    let session = http(peer.url(), quiet());
    session.ready().await;
    eventually("it was asked", || peer.count("subscriptions/listen") == 1).await;
    for _ in 0..20 {
        session.sync().await;
    }
    assert_eq!(peer.count("subscriptions/listen"), 1);
}

#[tokio::test]
async fn a_server_that_always_has_news_is_asked_a_few_times_and_then_seldom() {
    const ANNOUNCED: usize = 60;
    let gate = Arc::new(Notify::new());
    let held = Arc::clone(&gate);
    let peer = Peer::start(move |asked| match (asked.method.as_str(), asked.before) {
        ("server/discover", _) => Say::Result(ANNOUNCING.into()),
        ("subscriptions/listen", 0) => {
            let mut messages = vec![ACKNOWLEDGED.to_owned()];
            messages.extend(std::iter::repeat_n(CHANGED.to_owned(), ANNOUNCED));
            Say::Stream(Arc::clone(&held), messages)
        }
        ("tools/list", before) => Say::Result(tools(&[&format!("t{before}")])),
        _ => modern(asked, &[]),
    })
    .await;
    let session = http(peer.url(), quiet());
    session.ready().await;
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    while peer.count("subscriptions/listen") < 2 {
        ticks.tick().await;
        gate.notify_one();
    }
    let fetched = peer.count("tools/list");
    assert!((2..=11).contains(&fetched), "{fetched}");
    session.sync().await;
    assert!(peer.count("tools/list") > fetched, "others may always ask");
}
