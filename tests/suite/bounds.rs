//! What a server may do to our memory: little, whatever it sends. Looked at from outside, on the real program.

use integration_tests::{
    Connected, HttpServer, LONG, Misbehaviour, State, StdioServer, Up, eventually, note, resident,
    written,
};

const MEGABYTE: usize = 1024 * 1024;
/// In kB: the ring, a few lines in flight, the allocator's slack.
const ALLOWANCE: usize = 64 * 1024;

async fn up_with(how: Misbehaviour, folder: &std::path::Path) -> (Up, StdioServer, Connected) {
    let up = Up::start(folder).await;
    let server = StdioServer::that(how);
    let connector = up.clients("caller").connect(&server).await;
    up.clients("caller")
        .wait_for(&connector, State::Ready)
        .await;
    (up, server, connector)
}

#[tokio::test]
async fn a_flood_on_stderr_costs_a_ring_and_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let (up, server, _connector) = up_with(Misbehaviour::FloodsStderr, folder.path()).await;
    let before = resident(up.pid());
    let pid = server.pid().unwrap();
    eventually("200 MB of complaints", LONG, async || match written(pid) {
        enough if enough > 200 * MEGABYTE => Ok(()),
        little => Err(format!("{little} bytes")),
    })
    .await;
    let after = resident(up.pid());
    note(&format!("from {before} kB to {after} kB"));
    assert!(after < before + ALLOWANCE, "from {before} kB to {after} kB");

    // It is not in the log either, which would fill the disk instead.
    assert!(up.log().len() < MEGABYTE, "{} bytes of log", up.log().len());
    let healthy = HttpServer::start(["echo"]);
    let neighbour = up.clients("caller").connect(&healthy).await;
    up.clients("caller")
        .wait_for(&neighbour, State::Ready)
        .await;
    up.terminate().await;
}

#[tokio::test]
async fn an_answer_of_100_mb_is_never_held_as_a_whole() {
    let folder = tempfile::tempdir().unwrap();
    let (up, server, connector) = up_with(Misbehaviour::HugeAnswer, folder.path()).await;
    let before = resident(up.pid());
    let caller = up.clients("caller");
    for _ in 0..3 {
        caller.wait_for(&connector, State::Ready).await;
        caller.call(&connector, "work", "{}").await.unwrap_err();
    }
    let after = resident(up.pid());
    note(&format!(
        "from {before} kB to {after} kB; the server is {:?}",
        server.pid()
    ));
    assert!(after < before + ALLOWANCE, "from {before} kB to {after} kB");
    up.terminate().await;
}
