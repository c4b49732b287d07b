//! Rich errors as a client reads them.

use std::{collections::BTreeMap, time::Duration};

use tonic::Status;
use tonic_types::StatusExt as _;

use super::DOMAIN;

/// What one of our errors says, for programs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ErrorView {
    /// The reason, `CONNECTOR_NOT_FOUND`.
    pub reason: String,
    /// `outcome`, `fixable_by` and whatever else the error says.
    pub metadata: BTreeMap<String, String>,
    /// Field violations: path and problem.
    pub fields: Vec<(String, String)>,
    /// Preconditions that did not hold: kind, subject, problem.
    pub preconditions: Vec<(String, String, String)>,
    /// Quotas that were hit: subject and problem.
    pub quotas: Vec<(String, String)>,
    /// When asking again makes sense.
    pub retry_after: Option<Duration>,
    /// The resource it is about: type and name.
    pub resource: Option<(String, String)>,
}

impl ErrorView {
    /// Reads a status. `None` if it is not one of ours, for example a broken connection.
    #[must_use]
    pub fn of(status: &Status) -> Option<Self> {
        let details = status.check_error_details().ok()?;
        let info = details.error_info().filter(|info| info.domain == DOMAIN)?;
        let pairs =
            |field: &tonic_types::FieldViolation| (field.field.clone(), field.description.clone());
        let fields = details
            .bad_request()
            .map(|bad| bad.field_violations.iter().map(pairs).collect());
        let triples = |violation: &tonic_types::PreconditionViolation| {
            (
                violation.r#type.clone(),
                violation.subject.clone(),
                violation.description.clone(),
            )
        };
        let preconditions = details
            .precondition_failure()
            .map(|failure| failure.violations.iter().map(triples).collect());
        let quota = |violation: &tonic_types::QuotaViolation| {
            (violation.subject.clone(), violation.description.clone())
        };
        let quotas = details
            .quota_failure()
            .map(|failure| failure.violations.iter().map(quota).collect());
        let resource = details.resource_info();
        Some(Self {
            reason: info.reason.clone(),
            metadata: info.metadata.clone().into_iter().collect(),
            fields: fields.unwrap_or_default(),
            preconditions: preconditions.unwrap_or_default(),
            quotas: quotas.unwrap_or_default(),
            retry_after: details.retry_info().and_then(|info| info.retry_delay),
            resource: resource.map(|info| (info.resource_type.clone(), info.resource_name.clone())),
        })
    }

    /// The reason of a status, if it is one of ours.
    #[must_use]
    pub fn reason_of(status: &Status) -> Option<String> {
        Self::of(status).map(|view| view.reason)
    }
}
