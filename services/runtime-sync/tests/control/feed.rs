//! Promises about following the registry's feed.

use std::time::Duration;

use contracts::{registry::v1 as registry_v1, runtime::v1 as pb};
use tonic::Code;

use crate::world::{NAME, World, assert_error, call, eventually, http_connector};

#[tokio::test]
async fn a_connector_is_connected_reported_and_its_tools_are_uploaded() {
    let world = World::start().await;
    let revision = world.connect_with_secret(NAME);
    let request = pb::CallToolRequest {
        min_revision: revision,
        ..call("echo", r#"{"a":1}"#)
    };
    let answer = world.tools().call_tool(request).await.unwrap().into_inner();
    assert!(answer.result_json.contains(r#"{\"a\":1}"#), "{answer:?}");
    assert!(
        !answer.is_error && answer.definition_hash.len() == 64,
        "{answer:?}"
    );
    assert_eq!(world.mcp.seen().authorization, ["Bearer s3cr3t"]);
    let uid = world.uid(NAME);
    world
        .reported("READY with uploaded tools", |registry| {
            let Some(observed) = registry.observed.get(&uid) else {
                return false;
            };
            let status = observed.status.as_ref().unwrap();
            let tools = observed.tools.as_ref().map_or(0, |tools| tools.tools.len());
            status.state() == registry_v1::ConnectorState::Ready
                && status.server_info == "scripted 1.2.3"
                && tools == 4
                && registry.definitions.len() == 4
        })
        .await;
    let definition = world.registry.state().definitions[&answer.definition_hash].clone();
    assert!(definition.contains(r#""name":"echo""#), "{definition}");
    let session = world.ready(NAME).await;
    assert_eq!((session.tool_count, session.lease_epoch), (4, 1));
    assert_eq!(session.endpoint, world.mcp.origin);
    world.app.stop().await;
    assert_eq!(world.vault.state().released.len(), 1);
}

#[tokio::test]
async fn a_disabled_connector_is_refused_at_once_and_its_secrets_are_given_back() {
    let world = World::start().await;
    world.connect_with_secret(NAME);
    world.ready(NAME).await;
    let revision = world
        .registry
        .change(NAME, |connector| connector.enabled = Some(false));
    let request = pb::CallToolRequest {
        min_revision: revision,
        ..call("echo", "{}")
    };
    let refused = world
        .tools()
        .call_tool(request)
        .await
        .map(tonic::Response::into_inner);
    assert_error(
        refused,
        Code::FailedPrecondition,
        "CONNECTOR_DISABLED",
        "NOT_SENT",
    );
    world.state(NAME, pb::SessionState::Disabled).await;
    eventually("the lease is given back", || {
        world.vault.state().released == ["lease-1"]
    })
    .await;
    let uid = world.uid(NAME);
    world
        .reported("DISABLED", |registry| {
            registry.observed.get(&uid).is_some_and(|observed| {
                let status = observed.status.as_ref().unwrap();
                observed.generation == revision
                    && status.state() == registry_v1::ConnectorState::Disabled
            })
        })
        .await;
    world
        .registry
        .change(NAME, |connector| connector.enabled = Some(true));
    world.ready(NAME).await;
    world.app.stop().await;
}

#[tokio::test]
async fn a_changed_spec_is_connected_anew_and_the_old_server_is_not_called_again() {
    let world = World::start().await;
    let other = crate::mcp::Mcp::start().await;
    world.connect(NAME);
    world.ready(NAME).await;
    world.call("echo", "{}").await.unwrap();
    let uid = world.uid(NAME);
    let mut changed = http_connector(NAME, &other.url);
    changed.uid = uid;
    let revision = world.registry.put(changed);
    let request = pb::CallToolRequest {
        min_revision: revision,
        ..call("echo", "{}")
    };
    world.tools().call_tool(request).await.unwrap();
    assert_eq!(world.mcp.seen().calls.len(), 1);
    assert_eq!(other.seen().calls.len(), 1);
    assert_eq!(world.session(NAME).await.unwrap().generation, revision);
    world.app.stop().await;
}

#[tokio::test]
async fn a_deleted_connector_is_gone_and_its_name_may_live_again() {
    let world = World::start().await;
    world.connect(NAME);
    let first = world.ready(NAME).await;
    world.registry.delete(NAME);
    world.connect(NAME);
    let second = world
        .wait(NAME, "the next life", |session| {
            session.connector_uid != first.connector_uid
                && session.state() == pb::SessionState::Ready
        })
        .await;
    world.registry.delete(NAME);
    eventually_missing(&world).await;
    assert_ne!(first.connector_uid, second.connector_uid);
    world.app.stop().await;
}

async fn eventually_missing(world: &World) {
    let deadline = tokio::time::Instant::now() + crate::world::LONG;
    let mut ticks = tokio::time::interval(Duration::from_millis(5));
    loop {
        let session = world.session(NAME).await;
        match &session {
            Err(status) if status.code() == Code::NotFound => return,
            _ => assert!(tokio::time::Instant::now() < deadline, "{session:?}"),
        }
        ticks.tick().await;
    }
}

#[tokio::test]
async fn a_broken_feed_is_followed_from_where_it_was_left() {
    let world = World::start().await;
    world.connect(NAME);
    let before = world.ready(NAME).await;
    world.registry.state().closed = true;
    world.registry.break_streams();
    let other = "users/ada/connectors/other";
    world.connect(other);
    world.registry.state().closed = false;
    world.ready(other).await;
    let opened = world.registry.state().opened.clone();
    assert!(
        opened[1..].iter().all(|token| token == "feed:1"),
        "{opened:?}"
    );
    // The first session never noticed.
    let after = world.ready(NAME).await;
    assert_eq!(after.since, before.since);
    world.app.stop().await;
}

#[tokio::test]
async fn a_token_that_is_too_old_starts_over_and_keeps_what_runs() {
    let world = World::start().await;
    world.connect(NAME);
    let before = world.ready(NAME).await;
    let gone = "users/ada/connectors/gone";
    world.connect(gone);
    world.ready(gone).await;
    world.registry.state().closed = true;
    world.registry.break_streams();
    world.registry.delete(gone);
    world.registry.state().oldest = i64::MAX;
    world.registry.state().closed = false;
    // Only a snapshot can tell that it is gone: the deletion is behind the oldest position.
    eventually("a snapshot was asked for", || {
        world
            .registry
            .state()
            .opened
            .last()
            .is_some_and(String::is_empty)
    })
    .await;
    let deadline = tokio::time::Instant::now() + crate::world::LONG;
    let mut ticks = tokio::time::interval(Duration::from_millis(5));
    while world.session(gone).await.is_ok() {
        assert!(tokio::time::Instant::now() < deadline, "never gone");
        ticks.tick().await;
    }
    assert_eq!(world.ready(NAME).await.since, before.since);
    world.app.stop().await;
}

#[tokio::test]
async fn a_lost_event_is_made_good_by_the_next_snapshot() {
    let world = World::with(|config| {
        config.tuning.feed_refresh = Duration::from_millis(300);
    })
    .await;
    world.connect(NAME);
    world.ready(NAME).await;
    let other = "users/ada/connectors/other";
    world
        .registry
        .put_unheard(http_connector(other, &world.mcp.url));
    world.ready(other).await;
    world.app.stop().await;
}

#[tokio::test]
async fn a_silent_feed_is_opened_anew() {
    let world = World::with(|config| {
        config.tuning.feed_idle = Duration::from_millis(200);
    })
    .await;
    world.connect(NAME);
    world.ready(NAME).await;
    eventually("the feed was opened again", || {
        world.registry.state().opened.len() >= 3
    })
    .await;
    assert_eq!(world.ready(NAME).await.consecutive_failures, 0);
    world.app.stop().await;
}

#[tokio::test]
async fn without_news_of_the_registry_calls_are_refused_and_with_news_taken_again() {
    let world = World::with(|config| {
        config.tuning.stale_after = Duration::from_millis(700);
    })
    .await;
    world.connect(NAME);
    world.registry.progress();
    world.ready(NAME).await;
    world.registry.state().closed = true;
    world.registry.break_streams();
    let deadline = tokio::time::Instant::now() + crate::world::LONG;
    let refused = loop {
        match world.call("echo", "{}").await {
            Ok(_) => assert!(tokio::time::Instant::now() < deadline, "never stale"),
            refused => break refused,
        }
    };
    assert_error(refused, Code::Unavailable, "REGISTRY_STALE", "NOT_SENT");
    // What is known may still be looked at.
    world.ready(NAME).await;
    world.registry.state().closed = false;
    world.registry.progress();
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    while world.call("echo", "{}").await.is_err() {
        assert!(tokio::time::Instant::now() < deadline, "stale for ever");
        ticks.tick().await;
    }
    world.app.stop().await;
}

#[tokio::test]
async fn a_feed_that_keeps_breaking_is_read_anew_all_the_same() {
    let world = World::with(|config| {
        config.tuning.feed_refresh = Duration::from_millis(400);
    })
    .await;
    world.connect(NAME);
    world.ready(NAME).await;
    let unheard = "users/ada/connectors/unheard";
    world
        .registry
        .put_unheard(http_connector(unheard, &world.mcp.url));
    let deadline = tokio::time::Instant::now() + crate::world::LONG;
    let mut ticks = tokio::time::interval(Duration::from_millis(30));
    while world.session(unheard).await.is_err() {
        assert!(tokio::time::Instant::now() < deadline, "never read anew");
        // No stream lives for as long as the refresh takes.
        world.registry.break_streams();
        ticks.tick().await;
    }
    world.app.stop().await;
}

#[tokio::test]
async fn a_spec_of_a_newer_release_is_misconfigured_and_hurts_nobody_else() {
    let world = World::start().await;
    let mut unknown = http_connector(NAME, &world.mcp.url);
    unknown.transport = None;
    world.registry.put(unknown);
    let other = "users/ada/connectors/other";
    world.connect(other);
    world.ready(other).await;
    let session = world.state(NAME, pb::SessionState::Misconfigured).await;
    assert_eq!(session.reason, "SPEC_TOO_NEW");
    let refused = world.call("echo", "{}").await;
    assert_error(
        refused,
        Code::FailedPrecondition,
        "CONNECTOR_MISCONFIGURED",
        "NOT_SENT",
    );
    let uid = world.uid(NAME);
    world
        .reported("SPEC_TOO_NEW", |registry| {
            registry
                .observed
                .get(&uid)
                .is_some_and(|observed| observed.status.as_ref().unwrap().reason == "SPEC_TOO_NEW")
        })
        .await;
    world.app.stop().await;
}
