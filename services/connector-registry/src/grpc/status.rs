//! Errors as the protocol tells them: the one place that makes a `Status`.
//!
//! Invariant: every error of a use case is named here; none falls through. Texts never hold what a caller sent, but for
//! names of connectors and scopes.

use std::time::Duration;

use contracts::registry::v1::ErrorReason;
use names::{ConnectorName, ScopeName};
use rpc::error::{FixableBy, Outcome, RichError};
use tonic::{Code, Status};

use crate::{
    domain::{
        lease::Refused,
        spec::SecretField,
        violation::{Violation, Violations},
    },
    error::Error,
    upstream::vault,
};

const CONNECTOR: &str = "patchbay/Connector";
/// When asking again makes sense after a peer or the database failed.
const RETRY: Duration = Duration::from_secs(1);

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        rich(&error).into_status()
    }
}

impl From<Violations> for Status {
    fn from(violations: Violations) -> Self {
        Error::from(violations).into()
    }
}

fn rich(error: &Error) -> RichError {
    match error {
        Error::Invalid(violations) => invalid(violations),
        Error::NotFound(name) => RichError::not_found(
            reason(ErrorReason::ConnectorNotFound),
            CONNECTOR,
            &name.to_string(),
        ),
        Error::Exists(name) => new(
            Code::AlreadyExists,
            ErrorReason::ConnectorExists,
            format!("{name} exists"),
        )
        .resource(CONNECTOR, name.to_string())
        .fixable_by(FixableBy::User),
        Error::EtagMismatch(name) => stale(
            name,
            "the etag is not the current one; read again and retry",
        ),
        Error::Conflict(name) => stale(
            name,
            "its secrets were changed at the same time; read again and retry",
        ),
        Error::RequestReused => request_reused(),
        Error::Quota { scope, limit } => over_quota(scope, *limit),
        Error::Policy { field, refusal } => policy_denied(field, *refusal),
        Error::Unresumable(unresumable) => new(
            Code::OutOfRange,
            ErrorReason::ResumeTokenExpired,
            format!("{unresumable}; start over without it"),
        )
        .fixable_by(FixableBy::User),
        Error::Lease(refused) => lease(*refused),
        Error::NeedsRebind { connector, fields } => needs_rebind(connector, fields),
        Error::Vault(error) => vault_failed(error),
        Error::GivenUp => unavailable(
            ErrorReason::VaultUnavailable,
            "sealing the secrets took too long",
        ),
        Error::Interrupted | Error::Draining => stopping(),
        Error::TooManyWaits => new(
            Code::ResourceExhausted,
            ErrorReason::Overloaded,
            "as many callers wait for connectors as may; ask again",
        )
        .outcome(Outcome::NotSent)
        .retry_after(RETRY)
        .fixable_by(FixableBy::Nobody),
        Error::DatabaseUnavailable(error) => {
            tracing::warn!(%error, "the database did not do its part");
            unavailable(
                ErrorReason::DatabaseUnavailable,
                "the database cannot be reached or is too busy",
            )
        }
        Error::Internal(error) => RichError::internal(error),
    }
}

fn invalid(violations: &Violations) -> RichError {
    let mut all = violations.as_slice().iter();
    let first = all
        .next()
        .map(|Violation { field, description }| RichError::invalid_field(field, description));
    let first = first.unwrap_or_else(|| RichError::invalid_field("", "the request is not valid"));
    all.fold(first, |error, Violation { field, description }| {
        error.field(field, description)
    })
}

fn over_quota(scope: &ScopeName, limit: u32) -> RichError {
    new(
        Code::ResourceExhausted,
        ErrorReason::QuotaExceeded,
        format!("{scope} may have {limit} connectors and has them"),
    )
    .quota(scope.to_string(), format!("at most {limit} connectors"))
    .metadata("scope", scope.to_string())
    .metadata("limit", limit.to_string())
    .fixable_by(FixableBy::User)
}

fn needs_rebind(connector: &ConnectorName, fields: &[SecretField]) -> RichError {
    let error = new(
        Code::FailedPrecondition,
        ErrorReason::SecretNeedsRebind,
        "the destination changed since secrets were entered; set all of them again",
    );
    let kind = reason(ErrorReason::SecretNeedsRebind);
    fields
        .iter()
        .fold(error, |error, field| {
            let subject = format!("{connector} {}", field.name);
            error.precondition(kind, subject, "was entered for elsewhere")
        })
        .metadata("connector", connector.to_string())
        .fixable_by(FixableBy::User)
}

fn policy_denied(field: &str, refusal: policy::Refusal) -> RichError {
    if refusal.is_invalid() {
        return RichError::invalid_field(field, refusal.message());
    }
    new(
        Code::FailedPrecondition,
        ErrorReason::PolicyDenied,
        refusal.message(),
    )
    .precondition(reason(ErrorReason::PolicyDenied), field, refusal.message())
    .fixable_by(FixableBy::Operator)
}

fn lease(refused: Refused) -> RichError {
    match refused {
        Refused::Held => new(
            Code::FailedPrecondition,
            ErrorReason::LeaseHeld,
            "another runtime instance holds the sessions and is alive",
        )
        .precondition(
            reason(ErrorReason::LeaseHeld),
            "runtime",
            "is another instance",
        )
        .fixable_by(FixableBy::Nobody),
        Refused::Lost => new(
            Code::FailedPrecondition,
            ErrorReason::LeaseLost,
            "this instance and epoch do not hold the sessions; stop them and ask for an epoch",
        )
        .precondition(
            reason(ErrorReason::LeaseLost),
            "runtime",
            "holds the sessions no more",
        )
        .fixable_by(FixableBy::Nobody),
    }
}

