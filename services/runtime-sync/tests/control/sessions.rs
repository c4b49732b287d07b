//! Promises about looking at sessions.

use std::collections::HashSet;

use contracts::runtime::v1 as pb;
use pb::watch_sessions_response::Event;
use tonic::Code;

use crate::world::{NAME, World, said};

#[tokio::test]
async fn a_list_is_paged_in_the_order_of_names() {
    let world = World::start().await;
    for number in 0..7 {
        world.connect(&format!("users/ada/connectors/c{number}"));
    }
    let last = world.connect("users/bob/connectors/x");
    let request = pb::GetSessionRequest {
        connector: "users/bob/connectors/x".into(),
        min_revision: last,
    };
    world.sessions().get_session(request).await.unwrap();
    let (mut names, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = pb::ListSessionsRequest {
            parent: "users/ada".into(),
            page_size: 3,
            page_token,
        };
        let page = world
            .sessions()
            .list_sessions(request)
            .await
            .unwrap()
            .into_inner();
        assert!(page.sessions.len() <= 3);
        names.extend(page.sessions.into_iter().map(|session| session.connector));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    let expected: Vec<String> = (0..7)
        .map(|number| format!("users/ada/connectors/c{number}"))
        .collect();
    assert_eq!(names, expected);
    let wrong = pb::ListSessionsRequest {
        parent: "users/-".into(),
        page_size: 0,
        page_token: "bogus".into(),
    };
    let status = world.sessions().list_sessions(wrong).await.unwrap_err();
    assert_eq!(said(&status).1, "PAGE_TOKEN_INVALID");
    world.app.stop().await;
}

#[tokio::test]
async fn a_watch_shows_what_is_what_changes_and_what_goes_and_ends_with_the_runtime() {
    let world = World::start().await;
    let request = pb::WatchSessionsRequest {
        parent: "users/ada".into(),
    };
    let mut watch = world
        .session_streams()
        .watch_sessions(request)
        .await
        .unwrap()
        .into_inner();
    world.connect("users/bob/connectors/hidden");
    world.connect(NAME);
    let mut states = HashSet::new();
    loop {
        match watch.message().await.unwrap().unwrap().event.unwrap() {
            Event::Session(session) => {
                assert_eq!(session.connector, NAME);
                states.insert(session.state());
                if session.state() == pb::SessionState::Ready {
                    break;
                }
            }
            Event::Removed(name) => panic!("{name} removed"),
        }
    }
    world.registry.delete(NAME);
    loop {
        match watch.message().await.unwrap().unwrap().event.unwrap() {
            Event::Session(_) => {}
            Event::Removed(name) => {
                assert_eq!(name, NAME);
                break;
            }
        }
    }
    let ended = async { watch.message().await.unwrap_err() };
    let ((), status) = tokio::join!(world.app.stop(), ended);
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
}

#[tokio::test]
async fn a_synchronisation_says_what_changed() {
    let world = World::start().await;
    world.connect(NAME);
    world.ready(NAME).await;
    world.mcp.seen().tools = vec!["echo".into(), "new".into()];
    let request = pb::SyncConnectorRequest {
        connector: NAME.into(),
        min_revision: 0,
    };
    let synced = world
        .sessions()
        .sync_connector(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (
            synced.tool_count,
            synced.changed_count,
            synced.removed_count
        ),
        (2, 1, 3)
    );
    assert_eq!(synced.session.unwrap().tool_count, 2);
    let uid = world.uid(NAME);
    world
        .reported("the new list", |registry| {
            let tools = registry
                .observed
                .get(&uid)
                .and_then(|observed| observed.tools.as_ref());
            tools.is_some_and(|tools| {
                let mut hashes = tools.tools.iter().map(|tool| &tool.definition_hash);
                tools.tools.len() == 2 && hashes.all(|hash| registry.definitions.contains_key(hash))
            })
        })
        .await;
    world.app.stop().await;
}

#[tokio::test]
async fn a_health_check_is_answered_and_a_sick_server_is_an_answer_too() {
    let world = World::start().await;
    world.connect(NAME);
    world.ready(NAME).await;
    let check = |name: &str| pb::CheckHealthRequest {
        connector: name.into(),
        min_revision: 0,
    };
    let answer = world
        .sessions()
        .check_health(check(NAME))
        .await
        .unwrap()
        .into_inner();
    assert!(answer.healthy && answer.latency.is_some(), "{answer:?}");
    let history = world.session(NAME).await.unwrap().health_history;
    assert!(!history.is_empty());
    let dead = "users/ada/connectors/dead";
    world
        .registry
        .put(crate::world::http_connector(dead, "http://127.0.0.1:9/mcp"));
    world.state(dead, pb::SessionState::Unreachable).await;
    let answer = world
        .sessions()
        .check_health(check(dead))
        .await
        .unwrap()
        .into_inner();
    assert!(
        !answer.healthy && answer.reason == "CONNECTION_FAILED",
        "{answer:?}"
    );
    world.app.stop().await;
}

#[tokio::test]
async fn a_viewer_may_look_and_not_touch() {
    let world = World::start().await;
    world.connect(NAME);
    world.ready(NAME).await;
    let mut viewer = world.tools_as("viewer");
    let status = viewer
        .call_tool(crate::world::call("echo", "{}"))
        .await
        .unwrap_err();
    assert_eq!(said(&status).1, "ROLE_NOT_ALLOWED");
    world.app.stop().await;
}
