//! Promises about calls.

use std::time::Duration;

use contracts::runtime::v1 as pb;
use rpc::error::ErrorView;
use tokio::task::JoinSet;
use tonic::{Code, Request, Response};
use uuid::Uuid;

use crate::world::{NAME, World, assert_error, call, eventually, http_connector, said};

async fn ready() -> World {
    let world = World::start().await;
    world.connect(NAME);
    world.ready(NAME).await;
    world
}

fn with_id(id: Uuid, tool: &str, arguments: &str) -> pb::CallToolRequest {
    pb::CallToolRequest {
        invocation_id: id.to_string(),
        ..call(tool, arguments)
    }
}

#[tokio::test]
async fn a_repeat_gets_the_result_and_sends_nothing() {
    let world = ready().await;
    let id = Uuid::now_v7();
    let mut tools = world.tools();
    let first = tools
        .call_tool(with_id(id, "echo", r#"{"n":1}"#))
        .await
        .unwrap();
    let again = tools
        .call_tool(with_id(id, "echo", r#"{"n":1}"#))
        .await
        .unwrap();
    assert_eq!(first.into_inner(), again.into_inner());
    assert_eq!(world.mcp.seen().calls.len(), 1);
    let other = tools.call_tool(with_id(id, "echo", r#"{"n":2}"#)).await;
    let other = other.map(Response::into_inner);
    assert_error(
        other,
        Code::AlreadyExists,
        "INVOCATION_ID_REUSED",
        "NOT_SENT",
    );
    world.app.stop().await;
}

#[tokio::test]
async fn a_repeat_of_a_running_call_waits_for_it() {
    let world = ready().await;
    let id = Uuid::now_v7();
    let (mut one, mut two) = (world.tools(), world.tools());
    let mut calls = JoinSet::new();
    calls.spawn(async move { one.call_tool(with_id(id, "hang", "{}")).await });
    eventually("the call runs", || world.mcp.seen().hanging == 1).await;
    calls.spawn(async move { two.call_tool(with_id(id, "hang", "{}")).await });
    world.mcp.release(1);
    for answer in calls.join_all().await {
        assert!(
            answer
                .unwrap()
                .into_inner()
                .result_json
                .contains("released")
        );
    }
    assert_eq!(world.mcp.seen().calls.len(), 1);
    world.app.stop().await;
}

#[tokio::test]
async fn what_was_not_sent_may_be_sent_under_the_same_id() {
    let world = World::start().await;
    let mut disabled = http_connector(NAME, &world.mcp.url);
    disabled.enabled = Some(false);
    let id = Uuid::now_v7();
    let request = |min_revision| pb::CallToolRequest {
        min_revision,
        ..with_id(id, "echo", "{}")
    };
    let off = world.registry.put(disabled);
    let refused = world
        .tools()
        .call_tool(request(off))
        .await
        .map(Response::into_inner);
    assert_error(
        refused,
        Code::FailedPrecondition,
        "CONNECTOR_DISABLED",
        "NOT_SENT",
    );
    let on = world
        .registry
        .change(NAME, |connector| connector.enabled = Some(true));
    world.tools().call_tool(request(on)).await.unwrap();
    world.app.stop().await;
}

#[tokio::test]
async fn cancelling_the_call_cancels_the_tool_and_its_outcome_stays_unknown() {
    let world = ready().await;
    let id = Uuid::now_v7();
    let mut tools = world.tools();
    let mut calls = JoinSet::new();
    calls.spawn(async move { tools.call_tool(with_id(id, "hang", "{}")).await });
    eventually("the call runs", || world.mcp.seen().hanging == 1).await;
    calls.shutdown().await;
    eventually("the tool was cancelled", || world.mcp.seen().cancelled == 1).await;
    let repeat = world.tools().call_tool(with_id(id, "hang", "{}")).await;
    let repeat = repeat.map(Response::into_inner);
    assert_error(repeat, Code::Aborted, "OUTCOME_UNKNOWN", "SENT_UNKNOWN");
    assert_eq!(world.mcp.seen().calls.len(), 1);
    world.app.stop().await;
}

#[tokio::test]
async fn cancelling_the_first_request_leaves_the_call_to_its_repeat() {
    let world = ready().await;
    let id = Uuid::now_v7();
    let (mut one, mut two) = (world.tools(), world.tools());
    let (mut first, mut repeat) = (JoinSet::new(), JoinSet::new());
    first.spawn(async move { one.call_tool(with_id(id, "hang", "{}")).await });
    eventually("the call runs", || world.mcp.seen().hanging == 1).await;
    // Its deadline is how we know that it has come before the first one goes.
    let mut short = Request::new(with_id(id, "hang", "{}"));
    short.set_timeout(Duration::from_millis(1_500));
    repeat.spawn(async move { two.call_tool(with_id(id, "hang", "{}")).await });
    let late = world.tools().call_tool(short).await.unwrap_err();
    assert_eq!(said(&late).1, "OUTCOME_UNKNOWN");
    first.shutdown().await;
    let late = {
        let mut short = Request::new(with_id(id, "hang", "{}"));
        short.set_timeout(Duration::from_millis(1_500));
        world.tools().call_tool(short).await.unwrap_err()
    };
    assert_eq!(said(&late).2, "SENT_UNKNOWN");
    assert_eq!(world.mcp.seen().cancelled, 0);
    world.mcp.release(1);
    let answer = repeat.join_next().await.unwrap().unwrap().unwrap();
    assert!(answer.into_inner().result_json.contains("released"));
    assert_eq!(world.mcp.seen().calls.len(), 1);
    world.app.stop().await;
}

#[tokio::test]
async fn a_deadline_that_passes_after_sending_says_that_the_outcome_is_unknown() {
    let world = ready().await;
    let id = Uuid::now_v7();
    let mut request = Request::new(with_id(id, "hang", "{}"));
    request.set_timeout(Duration::from_millis(1_500));
    let status = world.tools().call_tool(request).await.unwrap_err();
    let view = ErrorView::of(&status).unwrap();
    assert_eq!(
        (status.code(), view.reason.as_str()),
        (Code::Aborted, "OUTCOME_UNKNOWN")
    );
    assert_eq!(view.metadata["invocation_id"], id.to_string());
    assert_eq!(view.metadata["cause"], "DEADLINE_EXCEEDED");
    eventually("the tool was cancelled", || world.mcp.seen().cancelled == 1).await;
    world.app.stop().await;
}

#[tokio::test]
async fn a_result_that_fits_no_message_was_completed_and_is_not_asked_for_again() {
    let world = ready().await;
    let id = Uuid::now_v7();
    for _ in 0..2 {
        let answer = world.tools().call_tool(with_id(id, "big", "{}")).await;
        let answer = answer.map(Response::into_inner);
        assert_error(
            answer,
            Code::ResourceExhausted,
            "RESULT_TOO_LARGE",
            "COMPLETED",
        );
    }
    assert_eq!(world.mcp.seen().calls.len(), 1);
    world.app.stop().await;
}

#[tokio::test]
async fn wrong_calls_are_refused_before_anything_is_sent() {
    let world = ready().await;
    let refused = world.call("echo", "[1]").await;
    assert_error(
        refused,
        Code::InvalidArgument,
        "ARGUMENTS_INVALID",
        "NOT_SENT",
    );
    let refused = world.call("nothing", "{}").await;
    assert_error(refused, Code::NotFound, "TOOL_NOT_FOUND", "NOT_SENT");
    let request = pb::CallToolRequest {
        expected_definition_hash: "0".repeat(64),
        ..call("echo", "{}")
    };
    let refused = world
        .tools()
        .call_tool(request)
        .await
        .map(Response::into_inner);
    assert_error(refused, Code::Aborted, "DEFINITION_CHANGED", "NOT_SENT");
    for request in [
        pb::CallToolRequest {
            tool: String::new(),
            ..call("echo", "{}")
        },
        pb::CallToolRequest {
            invocation_id: "7".into(),
            ..call("echo", "{}")
        },
        pb::CallToolRequest {
            connector: "users/ada/connectors/".into(),
            ..call("echo", "{}")
        },
    ] {
        let status = world.tools().call_tool(request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
        assert_eq!(ErrorView::of(&status).unwrap().fields.len(), 1);
    }
    assert!(world.mcp.seen().calls.is_empty());
    world.app.stop().await;
}

#[tokio::test]
async fn an_error_of_the_server_is_completed_and_carries_its_code() {
    let world = ready().await;
    let status = world.call("fail", "{}").await.unwrap_err();
    let view = ErrorView::of(&status).unwrap();
    assert_eq!(
        (status.code(), view.reason.as_str()),
        (Code::FailedPrecondition, "UPSTREAM_ERROR")
    );
    assert_eq!(view.metadata["outcome"], "COMPLETED");
    assert_eq!(view.metadata["upstream_code"], "-32603");
    world.app.stop().await;
}

#[tokio::test]
async fn a_foreign_connector_cannot_be_told_from_a_missing_one() {
    let world = ready().await;
    let mut bob = world.tools_as("bob");
    let foreign = bob.call_tool(call("echo", "{}")).await.unwrap_err();
    let name = "users/bob/connectors/time";
    let request = pb::CallToolRequest {
        connector: name.into(),
        ..call("echo", "{}")
    };
    let missing = bob.call_tool(request).await.unwrap_err();
    assert_eq!(foreign.code(), Code::NotFound);
    assert_eq!(foreign.message().replace(NAME, name), missing.message());
    let (foreign, missing) = (
        ErrorView::of(&foreign).unwrap(),
        ErrorView::of(&missing).unwrap(),
    );
    assert_eq!(
        (foreign.reason, foreign.metadata),
        (missing.reason, missing.metadata)
    );
    world.app.stop().await;
}

#[tokio::test]
async fn a_revision_is_waited_for_inside_the_deadline() {
    let world = ready().await;
    let next = world.registry.state().revision + 1;
    let name = "users/ada/connectors/later";
    let request = |min_revision| pb::CallToolRequest {
        connector: name.into(),
        min_revision,
        ..call("echo", "{}")
    };
    let mut tools = world.tools();
    let mut calls = JoinSet::new();
    let waiting = request(next);
    calls.spawn(async move { tools.call_tool(waiting).await });
    world.connect(name);
    calls.join_next().await.unwrap().unwrap().unwrap();
    let mut never = Request::new(request(i64::MAX));
    never.set_timeout(Duration::from_millis(300));
    let late = world
        .tools()
        .call_tool(never)
        .await
        .map(Response::into_inner);
    assert_error(
        late,
        Code::DeadlineExceeded,
        "DEADLINE_EXCEEDED",
        "NOT_SENT",
    );
    world.app.stop().await;
}

#[tokio::test]
async fn sixty_four_calls_of_one_connector_run_at_once_and_one_more_is_refused() {
    let world = ready().await;
    let mut calls = JoinSet::new();
    for _ in 0..64 {
        let mut tools = world.tools();
        calls.spawn(async move { tools.call_tool(call("hang", "{}")).await });
    }
    eventually("all of them run", || world.mcp.seen().hanging == 64).await;
    assert_eq!(world.session(NAME).await.unwrap().calls_in_flight, 64);
    let refused = world.call("echo", "{}").await;
    assert_error(
        refused,
        Code::ResourceExhausted,
        "TOO_MANY_CALLS",
        "NOT_SENT",
    );
    world.mcp.release(64);
    for answer in calls.join_all().await {
        answer.unwrap();
    }
    world.app.stop().await;
}

#[tokio::test]
async fn calls_in_flight_are_answered_when_the_runtime_stops() {
    let world = ready().await;
    let mut tools = world.tools();
    let mut calls = JoinSet::new();
    calls.spawn(async move { tools.call_tool(call("hang", "{}")).await });
    eventually("the call runs", || world.mcp.seen().hanging == 1).await;
    let (mut streams, app) = (world.session_streams(), world.app);
    let watch = pb::WatchSessionsRequest {
        parent: "users/ada".into(),
    };
    let mut watch = streams.watch_sessions(watch).await.unwrap().into_inner();
    let mcp = world.mcp;
    let answer = async {
        // The watch ends when the drain begins; only then may the call end.
        while watch.message().await.is_ok_and(|message| message.is_some()) {}
        mcp.release(1);
        calls.join_next().await.unwrap().unwrap()
    };
    let ((), answer) = tokio::join!(app.stop(), answer);
    assert!(
        answer
            .unwrap()
            .into_inner()
            .result_json
            .contains("released")
    );
}

#[tokio::test]
async fn the_callers_trace_goes_on_into_the_server() {
    let options = telemetry::Options {
        service: "runtime-sync",
        version: "0",
        format: telemetry::LogFormat::Text,
        log: "off".into(),
        otlp_endpoint: None,
    };
    let _guard = telemetry::init(&options).unwrap();
    let world = ready().await;
    let mut request = Request::new(call("echo", "{}"));
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let token = std::fs::read_to_string(world.folder.path().join("tokens/caller")).unwrap();
    for (key, value) in [
        ("traceparent", format!("00-{trace}-b7ad6b7169203331-01")),
        ("authorization", format!("Bearer {}", token.trim())),
    ] {
        request.metadata_mut().insert(key, value.parse().unwrap());
    }
    // Not our own client: that one has a trace of its own.
    let address = format!("http://{}", world.app.address());
    let mut tools = pb::tool_service_client::ToolServiceClient::connect(address)
        .await
        .unwrap();
    tools.call_tool(request).await.unwrap();
    let traces = world.mcp.seen().traces.clone();
    assert_eq!(traces.len(), 1);
    assert!(traces[0].starts_with(&format!("00-{trace}-")), "{traces:?}");
    assert!(!traces[0].contains("b7ad6b7169203331"), "{traces:?}");
    world.app.stop().await;
}
