//! Five hundred connectors to one server: all READY, and what each costs.

use std::time::Instant;

use contracts::runtime::v1::ListSessionsRequest;
use futures_util::StreamExt as _;
use integration_tests::{Clients, Connection, HttpServer, LONG, Up, eventually, note, resident};

const USERS: usize = 50;
const EACH: usize = 10;

async fn ready(operator: &Clients) -> usize {
    let mut found = 0;
    let mut page_token = String::new();
    loop {
        let request = ListSessionsRequest {
            parent: "users/-".into(),
            page_size: 500,
            page_token,
        };
        let page = operator
            .sessions
            .clone()
            .list_sessions(request)
            .await
            .unwrap()
            .into_inner();
        let is_ready = contracts::runtime::v1::SessionState::Ready;
        found += page
            .sessions
            .iter()
            .filter(|session| session.state() == is_ready)
            .count();
        if page.next_page_token.is_empty() {
            return found;
        }
        page_token = page.next_page_token;
    }
}

#[tokio::test]
async fn five_hundred_connectors_are_all_ready() {
    let folder = tempfile::tempdir().unwrap();
    let up = Up::start(folder.path()).await;
    let operator = up.clients("operator");
    let server = HttpServer::start(["echo"]);
    // The first one pays for what all share.
    let first = operator
        .create("users/first", Connection::from(&server))
        .await
        .unwrap();
    operator
        .wait_for(&first, integration_tests::State::Ready)
        .await;
    let before = resident(up.pid());

    let begun = Instant::now();
    let scopes = (0..USERS * EACH).map(|at| format!("users/u{}", at / EACH));
    let creating = scopes.map(|scope| {
        let (operator, what) = (operator.clone(), Connection::from(&server));
        async move { operator.create(&scope, what).await }
    });
    let created: Vec<_> = futures_util::stream::iter(creating)
        .buffer_unordered(8)
        .collect()
        .await;
    for connector in created {
        connector.unwrap();
    }
    let accepted = begun.elapsed();
    eventually("all to be READY", LONG * 4, async || {
        match ready(&operator).await {
            found if found == USERS * EACH + 1 => Ok(()),
            found => Err(format!("{found} are")),
        }
    })
    .await;
    let each = resident(up.pid()).saturating_sub(before) / (USERS * EACH);
    note(&format!(
        "{} connectors created in {accepted:?}, READY after {:?}, {each} kB of resident memory each",
        USERS * EACH,
        begun.elapsed()
    ));
    assert!(each < 200, "{each} kB for each session");
    up.terminate().await;
}
