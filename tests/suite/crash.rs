//! kill -9 of the whole process at any time: it starts again, everything is reconnected, no secret is lost, and no
//! process is left behind.

use std::time::Duration;

use integration_tests::{
    Clients, Connected, Connection, HttpServer, LONG, Misbehaviour, State, StdioServer, Up,
    eventually, note, sha256_hex,
};

const SECRET: &str = "a-secret-that-outlives-the-process";

async fn proves(clients: &Clients, connector: &Connected, name: &str) {
    clients.wait_for(connector, State::Ready).await;
    let arguments = format!("{{\"name\":\"{name}\"}}");
    let answer = clients.call(connector, "prove", &arguments).await.unwrap();
    assert!(
        answer.result_json.contains(&sha256_hex(SECRET.as_bytes())),
        "{}",
        answer.result_json
    );
}

#[tokio::test]
async fn a_killed_suite_starts_again_with_everything() {
    let folder = tempfile::tempdir().unwrap();
    let mut up = Up::start(folder.path()).await;
    note(&format!(
        "a new data folder is ready in {:?}",
        up.started_in()
    ));
    let http = HttpServer::start(["prove"]);
    let program = StdioServer::with_tools(&["prove"]);
    let parent = StdioServer::that(Misbehaviour::Forks);
    let caller = up.clients("caller");
    let over_http = caller
        .connect(Connection::from(&http).secret("x-api-key", SECRET))
        .await;
    let over_stdio = caller
        .connect(Connection::from(&program).secret("API_KEY", SECRET))
        .await;
    let with_children = caller.connect(&parent).await;
    proves(&caller, &over_http, "x-api-key").await;
    proves(&caller, &over_stdio, "API_KEY").await;
    caller.wait_for(&with_children, State::Ready).await;

    for life in 2..=4 {
        let (old, old_parent) = (program.pid(), parent.pid());
        assert!(
            old.is_some() && old_parent.is_some(),
            "not exactly one process each"
        );
        up.kill().await;
        nothing_left(&program).await;
        nothing_left(&parent).await;

        up = Up::start(folder.path()).await;
        note(&format!("life {life} is ready in {:?}", up.started_in()));
        let caller = up.clients("caller");
        // The status in the database is that of the last life; wait for what is new.
        eventually("a new process", LONG, async || match program.pid() {
            Some(pid) if Some(pid) != old => Ok(()),
            other => Err(format!("{other:?}, before: {old:?}\n{}", up.log())),
        })
        .await;
        proves(&caller, &over_stdio, "API_KEY").await;
        proves(&caller, &over_http, "x-api-key").await;
        caller.wait_for(&with_children, State::Ready).await;
    }
    up.terminate().await;
    nothing_left(&program).await;
    nothing_left(&parent).await;
}

/// The guards see their control pipe close and take everything with them.
async fn nothing_left(server: &StdioServer) {
    eventually(
        "no process is left",
        Duration::from_secs(10),
        async || match server.processes() {
            left if left.is_empty() => Ok(()),
            left => Err(format!("{left:?}")),
        },
    )
    .await;
}

#[tokio::test]
async fn a_suite_killed_while_it_connects_starts_again() {
    let folder = tempfile::tempdir().unwrap();
    let program = StdioServer::with_tools(&["prove"]);
    let mut up = Up::start(folder.path()).await;
    let connector = up
        .clients("caller")
        .connect(Connection::from(&program).secret("API_KEY", SECRET))
        .await;
    // At once: somewhere between the row, the grant, the process and the handshake.
    for _ in 0..3 {
        up.kill().await;
        nothing_left(&program).await;
        up = Up::start(folder.path()).await;
    }
    eventually("a process", LONG, async || {
        program.pid().ok_or_else(|| up.log())
    })
    .await;
    proves(&up.clients("caller"), &connector, "API_KEY").await;
}
