//! The whole path: a connector is created in the registry, connected by the runtime, its tools are stored, listed
//! and called, and it goes away again. On both databases.

use std::time::Duration;

use integration_tests::{
    Connection, Engine, HttpServer, LONG, State, StdioServer, Suite, eventually, reason_of,
};
use tonic::Code;

async fn suites() -> [Suite; 2] {
    [
        Suite::start_on(Engine::Sqlite).await,
        Suite::start_on(Engine::Postgres).await,
    ]
}

#[tokio::test]
async fn a_server_is_connected_listed_and_called_over_http() {
    for suite in suites().await {
        let server = HttpServer::start(["echo", "fail"]);
        let caller = suite.caller();
        let connector = caller.connect(&server).await;
        let ready = caller.wait_for(&connector, State::Ready).await;
        assert_eq!(ready.status.map(|status| status.tool_count), Some(2));

        let tools = caller.tools_of(&connector).await;
        let names: Vec<&str> = tools.iter().map(|tool| tool.tool_name.as_str()).collect();
        assert_eq!(names, ["echo", "fail"], "the server's own order");
        assert!(
            tools[0].definition_json.contains("The scripted tool echo."),
            "{tools:?}"
        );

        let answer = caller
            .call(&connector, "echo", r#"{"b":1,"a":12345678901234567890}"#)
            .await
            .unwrap();
        assert!(!answer.is_error);
        assert!(
            answer.result_json.contains("12345678901234567890"),
            "{}",
            answer.result_json
        );
        assert_eq!(answer.definition_hash, tools[0].definition_hash);

        let answer = caller.call(&connector, "fail", "").await.unwrap();
        assert!(answer.is_error, "an error of the tool's own is an answer");
        suite.stop().await;
    }
}

#[tokio::test]
async fn a_program_is_connected_listed_and_called_over_stdio_and_leaves_nothing_behind() {
    let suite = Suite::start().await;
    let server = StdioServer::with_tools(&["echo", "pid"]);
    let caller = suite.caller();
    let connector = caller.connect(&server).await;
    caller.wait_for(&connector, State::Ready).await;
    let answer = caller.call(&connector, "pid", "{}").await.unwrap();
    let pid = server.pid().unwrap();
    assert!(
        answer.result_json.contains(&format!("\"{pid}\"")),
        "{}",
        answer.result_json
    );

    caller.delete(&connector).await;
    eventually("no process is left", LONG, async || {
        match server.processes() {
            left if left.is_empty() => Ok(()),
            left => Err(format!("{left:?}")),
        }
    })
    .await;
    let gone = caller.get(&connector).await.unwrap_err();
    assert_eq!(
        (gone.code(), reason_of(&gone).as_str()),
        (Code::NotFound, "CONNECTOR_NOT_FOUND")
    );
}

#[tokio::test]
async fn a_disabled_connector_refuses_calls_at_once_and_works_again_when_enabled() {
    let suite = Suite::start().await;
    let server = HttpServer::start(["echo"]);
    let caller = suite.caller();
    let connector = caller.connect(&server).await;
    caller.wait_for(&connector, State::Ready).await;

    caller.disable(&connector).await;
    eventually(
        "calls are refused",
        Duration::from_secs(5),
        async || match caller.call(&connector, "echo", "{}").await {
            Ok(_) => Err("the call was still made".into()),
            Err(status) if reason_of(&status) == "CONNECTOR_DISABLED" => Ok(()),
            Err(status) => Err(format!("{status:?}")),
        },
    )
    .await;
    caller.wait_for(&connector, State::Disabled).await;

    caller.enable(&connector).await;
    caller.wait_for(&connector, State::Ready).await;
    caller.call(&connector, "echo", "{}").await.unwrap();
}

#[tokio::test]
async fn a_server_that_goes_away_is_unreachable_and_is_found_again() {
    let suite = Suite::start().await;
    let mut server = HttpServer::start(["echo"]);
    let caller = suite.caller();
    let connector = caller.connect(&server).await;
    caller.wait_for(&connector, State::Ready).await;

    server.disconnect();
    // First the probes fail; then it is connected anew, which says what is wrong.
    caller
        .wait_until(
            &connector,
            "UNREACHABLE for CONNECTION_FAILED",
            |connector| {
                let status = connector.status.clone().unwrap_or_default();
                status.state() == State::Unreachable && status.reason == "CONNECTION_FAILED"
            },
        )
        .await;
    let refused = caller.call(&connector, "echo", "{}").await.unwrap_err();
    assert_eq!(
        (refused.code(), reason_of(&refused).as_str()),
        (Code::Unavailable, "CONNECTOR_UNREACHABLE")
    );

    server.reconnect();
    caller.wait_for(&connector, State::Ready).await;
    caller.call(&connector, "echo", "{}").await.unwrap();
}

#[tokio::test]
async fn changed_tools_are_seen_after_a_synchronisation() {
    let suite = Suite::start().await;
    let server = HttpServer::start(["echo", "old"]);
    let caller = suite.caller();
    let connector = caller.connect(&server).await;
    caller.wait_for(&connector, State::Ready).await;

    server.set_tools(["echo", "new", "newer"]);
    let synced = caller.sync(&connector).await.unwrap();
    assert_eq!(
        (
            synced.tool_count,
            synced.changed_count,
            synced.removed_count
        ),
        (3, 2, 1)
    );
    eventually("the registry has them", LONG, async || {
        let tools = caller.tools_of(&connector).await;
        let names: Vec<String> = tools.into_iter().map(|tool| tool.tool_name).collect();
        if names == ["echo", "new", "newer"] {
            Ok(())
        } else {
            Err(format!("{names:?}"))
        }
    })
    .await;
    let gone = caller.call(&connector, "old", "{}").await.unwrap_err();
    assert_eq!(
        (gone.code(), reason_of(&gone).as_str()),
        (Code::NotFound, "TOOL_NOT_FOUND")
    );
}

#[tokio::test]
async fn cancelling_a_call_cancels_it_at_the_server() {
    let suite = Suite::start().await;
    let server = HttpServer::start(["hang"]);
    let caller = suite.caller();
    let connector = caller.connect(&server).await;
    caller.wait_for(&connector, State::Ready).await;

    let seen = server.seen();
    {
        let call = caller.call(&connector, "hang", "{}");
        let arrives = eventually("the call to arrive", LONG, async || {
            if seen.calls().is_empty() {
                Err("not yet".into())
            } else {
                Ok(())
            }
        });
        tokio::select! {
            answer = call => panic!("a call that hangs was answered: {answer:?}"),
            () = arrives => {} // Dropping the call here cancels it.
        }
    }
    eventually("the server to hear of it", LONG, async || {
        match seen.cancelled() {
            0 => Err("not cancelled".into()),
            _ => Ok(()),
        }
    })
    .await;
}

#[tokio::test]
async fn a_health_check_answers_and_a_failed_one_is_an_answer_too() {
    let suite = Suite::start().await;
    let mut server = HttpServer::start(["echo"]);
    let caller = suite.caller();
    let connector = caller.connect(Connection::from(&server)).await;
    caller.wait_for(&connector, State::Ready).await;
    let checked = caller.check_health(&connector).await.unwrap();
    assert!(checked.healthy, "{checked:?}");

    server.disconnect();
    let checked = caller.check_health(&connector).await.unwrap();
    assert!(
        !checked.healthy && !checked.reason.is_empty(),
        "{checked:?}"
    );
}
