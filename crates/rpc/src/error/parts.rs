//! The parts of a rich error, and how they are cut to fit a header.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use tonic::{Code, Status};
use tonic_types::{
    ErrorDetails, FieldViolation, PreconditionViolation, QuotaViolation, StatusExt as _,
};

use super::{DOMAIN, MAX_DETAILS_BYTES};

const MAX_MESSAGE: usize = 512;
const MAX_VALUE: usize = 256;
const MAX_ENTRIES: usize = 16;

#[derive(Debug, Clone)]
pub(super) struct Parts {
    pub(super) code: Code,
    pub(super) reason: &'static str,
    pub(super) message: String,
    pub(super) metadata: BTreeMap<&'static str, String>,
    pub(super) fields: Vec<(String, String)>,
    pub(super) preconditions: Vec<[String; 3]>,
    pub(super) quotas: Vec<(String, String)>,
    pub(super) retry_after: Option<Duration>,
    pub(super) resource: Option<(&'static str, String)>,
}

impl Parts {
    /// The status, with as many entries as fit.
    pub(super) fn into_status(self) -> Status {
        let mut entries = MAX_ENTRIES;
        loop {
            let status = self.encode(entries);
            if status.details().len() <= MAX_DETAILS_BYTES || entries == 0 {
                return status;
            }
            entries /= 2;
        }
    }

    fn encode(&self, entries: usize) -> Status {
        let mut details = ErrorDetails::new();
        // With no room left only the short, fixed keys stay.
        let metadata = self.metadata.iter().filter(|(key, _)| {
            entries > 0 || matches!(**key, "outcome" | "fixable_by" | "trace_id")
        });
        let metadata = metadata
            .take(MAX_ENTRIES)
            .map(|(key, value)| ((*key).to_owned(), cut(value, MAX_VALUE).into_owned()));
        details.set_error_info(self.reason, DOMAIN, metadata.collect::<HashMap<_, _>>());
        let text = |text: &String| cut(text, MAX_VALUE).into_owned();
        let fields: Vec<_> = self
            .fields
            .iter()
            .take(entries)
            .map(|(field, problem)| FieldViolation::new(text(field), text(problem)))
            .collect();
        if !fields.is_empty() {
            details.set_bad_request(fields);
        }
        let preconditions: Vec<_> = self
            .preconditions
            .iter()
            .take(entries)
            .map(|[kind, subject, problem]| {
                PreconditionViolation::new(text(kind), text(subject), text(problem))
            })
            .collect();
        if !preconditions.is_empty() {
            details.set_precondition_failure(preconditions);
        }
        let quotas: Vec<_> = self
            .quotas
            .iter()
            .take(entries)
            .map(|(subject, problem)| QuotaViolation::new(text(subject), text(problem)))
            .collect();
        if !quotas.is_empty() {
            details.set_quota_failure(quotas);
        }
        if let Some(delay) = self.retry_after {
            details.set_retry_info(Some(delay));
        }
        if let Some((resource_type, name)) = &self.resource {
            details.set_resource_info(*resource_type, text(name), "", "");
        }
        Status::with_error_details(self.code, cut(&self.message, MAX_MESSAGE), details)
    }
}

/// The text, cut at a character boundary so that it has at most `max` bytes.
fn cut(text: &str, max: usize) -> Cow<'_, str> {
    const MARK: &str = "…";
    if text.len() <= max {
        return text.into();
    }
    let end = text.floor_char_boundary(max - MARK.len());
    format!("{}{MARK}", &text[..end]).into()
}
