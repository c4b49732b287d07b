//! Servers that nobody here wrote: connected, synchronised, called, health-checked, killed and found again.

use contracts::runtime::v1::Era;
use integration_tests::{
    Clients, Connected, Connection, LONG, RealServer, State, Suite, eventually, marked,
};
use rustix::process::{Pid, Signal, kill_process};

/// What one of them is asked, and what has to be in the answer.
struct Expected<'a> {
    tools: usize,
    call: (&'a str, &'a str, &'a str),
    era: Era,
}

/// Everything but the killing, which differs.
async fn works(clients: &Clients, connector: &Connected, expected: &Expected<'_>) {
    let ready = clients.wait_for(connector, State::Ready).await;
    let status = ready.status.unwrap_or_default();
    let tools = clients.tools_of(connector).await;
    let names: Vec<&str> = tools.iter().map(|tool| tool.tool_name.as_str()).collect();
    assert!(tools.len() >= expected.tools, "{names:?}");
    assert_eq!(status.tool_count as usize, tools.len());
    let session = clients.session(connector).await.unwrap();
    assert_eq!(session.era(), expected.era, "{session:?}");

    let (tool, arguments, part) = expected.call;
    assert!(names.contains(&tool), "{names:?}");
    let answer = clients.call(connector, tool, arguments).await.unwrap();
    assert!(
        !answer.is_error && answer.result_json.contains(part),
        "{}",
        answer.result_json
    );
    let checked = clients.check_health(connector).await.unwrap();
    assert!(checked.healthy, "{checked:?}");
    let synced = clients.sync(connector).await.unwrap();
    assert_eq!(
        (synced.changed_count, synced.removed_count),
        (0, 0),
        "{synced:?}"
    );
}

/// kill -9 of the program itself; `mark` is in its arguments. Then everything works again.
async fn is_found_again(
    clients: &Clients,
    connector: &Connected,
    mark: &str,
    expected: &Expected<'_>,
) {
    let before = clients.session(connector).await.unwrap();
    let is_guard = |words: &[String]| words.iter().any(|word| word == "stdio-guard");
    let victim = marked(mark)
        .into_iter()
        .find(|process| !is_guard(&process.arguments))
        .unwrap();
    kill_process(Pid::from_raw(victim.pid).unwrap(), Signal::KILL).unwrap();
    eventually("the loss to be noticed and healed", LONG, async || {
        let session = clients
            .session(connector)
            .await
            .map_err(|status| status.to_string())?;
        let again = session.state() == contracts::runtime::v1::SessionState::Ready
            && session.since != before.since;
        if again {
            Ok(())
        } else {
            Err(format!("{session:?}"))
        }
    })
    .await;
    works(clients, connector, expected).await;
}

#[tokio::test]
async fn server_everything_over_stdio() {
    let suite = Suite::start().await;
    let caller = suite.caller();
    let mark = new_mark();
    let mut server = RealServer::everything().transport();
    server.arguments.push(mark.clone());
    let connector = caller.connect(Connection::stdio(server)).await;
    let expected = Expected {
        tools: 10,
        call: (
            "echo",
            r#"{"message":"hello from patchbay"}"#,
            "hello from patchbay",
        ),
        era: Era::Legacy,
    };
    works(&caller, &connector, &expected).await;
    is_found_again(&caller, &connector, &mark, &expected).await;
    caller.delete(&connector).await;
    nothing_marked(&mark).await;
}

#[tokio::test]
async fn server_everything_over_streamable_http() {
    let suite = Suite::start().await;
    let caller = suite.caller();
    let (mut server, url) = RealServer::everything_over_http().await;
    let connector = caller.connect(Connection::http(&url)).await;
    let expected = Expected {
        tools: 10,
        call: (
            "echo",
            r#"{"message":"hello over http"}"#,
            "hello over http",
        ),
        era: Era::Legacy,
    };
    works(&caller, &connector, &expected).await;

    server.kill().await.unwrap();
    caller.wait_for(&connector, State::Unreachable).await;
    let port = url
        .trim_end_matches("/mcp")
        .rsplit(':')
        .next()
        .unwrap()
        .parse()
        .unwrap();
    let _server = RealServer::everything_on(port).await;
    works(&caller, &connector, &expected).await;
}

#[tokio::test]
async fn server_filesystem() {
    let folder = tempfile::tempdir().unwrap();
    // The server compares with the real path.
    let folder = folder.path().canonicalize().unwrap();
    let file = folder.join("hello.txt");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(&file, "from a file").unwrap();
    let suite = Suite::start().await;
    let caller = suite.caller();
    let connector = caller.connect(&RealServer::filesystem(&folder)).await;
    let arguments = format!("{{\"path\":\"{}\"}}", file.display());
    let expected = Expected {
        tools: 10,
        call: ("read_text_file", &arguments, "from a file"),
        era: Era::Legacy,
    };
    works(&caller, &connector, &expected).await;
    is_found_again(
        &caller,
        &connector,
        &folder.display().to_string(),
        &expected,
    )
    .await;
    caller.delete(&connector).await;
    nothing_marked(&folder.display().to_string()).await;
}

#[tokio::test]
async fn server_memory() {
    let folder = tempfile::tempdir().unwrap();
    let suite = Suite::start().await;
    let caller = suite.caller();
    let mark = new_mark();
    let mut server = RealServer::memory(&folder.path().join("graph.jsonl")).transport();
    server.arguments.push(mark.clone());
    let connector = caller.connect(Connection::stdio(server)).await;
    caller.wait_for(&connector, State::Ready).await;
    let ada =
        r#"{"entities":[{"name":"Ada","entityType":"person","observations":["wrote notes"]}]}"#;
    caller
        .call(&connector, "create_entities", ada)
        .await
        .unwrap();
    // Its answer comes from its file, so it also shows that the plain variable arrived.
    let expected = Expected {
        tools: 9,
        call: ("read_graph", "{}", "wrote notes"),
        era: Era::Legacy,
    };
    works(&caller, &connector, &expected).await;
    is_found_again(&caller, &connector, &mark, &expected).await;
    assert!(folder.path().join("graph.jsonl").exists());
}

#[tokio::test]
async fn mcp_server_time_in_the_stateless_era() {
    let suite = Suite::start().await;
    let caller = suite.caller();
    // It takes no argument that could mark it, so its path has to.
    let folder = tempfile::tempdir().unwrap();
    let mark = folder.path().display().to_string();
    let mut server = RealServer::time().transport();
    let link = folder.path().join("mcp-server-time");
    std::os::unix::fs::symlink(&server.command, &link).unwrap();
    server.command = link.display().to_string();
    let connector = caller.connect(Connection::stdio(server)).await;
    let expected = Expected {
        tools: 2,
        call: ("get_current_time", r#"{"timezone":"UTC"}"#, "UTC"),
        era: Era::Modern,
    };
    works(&caller, &connector, &expected).await;
    is_found_again(&caller, &connector, &mark, &expected).await;
}

/// An argument that only this run's process has; these servers ignore what they do not know.
fn new_mark() -> String {
    format!("--mark={}", uuid::Uuid::new_v4())
}

async fn nothing_marked(mark: &str) {
    eventually("no process is left", LONG, async || match marked(mark) {
        left if left.is_empty() => Ok(()),
        left => Err(format!("{left:?}")),
    })
    .await;
}
