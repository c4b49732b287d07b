//! Promises about statuses.

use rpc::error::ErrorView;
use uuid::Uuid;

use super::*;

const REASONS: [CallReason; 15] = [
    CallReason::ToolNotFound,
    CallReason::DefinitionChanged,
    CallReason::ArgumentsInvalid,
    CallReason::ConnectorDisabled,
    CallReason::ConnectorUnreachable,
    CallReason::AuthRequired,
    CallReason::ScopeStepUp,
    CallReason::UpstreamRateLimited,
    CallReason::UpstreamError,
    CallReason::InteractionUnsupported,
    CallReason::ResultTooLarge,
    CallReason::TooManyCalls,
    CallReason::CallCancelled,
    CallReason::DeadlineExceeded,
    CallReason::OutcomeUnknown,
];

fn connector() -> ConnectorName {
    "users/ada/connectors/time".parse().unwrap()
}

fn status_of(error: CallError) -> (Code, ErrorView) {
    let about = About {
        id: Uuid::from_u128(7),
        connector: connector(),
        tool: "a/b".into(),
        subject: "ada".into(),
    };
    let status = call(&CallFailure::Call(error), &about);
    let view = ErrorView::of(&status).unwrap();
    (status.code(), view)
}

#[test]
fn what_was_sent_and_has_no_answer_is_aborted_whatever_the_reason() {
    for reason in REASONS {
        let (code, view) = status_of(CallError::new(reason, domain::Outcome::SentUnknown));
        assert_eq!(
            (code, view.reason.as_str()),
            (Code::Aborted, "OUTCOME_UNKNOWN")
        );
        assert_eq!(view.metadata["outcome"], "SENT_UNKNOWN");
        assert_eq!(
            view.metadata["invocation_id"],
            Uuid::from_u128(7).to_string()
        );
    }
}

#[test]
fn every_error_of_a_call_says_its_outcome_and_a_published_reason() {
    for reason in REASONS {
        for outcome in [domain::Outcome::NotSent, domain::Outcome::Completed] {
            let (code, view) = status_of(CallError::new(reason, outcome));
            // Clients send what is UNAVAILABLE again by themselves.
            assert!(
                code != Code::Unavailable || outcome == domain::Outcome::NotSent,
                "{reason:?} {outcome:?}"
            );
            assert_eq!(view.metadata["outcome"], outcome.as_str(), "{reason:?}");
            let name = format!("ERROR_REASON_{}", view.reason);
            assert!(pb::ErrorReason::from_str_name(&name).is_some(), "{name}");
        }
    }
}

#[test]
fn a_server_that_refuses_the_arguments_is_told_from_one_that_fails() {
    let upstream = |code| CallError {
        upstream: Some(domain::UpstreamError {
            code,
            message: "no".into(),
            data: None,
        }),
        ..CallError::new(CallReason::UpstreamError, domain::Outcome::Completed)
    };
    let (code, view) = status_of(upstream(-32602));
    assert_eq!(
        (code, view.reason.as_str()),
        (Code::InvalidArgument, "ARGUMENTS_INVALID")
    );
    assert_eq!(view.metadata["outcome"], "COMPLETED");
    let (code, view) = status_of(upstream(-32000));
    assert_eq!(
        (code, view.reason.as_str()),
        (Code::FailedPrecondition, "UPSTREAM_ERROR")
    );
    assert_eq!(view.metadata["upstream_code"], "-32000");
}

#[test]
fn a_missing_connector_says_nothing_that_a_foreign_one_does_not() {
    let missing = lookup(LookupError::NotFound, &connector());
    let foreign: Status =
        RichError::not_found("CONNECTOR_NOT_FOUND", CONNECTOR, &connector().to_string()).into();
    assert_eq!(missing.code(), foreign.code());
    assert_eq!(missing.message(), foreign.message());
    assert_eq!(missing.details(), foreign.details());
}

#[test]
fn a_missing_tool_is_named_as_a_resource() {
    let (code, view) = status_of(CallError::not_sent(CallReason::ToolNotFound));
    assert_eq!(code, Code::NotFound);
    let name = "users/ada/connectors/time/tools/a%2Fb".to_owned();
    assert_eq!(view.resource, Some(("patchbay/Tool".to_owned(), name)));
}