fn vault_failed(error: &vault::Error) -> RichError {
    match error {
        vault::Error::Unavailable(source) => {
            tracing::warn!(code = ?source.code(), "the vault did not do its part");
            unavailable(
                ErrorReason::VaultUnavailable,
                "the secret vault cannot be reached or has too much to do",
            )
            // Values are referred to only after the vault has taken them: nothing has changed.
            .outcome(Outcome::NotSent)
        }
        vault::Error::TimedOut(source) => {
            tracing::warn!(code = ?source.code(), "the vault did not answer in time");
            unavailable(
                ErrorReason::VaultUnavailable,
                "the secret vault did not answer in time",
            )
        }
        vault::Error::Conflict => unavailable(
            ErrorReason::VaultUnavailable,
            "the same secret was being written by another call",
        ),
        vault::Error::RequestReused => request_reused(),
        vault::Error::NeedsRebind => new(
            Code::FailedPrecondition,
            ErrorReason::SecretNeedsRebind,
            "the destination changed since secrets were entered; set all of them again",
        )
        .fixable_by(FixableBy::User),
        vault::Error::Unreadable => new(
            Code::DataLoss,
            ErrorReason::SecretUnreadable,
            "a secret of the connector cannot be read",
        )
        .fixable_by(FixableBy::Operator),
        vault::Error::NotFound | vault::Error::Refused(_) | vault::Error::Nonsense => {
            RichError::internal(error)
        }
    }
}

fn stale(name: &ConnectorName, problem: &str) -> RichError {
    new(
        Code::Aborted,
        ErrorReason::EtagMismatch,
        format!("{name}: {problem}"),
    )
    .precondition(reason(ErrorReason::EtagMismatch), name.to_string(), problem)
    .fixable_by(FixableBy::User)
}

fn request_reused() -> RichError {
    new(
        Code::AlreadyExists,
        ErrorReason::RequestIdReused,
        "the request id was used for another request",
    )
    .field("request_id", "was used for another request; take a new one")
    .fixable_by(FixableBy::User)
}

/// Says nothing of the outcome: a transaction whose commit was not answered may have happened.
fn unavailable(why: ErrorReason, message: &str) -> RichError {
    new(Code::Unavailable, why, message)
        .retry_after(RETRY)
        .fixable_by(FixableBy::Operator)
}

/// A watcher that did not read on.
pub(super) fn too_slow() -> Status {
    new(
        Code::ResourceExhausted,
        ErrorReason::WatcherTooSlow,
        "the watcher reads too slowly; go on from the last resume token it saw",
    )
    .fixable_by(FixableBy::User)
    .into_status()
}

/// A stream that ends because the server does.
pub(super) fn shutting_down() -> Status {
    stopping().into_status()
}

fn stopping() -> RichError {
    new(
        Code::Unavailable,
        ErrorReason::ShuttingDown,
        "the service is shutting down; connect again",
    )
    .retry_after(RETRY)
    .fixable_by(FixableBy::Nobody)
}

fn new(code: Code, why: ErrorReason, message: impl Into<String>) -> RichError {
    RichError::new(code, reason(why), message)
}

/// The reason as it stands in `ErrorInfo`.
fn reason(reason: ErrorReason) -> &'static str {
    let name = reason.as_str_name();
    name.strip_prefix("ERROR_REASON_").unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use rpc::error::ErrorView;

    use super::*;
    use crate::domain::violation::Findings;

    #[test]
    fn all_violations_are_told_together() {
        let mut findings = Findings::under("connector");
        findings.add("a", "is bad");
        findings.add("b", "is worse");
        let status: Status = findings.finish(()).expect_err("two").into();
        assert_eq!(status.code(), Code::InvalidArgument);
        let view = ErrorView::of(&status).expect("ours");
        let fields: Vec<_> = view
            .fields
            .iter()
            .map(|(field, _)| field.as_str())
            .collect();
        assert_eq!(
            (view.reason.as_str(), fields),
            ("FIELD_INVALID", vec!["connector.a", "connector.b"])
        );
    }

    #[test]
    fn a_quota_says_whose_and_how_much() {
        let scope = "users/ada".parse().expect("scope");
        let status: Status = Error::Quota { scope, limit: 10 }.into();
        assert_eq!(status.code(), Code::ResourceExhausted);
        let view = ErrorView::of(&status).expect("ours");
        assert_eq!(view.reason, "QUOTA_EXCEEDED");
        assert_eq!(
            view.quotas,
            [("users/ada".to_owned(), "at most 10 connectors".to_owned())]
        );
    }

    #[test]
    fn the_vaults_own_words_stay_here() {
        let status = Status::unavailable("postgres://secret@host");
        let told: Status = Error::Vault(vault::Error::Unavailable(status)).into();
        assert_eq!(told.code(), Code::Unavailable);
        assert!(!format!("{told:?}").contains("secret@host"));
        let refused = Error::Vault(vault::Error::Refused(Status::permission_denied("x")));
        assert_eq!(Status::from(refused).code(), Code::Internal);
    }

    #[test]
    fn not_sent_is_said_only_where_it_is_proved() {
        let outcome = |error: Error| {
            let view = ErrorView::of(&error.into()).expect("ours");
            view.metadata.get("outcome").cloned()
        };
        let status = || Status::unavailable("x");
        let unreached = Error::Vault(vault::Error::Unavailable(status()));
        assert_eq!(outcome(unreached).as_deref(), Some("NOT_SENT"));
        assert_eq!(outcome(Error::TooManyWaits).as_deref(), Some("NOT_SENT"));
        for error in [
            Error::Vault(vault::Error::TimedOut(status())),
            Error::Vault(vault::Error::Conflict),
            Error::GivenUp,
            Error::Interrupted,
        ] {
            let text = error.to_string();
            assert_eq!(outcome(error), None, "{text}");
        }
    }
}
