//! How a denial is told to the caller.

use identity::Denial;
use tonic::Code;

use super::{FixableBy, Outcome, Reason, RichError};

/// The error for a denial. Nothing in it says whether anything exists.
pub(crate) fn denied(denial: &Denial) -> RichError {
    let (code, reason, who) = match denial {
        // One reason and one message for both: a stranger learns nothing about tokens.
        Denial::TokenMissing | Denial::TokenInvalid => (
            Code::Unauthenticated,
            Reason::Unauthenticated,
            FixableBy::User,
        ),
        Denial::MethodUnknown => (
            Code::Unimplemented,
            Reason::MethodUnknown,
            FixableBy::Nobody,
        ),
        Denial::RoleNotAllowed { .. } => (
            Code::PermissionDenied,
            Reason::RoleNotAllowed,
            FixableBy::Operator,
        ),
        Denial::VerbNotAllowed { .. } => (
            Code::PermissionDenied,
            Reason::VerbNotAllowed,
            FixableBy::Admin,
        ),
        Denial::ScopeNotAllowed { .. } => (
            Code::PermissionDenied,
            Reason::ScopeNotAllowed,
            FixableBy::Admin,
        ),
    };
    let message = match denial {
        Denial::TokenMissing | Denial::TokenInvalid => {
            "the call carries no bearer token that is known here".to_owned()
        }
        Denial::MethodUnknown
        | Denial::RoleNotAllowed { .. }
        | Denial::VerbNotAllowed { .. }
        | Denial::ScopeNotAllowed { .. } => denial.to_string(),
    };
    let error = RichError::new(code, reason, message)
        .outcome(Outcome::NotSent)
        .fixable_by(who);
    match denial {
        Denial::TokenMissing | Denial::TokenInvalid | Denial::MethodUnknown => error,
        Denial::RoleNotAllowed { subject, allowed } => {
            let allowed: Vec<&str> = allowed.iter().map(|role| role.as_str()).collect();
            error
                .metadata("subject", subject)
                .metadata("allowed_roles", allowed.join(","))
        }
        Denial::VerbNotAllowed {
            subject,
            verb,
            scope,
        } => error
            .metadata("subject", subject)
            .metadata("verb", verb.as_str())
            .metadata("scope", scope),
        Denial::ScopeNotAllowed { subject, scope } => {
            error.metadata("subject", subject).metadata("scope", scope)
        }
    }
}
