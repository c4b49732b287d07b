//! Promises about reports to the registry and the lease on the sessions.

use contracts::{registry::v1 as registry_v1, runtime::v1 as pb};

use crate::world::{NAME, World, eventually};

#[tokio::test]
async fn a_report_that_fails_loses_nothing() {
    let world = World::start().await;
    world.registry.state().failing_reports = 5;
    world.connect(NAME);
    let uid = world.uid(NAME);
    world
        .reported("tools and READY in spite of failures", |registry| {
            registry.failing_reports == 0
                && registry.observed.get(&uid).is_some_and(|observed| {
                    observed
                        .tools
                        .as_ref()
                        .is_some_and(|tools| tools.tools.len() == 4)
                        && observed.status.as_ref().unwrap().state()
                            == registry_v1::ConnectorState::Ready
                })
        })
        .await;
    world.app.stop().await;
}

#[tokio::test]
async fn states_are_reported_in_their_order_and_tools_once() {
    let world = World::start().await;
    world.connect(NAME);
    world.ready(NAME).await;
    let uid = world.uid(NAME);
    world
        .reported("READY", |registry| {
            let mut history = registry.history.iter().filter(|(seen, ..)| *seen == uid);
            history
                .next_back()
                .is_some_and(|(_, _, state)| state.contains("READY"))
        })
        .await;
    let reports_before = world.registry.state().reports.len();
    world
        .reported("presence without news", |registry| {
            registry.reports.len() > reports_before + 2
                && registry
                    .reports
                    .last()
                    .is_some_and(|last| last.connectors.is_empty())
        })
        .await;
    let reports = world.registry.state().reports.clone();
    let observed = reports.iter().flat_map(|report| &report.connectors);
    let with_tools = observed.filter(|observed| observed.tools.is_some());
    assert_eq!(with_tools.count(), 1);
    world.app.stop().await;
}

#[tokio::test]
async fn who_sees_ready_finds_every_definition() {
    let world = World::start().await;
    let names: Vec<String> = (0..8)
        .map(|number| format!("users/ada/connectors/c{number}"))
        .collect();
    for name in &names {
        world.connect(name);
    }
    world
        .reported("READY, with the definitions there before", |registry| {
            let ready = registry
                .history
                .iter()
                .filter(|(.., state)| state.contains("READY"));
            let ready = ready.count();
            assert!(
                ready == 0 || registry.definitions.len() == 4,
                "READY came first"
            );
            ready == names.len()
        })
        .await;
    world.app.stop().await;
}

#[tokio::test]
async fn definitions_that_never_arrive_hold_ready_back_only_for_a_while() {
    let world = World::start().await;
    world.registry.state().failing_uploads = true;
    world.connect(NAME);
    world
        .reported("READY without definitions", |registry| {
            registry
                .history
                .iter()
                .any(|(.., state)| state.contains("READY"))
        })
        .await;
    assert!(world.registry.state().definitions.is_empty());
    world.registry.state().failing_uploads = false;
    world
        .reported("the definitions after all", |registry| {
            registry.definitions.len() == 4
        })
        .await;
    // And what was shown is never taken back.
    let history = world.registry.state().history.clone();
    let ready = history
        .iter()
        .position(|(.., state)| state.contains("READY"));
    assert!(
        history[ready.unwrap()..]
            .iter()
            .all(|(.., state)| state.contains("READY"))
    );
    world.app.stop().await;
}

#[tokio::test]
async fn a_definition_that_is_refused_keeps_no_other_one_out() {
    let world = World::start().await;
    let other = crate::mcp::Mcp::start().await;
    other.seen().tools = vec!["poison".into()];
    world.registry.state().refused_definition = Some("poison");
    // Until both are known, so that they come in one report.
    world.registry.state().failing_uploads = true;
    let poison = "users/ada/connectors/poison";
    world.connect(NAME);
    world
        .registry
        .put(crate::world::http_connector(poison, &other.url));
    world.ready(NAME).await;
    world.ready(poison).await;
    world
        .reported("both", |registry| registry.observed.len() == 2)
        .await;
    world.registry.state().failing_uploads = false;
    world
        .reported("the definitions of the other one", |registry| {
            registry.definitions.len() == 4
        })
        .await;
    let uid = world.uid(poison);
    world
        .reported("READY for both", |registry| {
            let observed = registry.observed.get(&uid);
            observed.is_some_and(|observed| {
                observed.status.as_ref().unwrap().state() == registry_v1::ConnectorState::Ready
            })
        })
        .await;
    world.app.stop().await;
}

#[tokio::test]
async fn while_another_instance_holds_the_sessions_none_is_started() {
    let world = World::start().await;
    world.registry.state().held = true;
    world.registry.state().epoch = 0;
    // Whatever was claimed before it was held is lost.
    world.connect(NAME);
    world
        .wait(NAME, "not connected", |session| session.lease_epoch == 0)
        .await;
    let session = world.session(NAME).await.unwrap();
    assert_ne!(session.state(), pb::SessionState::Ready, "{session:?}");
    world.registry.state().held = false;
    world.ready(NAME).await;
    world.app.stop().await;
}

#[tokio::test]
async fn a_lost_lease_ends_all_sessions_and_a_new_one_starts_them_again() {
    let world = World::start().await;
    world.connect_with_secret(NAME);
    let first = world.ready(NAME).await;
    assert_eq!(first.lease_epoch, 1);
    world.registry.state().held = true;
    eventually("the secrets are given back", || {
        world.vault.state().released.len() == 1
    })
    .await;
    world
        .wait(NAME, "without a session", |session| {
            session.lease_epoch == 0
        })
        .await;
    world.registry.state().held = false;
    let second = world
        .wait(NAME, "READY under the next epoch", |session| {
            session.lease_epoch == 2 && session.state() == pb::SessionState::Ready
        })
        .await;
    assert_eq!(world.vault.state().redeemed.last().unwrap().lease_epoch, 2);
    assert_ne!(first.since, second.since);
    world.app.stop().await;
}

#[tokio::test]
async fn many_connectors_are_resolved_in_few_requests() {
    let world = World::start().await;
    let names: Vec<String> = (0..64)
        .map(|number| format!("users/ada/connectors/many-{number}"))
        .collect();
    for name in &names {
        world.connect(name);
    }
    for name in &names {
        world.ready(name).await;
    }
    let resolved = world.registry.state().resolved.clone();
    assert!(resolved.iter().all(|batch| batch.len() <= 16));
    assert!(resolved.len() < 48, "{} requests", resolved.len());
    world
        .reported("all of them", |registry| registry.observed.len() == 64)
        .await;
    world.app.stop().await;
}
