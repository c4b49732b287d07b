//! Callers prove who they are: nothing is answered without a credential, and no credential opens more than it should.

use contracts::registry::v1::{GetScopeRequest, ReportStatusRequest};
use contracts::vault::v1::{CreateGrantRequest, ListSecretsRequest, RedeemGrantRequest};
use integration_tests::{Connection, HttpServer, State, Suite, reason_of};
use tonic::{Code, Status};

fn refused<T>(answer: Result<T, Status>) -> (Code, String) {
    match answer {
        Ok(_) => panic!("it was allowed"),
        Err(status) => (status.code(), reason_of(&status)),
    }
}

fn is(code: Code, reason: &str) -> (Code, String) {
    (code, reason.to_owned())
}

#[tokio::test]
async fn without_a_known_token_nothing_is_answered() {
    let suite = Suite::start().await;
    for clients in [
        suite.anonymous(),
        suite.with_token("not-a-token-that-anybody-made"),
    ] {
        let scope = GetScopeRequest {
            name: "users/ada".into(),
        };
        let secrets = ListSecretsRequest {
            parent: "users/ada".into(),
            ..Default::default()
        };
        let unauthenticated = is(Code::Unauthenticated, "UNAUTHENTICATED");
        assert_eq!(
            refused(clients.connectors.clone().get_scope(scope).await),
            unauthenticated
        );
        assert_eq!(
            refused(clients.secrets.clone().list_secrets(secrets).await),
            unauthenticated
        );
        let created = clients
            .create("users/ada", Connection::http("https://example.com/mcp"))
            .await;
        assert_eq!(refused(created), unauthenticated);
    }
}

#[tokio::test]
async fn the_registrys_own_token_cannot_redeem_a_grant() {
    let suite = Suite::start().await;
    let request = RedeemGrantRequest {
        grant_token: "guess".into(),
        destination: "https://example.com:443".into(),
        instance_id: "00000000-0000-7000-8000-000000000000".into(),
        lease_epoch: 1,
    };
    for role in [
        "connector-registry",
        "operator",
        "caller",
        "viewer",
        "auditor",
        "secret-vault",
    ] {
        let redeemed = suite
            .clients(role)
            .secrets
            .clone()
            .redeem_grant(request.clone())
            .await;
        assert_eq!(
            refused(redeemed),
            is(Code::PermissionDenied, "ROLE_NOT_ALLOWED"),
            "{role}"
        );
    }
    // The one role that may is refused for the grant's sake only.
    let guessed = suite
        .clients("runtime-sync")
        .secrets
        .clone()
        .redeem_grant(request)
        .await;
    assert_ne!(refused(guessed).1, "ROLE_NOT_ALLOWED");
}

#[tokio::test]
async fn a_caller_cannot_play_a_service() {
    let suite = Suite::start().await;
    let denied = is(Code::PermissionDenied, "ROLE_NOT_ALLOWED");
    for role in ["caller", "viewer", "operator"] {
        let clients = suite.clients(role);
        let grant = CreateGrantRequest {
            parent: "users/ada".into(),
            ..Default::default()
        };
        assert_eq!(
            refused(clients.secrets.clone().create_grant(grant).await),
            denied,
            "{role}"
        );
        let report = ReportStatusRequest::default();
        assert_eq!(
            refused(clients.connectors.clone().report_status(report).await),
            denied,
            "{role}"
        );
    }
}

#[tokio::test]
async fn a_verb_that_is_not_held_is_refused_and_the_held_one_works() {
    let suite = Suite::start().await;
    let server = HttpServer::start(["echo"]);
    let connector = suite.ada().connect(&server).await;
    suite.ada().wait_for(&connector, State::Ready).await;

    let reader = suite.clients("ada-reader");
    reader.get(&connector).await.unwrap();
    reader.call(&connector, "echo", "{}").await.unwrap();
    let created = reader.create("users/ada", Connection::from(&server)).await;
    assert_eq!(
        refused(created),
        is(Code::PermissionDenied, "VERB_NOT_ALLOWED")
    );
    assert_eq!(
        refused(reader.sync(&connector).await),
        is(Code::PermissionDenied, "VERB_NOT_ALLOWED")
    );

    let viewer = suite.viewer();
    viewer.get(&connector).await.unwrap();
    let called = viewer.call(&connector, "echo", "{}").await;
    assert_eq!(
        refused(called),
        is(Code::PermissionDenied, "ROLE_NOT_ALLOWED")
    );
}
