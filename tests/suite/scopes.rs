//! Scopes are walls: another scope's connector cannot be told from one that does not exist.

use std::slice;

use contracts::registry::v1::{ListConnectorsRequest, ListToolsRequest, WatchConnectorsRequest};
use contracts::runtime::v1::ListSessionsRequest;
use integration_tests::{Clients, Connected, Connection, HttpServer, State, Suite, reason_of};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// All that a caller can learn from an error, with the name they asked for taken out.
fn learned(status: &Status, asked: &str) -> (Code, String, String) {
    let details = format!("{:?}", status.get_error_details()).replace(asked, "NAME");
    (
        status.code(),
        status.message().replace(asked, "NAME"),
        details,
    )
}

#[tokio::test]
async fn another_scopes_connector_answers_exactly_as_a_missing_one() {
    let suite = Suite::start().await;
    let server = HttpServer::start(["echo"]);
    let connector = suite.ada().connect(&server).await;
    suite.ada().wait_for(&connector, State::Ready).await;

    let bob = suite.bob();
    // Only what every missing thing has in common may be learned: this one is in a scope that bob holds.
    let missing = Connected {
        name: "users/bob/connectors/nothing".into(),
        ..connector.clone()
    };
    for (what, foreign, absent) in [
        (
            "get",
            bob.get(&connector).await.err(),
            bob.get(&missing).await.err(),
        ),
        (
            "session",
            bob.session(&connector).await.err(),
            bob.session(&missing).await.err(),
        ),
        (
            "call",
            call(&bob, &connector).await,
            call(&bob, &missing).await,
        ),
        (
            "sync",
            bob.sync(&connector).await.err(),
            bob.sync(&missing).await.err(),
        ),
        (
            "health",
            bob.check_health(&connector).await.err(),
            bob.check_health(&missing).await.err(),
        ),
    ] {
        let (foreign, absent) = (foreign.unwrap(), absent.unwrap());
        assert_eq!(foreign.code(), Code::NotFound, "{what}: {foreign:?}");
        assert_eq!(
            learned(&foreign, &connector.name),
            learned(&absent, &missing.name),
            "{what}"
        );
    }
    assert!(server.seen().calls().is_empty(), "nothing was sent");
}

async fn call(clients: &Clients, connector: &Connected) -> Option<Status> {
    clients.call(connector, "echo", "{}").await.err()
}

#[tokio::test]
async fn a_parent_that_is_not_held_is_refused_before_anything_is_looked_up() {
    let suite = Suite::start().await;
    let bob = suite.bob();
    for parent in [
        "users/ada",
        "users/nobody",
        "users/-",
        "projects/-",
        "system",
    ] {
        let list = ListConnectorsRequest {
            parent: parent.into(),
            ..Default::default()
        };
        let tools = ListToolsRequest {
            parent: format!("{}/connectors/-", parent.replace("/-", "/zed")),
            ..Default::default()
        };
        let sessions = ListSessionsRequest {
            parent: parent.into(),
            ..Default::default()
        };
        let watch = WatchConnectorsRequest {
            parents: vec![parent.into()],
            ..Default::default()
        };
        let created = bob
            .create(parent, Connection::http("https://example.com/mcp"))
            .await;
        let refusals = [
            bob.connectors.clone().list_connectors(list).await.err(),
            bob.connectors.clone().list_tools(tools).await.err(),
            bob.sessions.clone().list_sessions(sessions).await.err(),
            bob.connectors.clone().watch_connectors(watch).await.err(),
            created.err(),
        ];
        for (at, refusal) in refusals.into_iter().enumerate() {
            let refusal = refusal.unwrap_or_else(|| panic!("{parent}, {at}: allowed"));
            // A wildcard is no parent that anything can be created in, so that one is a bad field.
            let wildcard = at == 4 && parent.ends_with("/-");
            let expected = (Code::PermissionDenied, "SCOPE_NOT_ALLOWED");
            let found = (refusal.code(), reason_of(&refusal));
            if !wildcard || found.0 != Code::InvalidArgument {
                assert_eq!((found.0, found.1.as_str()), expected, "{parent}, {at}");
            }
        }
    }
}

#[tokio::test]
async fn lists_show_only_what_is_in_the_scope() {
    let suite = Suite::start().await;
    let server = HttpServer::start(["echo"]);
    let hers = suite.ada().connect(&server).await;
    let his = suite
        .bob()
        .create("users/bob", Connection::from(&server))
        .await
        .unwrap();
    let list = async |clients: &Clients, parent: &str| {
        let request = ListConnectorsRequest {
            parent: parent.into(),
            ..Default::default()
        };
        let response = clients
            .connectors
            .clone()
            .list_connectors(request)
            .await
            .unwrap();
        let mut names: Vec<String> = response
            .into_inner()
            .connectors
            .into_iter()
            .map(|one| one.name)
            .collect();
        names.sort();
        names
    };
    assert_eq!(
        list(&suite.ada(), "users/ada").await,
        slice::from_ref(&hers.name)
    );
    assert_eq!(
        list(&suite.bob(), "users/bob").await,
        slice::from_ref(&his.name)
    );
    assert_eq!(
        list(&suite.operator(), "users/-").await,
        [hers.name, his.name]
    );
}
