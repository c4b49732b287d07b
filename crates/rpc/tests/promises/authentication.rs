//! Authentication: denied by default, and in an order that tells strangers nothing.

use rpc::error::ErrorView;
use tonic::{Code, Status};

use crate::{
    service::{Ask, FOR_RUNTIME, FOREIGN, GET, WATCH, ask},
    suite::{Suite, open, unary},
};

fn reason(status: &Status) -> (Code, String) {
    let view = ErrorView::of(status).expect("ours");
    assert_eq!(view.metadata["outcome"], "NOT_SENT");
    (status.code(), view.reason)
}

#[tokio::test]
async fn a_caller_with_a_token_gets_through_as_its_principal() {
    let suite = Suite::start();
    let said = unary(&suite.channels().unary, GET, ask("echo"))
        .await
        .expect("let in");
    assert_eq!(said.text, "ada");
    let said = unary(
        &suite.channels_of("runtime").unary,
        FOR_RUNTIME,
        ask("echo"),
    )
    .await;
    assert_eq!(said.expect("let in").text, "runtime");
}

#[tokio::test]
async fn without_a_valid_token_every_path_is_unauthenticated() {
    let suite = Suite::start();
    let expected = "UNAUTHENTICATED";
    for token in ["", "nobody"] {
        let channels = suite.channels_of(token);
        for path in [
            GET,
            FOR_RUNTIME,
            "/test.v1.TestService/No",
            "/no.Service/No",
        ] {
            let status = unary(&channels.unary, path, ask("echo"))
                .await
                .expect_err("denied");
            assert_eq!(
                reason(&status),
                (Code::Unauthenticated, expected.into()),
                "{path}"
            );
        }
        let status = open(&channels.streams, WATCH, ask("end"))
            .await
            .expect_err("denied");
        assert_eq!(reason(&status), (Code::Unauthenticated, expected.into()));
    }
    assert_eq!(*suite.state.begun.borrow(), 0, "no handler was reached");
}

#[tokio::test]
async fn a_missing_and_a_wrong_token_cannot_be_told_apart() {
    let suite = Suite::start();
    let mut refusals = Vec::new();
    for token in ["", "nobody"] {
        let status = unary(&suite.channels_of(token).unary, GET, ask("echo")).await;
        let status = status.expect_err("denied");
        refusals.push((
            status.code(),
            status.message().to_owned(),
            ErrorView::of(&status),
        ));
    }
    assert_eq!(refusals[0], refusals[1]);
}

#[tokio::test]
async fn an_unknown_method_is_unimplemented_only_for_those_with_a_token() {
    let suite = Suite::start();
    for path in [
        "/test.v1.TestService/No",
        "/no.Service/No",
        "/test.v1.TestService/get",
    ] {
        let status = unary(&suite.channels().unary, path, ask("echo"))
            .await
            .expect_err("denied");
        assert_eq!(
            reason(&status),
            (Code::Unimplemented, "METHOD_UNKNOWN".into()),
            "{path}"
        );
    }
}

#[tokio::test]
async fn a_method_of_another_role_is_permission_denied() {
    let suite = Suite::start();
    for (token, path) in [("ada", FOR_RUNTIME), ("viewer", GET), ("runtime", GET)] {
        let status = unary(&suite.channels_of(token).unary, path, ask("echo")).await;
        let status = status.expect_err("denied");
        assert_eq!(
            reason(&status),
            (Code::PermissionDenied, "ROLE_NOT_ALLOWED".into()),
            "{token}"
        );
    }
    assert_eq!(*suite.state.begun.borrow(), 0, "no handler was reached");
}

#[tokio::test]
async fn a_foreign_scope_in_the_message_is_permission_denied() {
    let suite = Suite::start();
    let foreign = Ask {
        parent: "users/bob".into(),
        ..ask("echo")
    };
    let status = unary(&suite.channels().unary, GET, foreign)
        .await
        .expect_err("denied");
    assert_eq!(
        reason(&status),
        (Code::PermissionDenied, "SCOPE_NOT_ALLOWED".into())
    );
}

#[tokio::test]
async fn a_token_file_is_as_good_as_a_token() {
    let suite = Suite::start();
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("token");
    std::fs::write(&path, "ada\n").expect("written");
    let options = rpc::client::ClientOptions {
        token: rpc::client::Token::File(path),
        ..suite.options("")
    };
    let channels = rpc::client::connect(options).expect("channels");
    assert_eq!(
        unary(&channels.unary, GET, ask("echo"))
            .await
            .expect("let in")
            .text,
        "ada"
    );
}

#[tokio::test]
async fn a_method_of_a_service_that_is_served_elsewhere_is_unknown_here() {
    let suite = Suite::start();
    let status = unary(&suite.channels().unary, FOREIGN, ask("echo")).await;
    let expected = (Code::Unimplemented, "METHOD_UNKNOWN".into());
    assert_eq!(reason(&status.expect_err("unknown")), expected);
}
