//! Exit codes mean something, and errors say what to do next.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::time::Duration;

use anyhow::anyhow;
use tonic::Code;
use tonic_types::{ErrorDetails, StatusExt as _};

use super::*;

fn not_found() -> Failure {
    let mut details = ErrorDetails::new();
    let metadata = HashMap::from([("outcome".to_owned(), "NOT_SENT".to_owned())]);
    details.set_error_info("CONNECTOR_NOT_FOUND", "patchbay", metadata);
    details.add_bad_request_violation("name", "there is no such connector");
    details.set_retry_info(Some(Duration::from_secs(2)));
    Status::with_error_details(Code::NotFound, "no connector of this name", details).into()
}

#[test]
fn exit_codes_are_those_of_the_help() {
    let code = |code| Failure::from(Status::new(code, "")).code();
    assert_eq!(code(Code::NotFound), 69);
    assert_eq!(code(Code::PermissionDenied), 71);
    assert_eq!(code(Code::FailedPrecondition), 73);
    assert_eq!(code(Code::Unavailable), 78);
    assert_eq!(code(Code::Unauthenticated), 80);
    assert_eq!(Failure::Other(anyhow!("x")).code(), 1);
    assert_eq!(Failure::Usage(String::new()).code(), 2);
    assert_eq!(Failure::Negative.code(), 3);
    assert_eq!(Failure::Configuration(anyhow!("x")).code(), 64);
}

#[test]
fn a_connector_that_did_not_connect_is_a_no_that_says_where_to_look() {
    let connector = "users/ada/connectors/time".to_owned();
    let failure = Failure::NotConnected { connector };
    assert_eq!(failure.code(), 3);
    let text = failure.render(Output::Table);
    assert!(
        text.contains("next: `patchbay session get users/ada/connectors/time`"),
        "{text}"
    );
    assert_eq!(failure.render(Output::Json), "", "the answer says it all");
}

#[test]
fn a_refusal_shows_code_reason_details_and_what_to_do() {
    let text = not_found().render(Output::Table);
    let head = "error: NOT_FOUND (CONNECTOR_NOT_FOUND): no connector of this name\n";
    assert!(text.starts_with(head), "{text}");
    assert!(
        text.contains("\n  name: there is no such connector\n"),
        "{text}"
    );
    assert!(text.contains("\n  outcome: NOT_SENT\n"), "{text}");
    assert!(text.contains("\n  retry after: 2s\n"), "{text}");
    assert!(
        text.contains("\nnext: `patchbay connector list SCOPE`"),
        "{text}"
    );
}

#[test]
fn a_refusal_is_one_line_of_json_for_programs() {
    let text = not_found().render(Output::Json);
    assert_eq!(text.lines().count(), 1);
    let error = &serde_json::from_str::<Value>(&text).unwrap()["error"];
    assert_eq!(error["code"], "NOT_FOUND");
    assert_eq!(error["reason"], "CONNECTOR_NOT_FOUND");
    assert_eq!(error["metadata"]["outcome"], "NOT_SENT");
    assert_eq!(error["fieldViolations"][0]["field"], "name");
    assert_eq!(error["retryAfterSeconds"], 2.0);
    assert!(error["next"].as_str().unwrap().contains("connector list"));
}

#[test]
fn a_missing_suite_says_how_to_start_one() {
    let failure = Failure::from(DataFolderError::NoSuite("/d".into()));
    assert_eq!(failure.code(), 64);
    for output in [Output::Table, Output::Json] {
        let text = failure.render(output);
        assert!(
            text.contains("/d") && text.contains("patchbay up"),
            "{text}"
        );
    }
    let unreachable = Failure::from(Status::unavailable("tcp connect error"));
    assert!(unreachable.render(Output::Table).contains("patchbay up"));
}

#[test]
fn a_server_cannot_drive_the_terminal_by_an_error() {
    let text = Failure::from(Status::internal("\u{1b}[2Jgone")).render(Output::Table);
    assert!(!text.contains('\u{1b}'), "{text:?}");
}

#[test]
fn a_reader_that_went_away_is_told_apart() {
    let broken = std::io::Error::from(ErrorKind::BrokenPipe);
    assert!(Failure::from(broken).is_broken_pipe());
    assert!(!Failure::from(std::io::Error::from(ErrorKind::NotFound)).is_broken_pipe());
    assert!(!not_found().is_broken_pipe());
}

#[test]
fn a_negative_answer_was_said_already() {
    assert_eq!(Failure::Negative.render(Output::Table), "");
}

#[test]
fn what_fails_on_this_machine_says_what_to_do_and_nothing_twice() {
    let io = |kind| {
        let error = std::io::Error::from(kind);
        anyhow::Error::new(error).context("connector-registry did not start")
    };
    for (kind, hint) in [
        (ErrorKind::AddrInUse, "--registry-listen"),
        (ErrorKind::AddrNotAvailable, "127.0.0.1"),
        (ErrorKind::StorageFull, "make room"),
        (ErrorKind::ReadOnlyFilesystem, "--data-dir"),
        (ErrorKind::PermissionDenied, "--data-dir"),
    ] {
        let text = Failure::Other(io(kind)).render(Output::Table);
        let next = text.lines().last().unwrap();
        assert!(next.starts_with("next: ") && next.contains(hint), "{text}");
        let json = Failure::Other(io(kind)).render(Output::Json);
        assert!(json.contains("\"next\""), "{json}");
    }
    let full = anyhow!("(code: 13) database or disk is full");
    let full = full.context("Query Error: (code: 13) database or disk is full");
    let text = Failure::Other(full).render(Output::Table);
    assert_eq!(text.matches("disk is full").count(), 1, "{text}");
    assert!(text.contains("next: make room"), "{text}");
    let damaged = Failure::Other(anyhow!("file is not a database")).render(Output::Table);
    assert!(damaged.contains("backup"), "{damaged}");
}
