//! Promises about secrets and the leases on them.

use std::time::Duration;

use contracts::runtime::v1 as pb;
use tonic::Code;

use crate::{
    vault::Renewal,
    world::{NAME, World, assert_error, eventually, http_connector, with_secret_header},
};

#[tokio::test]
async fn a_refused_renewal_ends_the_session_at_once() {
    let world = World::start().await;
    world.vault.state().lease = Duration::from_secs(1);
    world.vault.state().renewal = Renewal::Refused;
    world.connect_with_secret(NAME);
    world.ready(NAME).await;
    let uid = world.uid(NAME);
    world
        .reported("the secrets were withdrawn", |registry| {
            let mut history = registry.history.iter();
            history.any(|(seen, _, state)| *seen == uid && state.contains("LEASE_REVOKED"))
        })
        .await;
    world.app.stop().await;
}

#[tokio::test]
async fn an_unreachable_vault_ends_nothing_before_the_grace_has_passed() {
    let world = World::start().await;
    world.vault.state().lease = Duration::from_millis(300);
    world.vault.state().renewal = Renewal::Unreachable;
    world.connect_with_secret(NAME);
    let before = world.ready(NAME).await;
    // Long after the lease has ended.
    eventually("renewals were tried again and again", || {
        world.vault.state().renewed >= 8
    })
    .await;
    world.call("echo", "{}").await.unwrap();
    assert_eq!(world.session(NAME).await.unwrap().since, before.since);
    world.vault.state().renewal = Renewal::Granted;
    let renewed = world.vault.state().renewed;
    eventually("renewed again", || {
        world.vault.state().renewed > renewed + 3
    })
    .await;
    assert_eq!(world.vault.state().redeemed.len(), 1);
    world.app.stop().await;
}

#[tokio::test]
async fn a_vault_that_stays_away_beyond_the_grace_ends_the_session() {
    let world = World::with(|config| {
        config.tuning.lease_grace = Duration::from_millis(300);
    })
    .await;
    world.vault.state().lease = Duration::from_millis(300);
    world.vault.state().renewal = Renewal::Unreachable;
    world.connect_with_secret(NAME);
    world.ready(NAME).await;
    let uid = world.uid(NAME);
    world
        .reported("the secrets were withdrawn", |registry| {
            let mut history = registry.history.iter();
            history.any(|(seen, _, state)| *seen == uid && state.contains("LEASE_REVOKED"))
        })
        .await;
    world.app.stop().await;
}

#[tokio::test]
async fn a_grant_is_redeemed_for_the_destination_that_is_dialled_and_no_other() {
    let world = World::start().await;
    world.vault.header(
        "grant-1",
        "https://elsewhere.example:443",
        "authorization",
        "s3cr3t",
    );
    world
        .registry
        .state()
        .grants
        .insert(NAME.into(), "grant-1".into());
    let connector = with_secret_header(http_connector(NAME, &world.mcp.url));
    world.registry.put(connector);
    world
        .wait(NAME, "refused", |session| session.reason == "GRANT_REFUSED")
        .await;
    assert_eq!(
        world.vault.state().redeemed[0].destination,
        world.mcp.origin
    );
    assert!(world.mcp.seen().authorization.is_empty());
    world.app.stop().await;
}

#[tokio::test]
async fn what_the_registry_will_not_resolve_becomes_the_state_it_stands_for() {
    let world = World::start().await;
    for (number, (reason, state)) in [
        ("SECRET_MISSING", pb::SessionState::Misconfigured),
        ("SECRET_NEEDS_REBIND", pb::SessionState::Misconfigured),
        ("SECRET_UNREADABLE", pb::SessionState::Misconfigured),
        ("POLICY_DENIED", pb::SessionState::Misconfigured),
        ("VAULT_UNAVAILABLE", pb::SessionState::Unreachable),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("users/ada/connectors/c{number}");
        world
            .registry
            .state()
            .unresolved
            .insert(name.clone(), reason.into());
        world.connect(&name);
        let session = world
            .wait(&name, reason, |session| session.reason == reason)
            .await;
        assert_eq!(session.state(), state, "{reason}");
    }
    // And what passes is tried again.
    world.registry.state().unresolved.clear();
    world.ready("users/ada/connectors/c4").await;
    world.app.stop().await;
}

#[tokio::test]
async fn a_secret_that_did_not_come_is_an_error_and_never_an_empty_value() {
    let world = World::start().await;
    world
        .registry
        .put(with_secret_header(http_connector(NAME, &world.mcp.url)));
    let session = world.state(NAME, pb::SessionState::Misconfigured).await;
    assert_eq!(session.reason, "SECRET_MISSING");
    let refused = world.call("echo", "{}").await;
    assert_error(
        refused,
        Code::FailedPrecondition,
        "CONNECTOR_MISCONFIGURED",
        "NOT_SENT",
    );
    assert!(world.mcp.seen().calls.is_empty());
    world.app.stop().await;
}

#[tokio::test]
async fn a_secret_that_cannot_be_read_is_a_hard_error() {
    let world = World::start().await;
    world.vault.state().unreadable = true;
    world.connect_with_secret(NAME);
    let session = world.state(NAME, pb::SessionState::Misconfigured).await;
    assert_eq!(session.reason, "SECRET_UNREADABLE");
    let refused = world.call("echo", "{}").await;
    assert_error(
        refused,
        Code::FailedPrecondition,
        "CONNECTOR_MISCONFIGURED",
        "NOT_SENT",
    );
    assert!(world.mcp.seen().calls.is_empty());
    world.app.stop().await;
}
