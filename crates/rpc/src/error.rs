//! Rich errors: a code, a reason programs can match on, and what would fix it.
//!
//! The invariants: every error has an `ErrorInfo` of domain `patchbay`; at most one detail of each
//! type; all details together stay under 4 KiB, because peers limit header lists to 16 KiB; and
//! INTERNAL says a trace id and nothing else.
//!
//! Not here: the mapping from a service's errors (each has its own `grpc/status.rs`).

mod code;
mod denial;
mod parts;
mod reason;
mod view;

use std::{collections::BTreeMap, time::Duration};

use telemetry::TraceContext;
use tonic::{Code, Status};

pub use code::code_name;
pub(crate) use denial::denied;
use parts::Parts;
pub use reason::{ErrorReason, Reason};
pub use view::ErrorView;

/// The `domain` of every `ErrorInfo`.
pub const DOMAIN: &str = "patchbay";

/// Upper bound of `grpc-status-details-bin`, before base64.
pub const MAX_DETAILS_BYTES: usize = 4 * 1024;

/// What became of the work that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing was done; it is safe to ask again.
    NotSent,
    /// It may or may not have been done.
    SentUnknown,
    /// It was done, the answer could not be given.
    Completed,
}

/// Who can do something about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FixableBy {
    /// The caller's user.
    User,
    /// Whoever manages the scope.
    Admin,
    /// Whoever runs the installation.
    Operator,
    /// Nobody: wait, or give up.
    Nobody,
}

/// An error on its way to becoming a [`Status`].
#[derive(Debug, Clone)]
#[must_use]
pub struct RichError(Box<Parts>);

impl RichError {
    /// An error with a reason from the package's `ErrorReason` enum and a message for people.
    ///
    /// Never put secrets, SQL or addresses of other tenants into the message. For our own bugs use
    /// [`RichError::internal`]: `Code::Internal` and `Code::Unknown` drop message and details.
    pub fn new(code: Code, reason: impl ErrorReason, message: impl Into<String>) -> Self {
        Self(Box::new(Parts {
            code,
            reason: reason.as_str(),
            message: message.into(),
            metadata: BTreeMap::new(),
            fields: Vec::new(),
            preconditions: Vec::new(),
            quotas: Vec::new(),
            retry_after: None,
            resource: None,
        }))
    }

    /// NOT_FOUND of a resource that is missing, or that the caller must not know of: the one
    /// place that makes both, so that they cannot be told apart.
    pub fn not_found(reason: impl ErrorReason, resource_type: &'static str, name: &str) -> Self {
        Self::new(Code::NotFound, reason, format!("{name} does not exist"))
            .resource(resource_type, name)
            .fixable_by(FixableBy::User)
    }

    /// INVALID_ARGUMENT of one field. Add more with [`RichError::field`].
    pub fn invalid_field(field: impl Into<String>, problem: impl Into<String>) -> Self {
        let (field, problem) = (field.into(), problem.into());
        Self::new(
            Code::InvalidArgument,
            Reason::FieldInvalid,
            format!("{field}: {problem}"),
        )
        .field(field, problem)
        .fixable_by(FixableBy::User)
    }

    /// INTERNAL: our bug. The error and its sources are logged here, with the trace id that is all
    /// the caller gets.
    pub fn internal(error: &(dyn std::error::Error + 'static)) -> Self {
        let trace = TraceContext::current().unwrap_or_else(TraceContext::random);
        let mut sources = Vec::new();
        let mut source = error.source();
        while let Some(error) = source {
            sources.push(error.to_string());
            source = error.source();
        }
        tracing::error!(trace_id = %trace, %error, ?sources, "internal error");
        Self::internal_in(trace)
    }

    /// INTERNAL with the id of the trace under which the cause was logged.
    pub(crate) fn internal_in(trace: TraceContext) -> Self {
        let message = format!("internal error, trace {trace}");
        Self::new(Code::Internal, Reason::Internal, message).metadata("trace_id", trace.to_string())
    }

    /// Adds a value to `ErrorInfo`'s metadata. Keys are lower case words with underscores.
    pub fn metadata(mut self, key: &'static str, value: impl Into<String>) -> Self {
        self.0.metadata.insert(key, value.into());
        self
    }

    /// Says what became of the work.
    pub fn outcome(self, outcome: Outcome) -> Self {
        let outcome = match outcome {
            Outcome::NotSent => "NOT_SENT",
            Outcome::SentUnknown => "SENT_UNKNOWN",
            Outcome::Completed => "COMPLETED",
        };
        self.metadata("outcome", outcome)
    }

    /// Says who can do something about it.
    pub fn fixable_by(self, who: FixableBy) -> Self {
        let who = match who {
            FixableBy::User => "USER",
            FixableBy::Admin => "ADMIN",
            FixableBy::Operator => "OPERATOR",
            FixableBy::Nobody => "NOBODY",
        };
        self.metadata("fixable_by", who)
    }

    /// Adds a field violation (`BadRequest`): the field's path in the request and what is wrong.
    pub fn field(mut self, field: impl Into<String>, problem: impl Into<String>) -> Self {
        self.0.fields.push((field.into(), problem.into()));
        self
    }

    /// Adds a `PreconditionFailure`: its kind, the subject that is in the wrong state, and why.
    pub fn precondition(
        mut self,
        kind: impl Into<String>,
        subject: impl Into<String>,
        problem: impl Into<String>,
    ) -> Self {
        self.0
            .preconditions
            .push([kind.into(), subject.into(), problem.into()]);
        self
    }

    /// Adds a `QuotaFailure`: whose quota, and which limit was hit.
    pub fn quota(mut self, subject: impl Into<String>, problem: impl Into<String>) -> Self {
        self.0.quotas.push((subject.into(), problem.into()));
        self
    }

    /// Says when asking again makes sense (`RetryInfo`).
    pub fn retry_after(mut self, delay: Duration) -> Self {
        self.0.retry_after = Some(delay);
        self
    }

    /// Names the resource it is about (`ResourceInfo`).
    pub fn resource(mut self, resource_type: &'static str, name: impl Into<String>) -> Self {
        self.0.resource = Some((resource_type, name.into()));
        self
    }

    /// The status, its details cut to fit [`MAX_DETAILS_BYTES`].
    #[must_use]
    pub fn into_status(mut self) -> Status {
        if matches!(self.0.code, Code::Internal | Code::Unknown)
            && self.0.reason != Reason::Internal.as_str()
        {
            tracing::error!(
                reason = self.0.reason,
                message = self.0.message,
                "internal error"
            );
            self = Self::internal_in(TraceContext::current().unwrap_or_else(TraceContext::random));
        }
        self.0.into_status()
    }
}

impl From<RichError> for Status {
    fn from(error: RichError) -> Self {
        error.into_status()
    }
}

#[cfg(test)]
mod tests;
