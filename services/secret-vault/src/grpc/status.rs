//! The one place where the vault's errors become statuses. No wildcard: a new error has to be thought about.
//!
//! Every cryptographic cause has one reason here; which one it was stands in the audit alone.

use std::time::Duration;

use contracts::vault::v1::ErrorReason as Reason;
use rpc::error::{FixableBy, Outcome, RichError};
use tonic::{Code, Status};

use crate::domain::Invalid;
use crate::vault::Error;

/// The type of a secret in `google.rpc.ResourceInfo`, as the method table has it for foreign secrets.
const SECRET: &str = "patchbay/Secret";

/// The status of `error`; `name` is the secret that was asked for, where there is one.
pub(super) fn status(error: Error, name: &str) -> Status {
    rich(error, name).into_status()
}

/// The status of a field that breaks a rule.
pub(super) fn invalid(invalid: Invalid) -> Status {
    let Invalid { field, rule } = invalid;
    RichError::invalid_field(field, rule).into_status()
}

fn rich(error: Error, name: &str) -> RichError {
    let text = error.to_string();
    let new = |code, why: Reason| RichError::new(code, reason(why), text.clone());
    match error {
        Error::Invalid(Invalid { field, rule }) => RichError::invalid_field(field, rule),
        Error::SecretNotFound => RichError::not_found(reason(Reason::SecretNotFound), SECRET, name),
        Error::RequestIdReused => new(Code::AlreadyExists, Reason::RequestIdReused)
            .field("request_id", "was used for another request")
            .fixable_by(FixableBy::User),
        Error::NeedsRebind => new(Code::FailedPrecondition, Reason::SecretNeedsRebind)
            .precondition(
                "DESTINATION",
                name,
                "enter the values again for this destination",
            )
            .fixable_by(FixableBy::User),
        Error::GrantNotFound => new(Code::NotFound, Reason::GrantNotFound)
            .outcome(Outcome::NotSent)
            .fixable_by(FixableBy::Nobody),
        Error::LeaseNotFound => {
            new(Code::NotFound, Reason::LeaseNotFound).fixable_by(FixableBy::Nobody)
        }
        Error::RateExceeded { retry_after } => {
            new(Code::ResourceExhausted, Reason::GrantRateExceeded)
                .quota("grants", "too many in too short a time")
                .retry_after(retry_after)
                .fixable_by(FixableBy::Nobody)
        }
        Error::Overloaded => new(Code::ResourceExhausted, Reason::Overloaded)
            .quota("writes", "too many are waiting")
            .retry_after(Duration::from_millis(200))
            .fixable_by(FixableBy::Nobody),
        Error::Unreadable { reason: _, at: _ } => {
            new(Code::DataLoss, Reason::SecretUnreadable).fixable_by(FixableBy::Operator)
        }
        Error::Contention(_) => new(Code::Aborted, Reason::ConcurrentWrite)
            .retry_after(Duration::from_millis(50))
            .fixable_by(FixableBy::Nobody),
        Error::Unavailable(cause) => {
            tracing::warn!(error = ?cause, "the database is unavailable");
            new(Code::Unavailable, Reason::DatabaseUnavailable)
                .retry_after(Duration::from_secs(1))
                .fixable_by(FixableBy::Operator)
        }
        Error::Stopping => new(Code::Unavailable, Reason::ShuttingDown)
            .outcome(Outcome::NotSent)
            .fixable_by(FixableBy::Nobody),
        error @ (Error::Internal(_) | Error::Sealing) => RichError::internal(&error),
    }
}

fn reason(reason: Reason) -> &'static str {
    reason.as_str_name().trim_start_matches("ERROR_REASON_")
}

#[cfg(test)]
mod tests {
    use rpc::error::ErrorView;

    use super::*;
    use crate::domain;

    #[test]
    fn every_cryptographic_cause_looks_alike() {
        let reasons = [
            domain::Reason::EnvelopeAltered,
            domain::Reason::KeyForeign,
            domain::Reason::HeadAltered,
        ];
        for reason in reasons {
            let status = status(
                Error::Unreadable { reason, at: None },
                "users/ada/secrets/x",
            );
            assert_eq!(status.code(), Code::DataLoss);
            assert_eq!(status.message(), "the secret cannot be read");
            let view = ErrorView::of(&status).unwrap();
            assert_eq!(view.reason, "SECRET_UNREADABLE");
            assert!(!format!("{view:?} {status:?}").contains(reason.as_str()));
        }
    }

    #[test]
    fn codes_follow_the_contract() {
        let cases = [
            (Error::SecretNotFound, Code::NotFound, "SECRET_NOT_FOUND"),
            (
                Error::RequestIdReused,
                Code::AlreadyExists,
                "REQUEST_ID_REUSED",
            ),
            (
                Error::NeedsRebind,
                Code::FailedPrecondition,
                "SECRET_NEEDS_REBIND",
            ),
            (Error::GrantNotFound, Code::NotFound, "GRANT_NOT_FOUND"),
            (Error::LeaseNotFound, Code::NotFound, "LEASE_NOT_FOUND"),
            (Error::Overloaded, Code::ResourceExhausted, "OVERLOADED"),
            (Error::Stopping, Code::Unavailable, "SHUTTING_DOWN"),
            (Error::Sealing, Code::Internal, "INTERNAL"),
            (
                Error::RateExceeded {
                    retry_after: Duration::from_secs(1),
                },
                Code::ResourceExhausted,
                "GRANT_RATE_EXCEEDED",
            ),
        ];
        for (error, code, reason) in cases {
            let status = status(error, "users/ada/secrets/x");
            assert_eq!(
                (
                    status.code(),
                    ErrorView::of(&status).unwrap().reason.as_str()
                ),
                (code, reason)
            );
        }
    }
}
