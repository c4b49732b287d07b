//! Promises of rich errors.

use std::io;

use tonic_types::{ErrorDetails, StatusExt as _};

use super::*;

#[test]
fn what_is_built_is_read_back_by_a_client() {
    let status = RichError::new(
        Code::FailedPrecondition,
        "CONNECTOR_DISABLED",
        "it is disabled",
    )
    .outcome(Outcome::NotSent)
    .fixable_by(FixableBy::Admin)
    .metadata("connector", "users/ada/connectors/time")
    .field("connector.url", "must be https")
    .precondition("STATE", "users/ada/connectors/time", "DISABLED")
    .quota("users/ada", "10 connectors")
    .retry_after(Duration::from_millis(250))
    .resource("patchbay/Connector", "users/ada/connectors/time")
    .into_status();
    assert_eq!(
        (status.code(), status.message()),
        (Code::FailedPrecondition, "it is disabled")
    );
    let view = ErrorView::of(&status).expect("ours");
    assert_eq!(view.reason, "CONNECTOR_DISABLED");
    assert_eq!(view.metadata["outcome"], "NOT_SENT");
    assert_eq!(view.metadata["fixable_by"], "ADMIN");
    assert_eq!(view.metadata["connector"], "users/ada/connectors/time");
    assert_eq!(
        view.fields,
        [("connector.url".into(), "must be https".into())]
    );
    assert_eq!(view.preconditions.len(), 1);
    assert_eq!(view.quotas, [("users/ada".into(), "10 connectors".into())]);
    assert_eq!(view.retry_after, Some(Duration::from_millis(250)));
    assert_eq!(view.resource.expect("resource").0, "patchbay/Connector");
}

#[test]
fn at_most_one_detail_of_each_type_is_sent() {
    let status = RichError::invalid_field("a", "one")
        .field("b", "two")
        .into_status();
    let details = status.check_error_details_vec().expect("details");
    assert_eq!(
        details.len(),
        2,
        "one ErrorInfo and one BadRequest: {details:?}"
    );
    assert_eq!(ErrorView::of(&status).expect("ours").fields.len(), 2);
}

#[test]
fn details_fit_into_a_header_however_much_is_put_in() {
    let mut error = RichError::new(Code::InvalidArgument, "FIELD_INVALID", "é".repeat(5_000))
        .outcome(Outcome::NotSent)
        .metadata("name", "é".repeat(5_000))
        .resource("patchbay/Connector", "x".repeat(5_000));
    for index in 0..1_000 {
        let text = format!("{index}{}", "é".repeat(1_000));
        error = error
            .field(&text, &text)
            .quota(&text, &text)
            .precondition(&text, &text, &text);
    }
    let status = error.into_status();
    assert!(
        status.details().len() <= MAX_DETAILS_BYTES,
        "{} bytes",
        status.details().len()
    );
    assert!(status.message().len() <= 512 && status.message().ends_with('…'));
    let view = ErrorView::of(&status).expect("still readable");
    assert_eq!(
        (view.reason.as_str(), view.metadata["outcome"].as_str()),
        ("FIELD_INVALID", "NOT_SENT")
    );
}

#[test]
fn internal_errors_say_a_trace_id_and_nothing_else() {
    let secret = io::Error::other("password is hunter2");
    let built = RichError::new(Code::Internal, "SECRET_UNREADABLE", "hunter2")
        .metadata("sql", "hunter2")
        .resource("patchbay/Connector", "hunter2");
    for status in [
        RichError::internal(&secret).into_status(),
        built.into_status(),
    ] {
        let view = ErrorView::of(&status).expect("ours");
        let trace = &view.metadata["trace_id"];
        assert_eq!(trace.len(), 32);
        assert_eq!(status.message(), format!("internal error, trace {trace}"));
        assert!(!String::from_utf8_lossy(status.details()).contains("hunter2"));
        let only = ErrorView {
            reason: "INTERNAL".into(),
            metadata: [("trace_id".to_owned(), trace.clone())].into(),
            ..ErrorView::default()
        };
        assert_eq!(view, only);
    }
}

#[test]
fn reasons_are_well_formed_and_this_is_all_of_them() {
    let listed: Vec<&str> = Reason::ALL.iter().map(ErrorReason::as_str).collect();
    for reason in &listed {
        assert!(reason.len() <= 63 && reason.bytes().all(|b| b.is_ascii_uppercase() || b == b'_'));
    }
    // Reasons are API: this list may grow and nothing else.
    let published = [
        "UNAUTHENTICATED",
        "METHOD_UNKNOWN",
        "ROLE_NOT_ALLOWED",
        "VERB_NOT_ALLOWED",
        "SCOPE_NOT_ALLOWED",
        "FIELD_INVALID",
        "PAGE_TOKEN_INVALID",
        "OVERLOADED",
        "MESSAGE_TOO_LARGE",
        "DEADLINE_EXCEEDED",
        "SHUTTING_DOWN",
        "STREAM_EXPIRED",
        "PEER_UNAVAILABLE",
        "INTERNAL",
    ];
    assert_eq!(listed, published);
}

#[test]
fn errors_of_others_are_not_taken_for_ours() {
    assert_eq!(ErrorView::of(&Status::unavailable("broken")), None);
    let mut details = ErrorDetails::new();
    details.set_error_info("X_Y", "example.com", std::collections::HashMap::new());
    let foreign = Status::with_error_details(Code::NotFound, "no", details);
    assert_eq!(ErrorView::of(&foreign), None);
    let garbage = Status::with_details(Code::NotFound, "no", vec![0xff; 9].into());
    assert_eq!(ErrorView::of(&garbage), None);
}
