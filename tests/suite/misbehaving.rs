//! Servers that do everything wrong: each has a bound and a typed status, and its neighbour does not notice.

use std::time::{Duration, Instant};

use integration_tests::{
    Clients, Connected, Connection, HttpServer, LONG, Misbehaviour, RawServer, State, StdioServer,
    Suite, eventually, keeps_contract, reason_of,
};
use tonic::Code;

/// A healthy connector beside the bad one. It is asked again at the end: by then it has to have been READY all along.
struct Neighbour {
    clients: Clients,
    connector: Connected,
    since: Option<prost_types::Timestamp>,
    _server: HttpServer,
}

impl Neighbour {
    async fn of(clients: &Clients) -> Self {
        let server = HttpServer::start(["echo"]);
        let connector = clients.connect(&server).await;
        let ready = clients.wait_for(&connector, State::Ready).await;
        let since = ready.status.and_then(|status| status.since);
        Self {
            clients: clients.clone(),
            connector,
            since,
            _server: server,
        }
    }

    async fn is_untouched(&self) {
        let begun = Instant::now();
        self.clients
            .call(&self.connector, "echo", "{}")
            .await
            .unwrap();
        assert!(
            begun.elapsed() < Duration::from_secs(5),
            "it took {:?}",
            begun.elapsed()
        );
        let status = self
            .clients
            .get(&self.connector)
            .await
            .unwrap()
            .status
            .unwrap();
        assert_eq!(
            (status.state(), status.since),
            (State::Ready, self.since),
            "{status:?}"
        );
    }
}

/// Connects a program that misbehaves and waits for a state; then checks reason, neighbour and what is left over.
async fn program_that(how: Misbehaviour, state: State, reasons: &[&str]) {
    let suite = Suite::start().await;
    let clients = suite.caller();
    let neighbour = Neighbour::of(&clients).await;
    let server = StdioServer::that(how);
    let what = Connection::from(&server).connect_within(Duration::from_secs(2));
    let connector = clients.connect(what).await;
    let found = clients
        .wait_until(
            &connector,
            &format!("{state:?} for one of {reasons:?}"),
            |connector| {
                let status = connector.status.clone().unwrap_or_default();
                status.state() == state && reasons.contains(&status.reason.as_str())
            },
        )
        .await;
    assert!(
        !found
            .status
            .unwrap_or_default()
            .message
            .contains("not JSON"),
        "nothing a server sent"
    );
    neighbour.is_untouched().await;
    clients.delete(&connector).await;
    nothing_left(&server).await;
    neighbour.is_untouched().await;
}

async fn nothing_left(server: &StdioServer) {
    eventually("no process is left", LONG, async || {
        match server.processes() {
            left if left.is_empty() => Ok(()),
            left => Err(format!("{left:?}")),
        }
    })
    .await;
}

#[tokio::test]
async fn a_program_that_says_nothing_times_out() {
    program_that(Misbehaviour::Silent, State::Unreachable, &["TIMEOUT"]).await;
}

#[tokio::test]
async fn a_program_that_prints_garbage_is_no_mcp_server() {
    let reasons = ["INVALID_MCP_SERVER", "TIMEOUT"];
    program_that(Misbehaviour::Garbage, State::Unreachable, &reasons).await;
}

#[tokio::test]
async fn a_program_that_floods_stderr_works_all_the_same() {
    program_that(Misbehaviour::FloodsStderr, State::Ready, &[""]).await;
}

#[tokio::test]
async fn a_program_that_lists_for_ever_fails_its_list() {
    let suite = Suite::start().await;
    let clients = suite.caller();
    let neighbour = Neighbour::of(&clients).await;
    let server = StdioServer::that(Misbehaviour::RepeatsCursor);
    let connector = clients.connect(&server).await;
    clients
        .wait_until(&connector, "LIST_FAILED", |connector| {
            connector
                .status
                .as_ref()
                .is_some_and(|status| status.reason == "LIST_FAILED")
        })
        .await;
    neighbour.is_untouched().await;
}

#[tokio::test]
async fn a_program_that_dies_in_a_loop_is_held_back() {
    program_that(Misbehaviour::Dies, State::Unreachable, &["CRASH_LOOP"]).await;
}

#[tokio::test]
async fn a_program_that_forks_leaves_no_child_behind() {
    let suite = Suite::start().await;
    let clients = suite.caller();
    let neighbour = Neighbour::of(&clients).await;
    let server = StdioServer::that(Misbehaviour::Forks);
    let connector = clients.connect(&server).await;
    clients.wait_for(&connector, State::Ready).await;
    eventually("its children to be there", LONG, async || {
        let sleeping = |process: &integration_tests::Process| {
            process
                .arguments
                .first()
                .is_some_and(|word| word == "sleep")
        };
        match server
            .processes()
            .iter()
            .filter(|process| sleeping(process))
            .count()
        {
            2 => Ok(()),
            other => Err(format!("{other} children: {:?}", server.processes())),
        }
    })
    .await;
    clients.disable(&connector).await;
    nothing_left(&server).await;
    neighbour.is_untouched().await;
}

#[tokio::test]
async fn a_program_that_stops_reading_holds_up_nobody() {
    let suite = Suite::start().await;
    let clients = suite.caller();
    let neighbour = Neighbour::of(&clients).await;
    let server = StdioServer::that(Misbehaviour::Deaf);
    let connector = clients.connect(&server).await;
    clients.wait_for(&connector, State::Ready).await;

    let big = format!("{{\"text\":\"{}\"}}", "x".repeat(512 * 1024));
    let begun = Instant::now();
    let limit = Duration::from_secs(2);
    let status = clients
        .call_within(&connector, "work", &big, limit)
        .await
        .unwrap_err();
    assert!(
        begun.elapsed() < Duration::from_secs(8),
        "it took {:?}",
        begun.elapsed()
    );
    let codes = [
        Code::Aborted,
        Code::DeadlineExceeded,
        Code::Unavailable,
        Code::Cancelled,
    ];
    assert!(codes.contains(&status.code()), "{status:?}");
    neighbour.is_untouched().await;
    clients.disable(&connector).await;
    nothing_left(&server).await;
}

#[tokio::test]
async fn an_answer_of_100_mb_is_cut_off_and_typed() {
    let suite = Suite::start().await;
    let clients = suite.caller();
    let neighbour = Neighbour::of(&clients).await;
    let server = StdioServer::that(Misbehaviour::HugeAnswer);
    let connector = clients.connect(&server).await;
    clients.wait_for(&connector, State::Ready).await;
    let status = clients.call(&connector, "work", "{}").await.unwrap_err();
    keeps_contract(&status);
    let reason = reason_of(&status);
    assert!(
        ["RESULT_TOO_LARGE", "OUTCOME_UNKNOWN"].contains(&reason.as_str()),
        "{status:?}"
    );
    neighbour.is_untouched().await;
    // And it is usable again: either the line was skipped, or the program was started anew.
    clients.wait_for(&connector, State::Ready).await;
}

#[tokio::test]
async fn an_http_server_that_accepts_and_says_nothing_times_out() {
    let suite = Suite::start().await;
    let clients = suite.caller();
    let neighbour = Neighbour::of(&clients).await;
    let server = RawServer::silent().await;
    let what = Connection::from(&server).connect_within(Duration::from_secs(2));
    let connector = clients.connect(what).await;
    let found = clients.wait_for(&connector, State::Unreachable).await;
    assert_eq!(found.status.unwrap_or_default().reason, "TIMEOUT");
    assert!(server.accepted() > 0);
    neighbour.is_untouched().await;
}

#[tokio::test]
async fn an_http_server_that_is_no_mcp_server_is_told_as_such() {
    let suite = Suite::start().await;
    let clients = suite.caller();
    let neighbour = Neighbour::of(&clients).await;
    let answer = "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 6\r\nconnection: close\r\n\r\n<html>";
    let server = RawServer::once(answer).await;
    let connector = clients.connect(&server).await;
    let found = clients.wait_for(&connector, State::Unreachable).await;
    assert_eq!(
        found.status.unwrap_or_default().reason,
        "INVALID_MCP_SERVER"
    );
    neighbour.is_untouched().await;
}

#[tokio::test]
async fn an_http_answer_without_end_is_cut_off() {
    let suite = Suite::start().await;
    let clients = suite.caller();
    let neighbour = Neighbour::of(&clients).await;
    let head =
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n{\"jsonrpc\":\"2.0\",\"x\":\"";
    let server = RawServer::endless(head, b"xxxxxxxx").await;
    let connector = clients.connect(&server).await;
    clients.wait_for(&connector, State::Unreachable).await;
    neighbour.is_untouched().await;
}

#[tokio::test]
async fn a_port_that_nobody_listens_on_and_a_program_that_does_not_exist_are_told_apart() {
    let suite = Suite::start().await;
    let clients = suite.caller();
    let nobody = clients
        .connect(Connection::http("http://127.0.0.1:1/mcp"))
        .await;
    let found = clients.wait_for(&nobody, State::Unreachable).await;
    assert_eq!(found.status.unwrap_or_default().reason, "CONNECTION_FAILED");

    let mut missing = StdioServer::with_tools(&["echo"]).transport();
    missing.command = "/nowhere/there-is-no-such-program".into();
    let missing = clients.connect(Connection::stdio(missing)).await;
    clients
        .wait_until(&missing, "COMMAND_NOT_FOUND", |connector| {
            connector
                .status
                .as_ref()
                .is_some_and(|status| status.reason == "COMMAND_NOT_FOUND")
        })
        .await;
}
