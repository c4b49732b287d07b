//! The published contract of errors, read from the descriptors: each reason's comment begins with its code.

use std::collections::BTreeMap;

use prost_reflect::{DescriptorPool, EnumDescriptor};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::clients::text_of;

/// Every reason of every package with the code that its comment promises.
#[must_use]
pub fn published_reasons() -> BTreeMap<String, Vec<Code>> {
    let pool = DescriptorPool::decode(contracts::FILE_DESCRIPTOR_SET).unwrap();
    let mut found: BTreeMap<String, Vec<Code>> = BTreeMap::new();
    for reasons in pool.all_enums().filter(|one| one.name() == "ErrorReason") {
        for value in reasons.values().filter(|value| value.number() != 0) {
            let name = value.name().trim_start_matches("ERROR_REASON_").to_owned();
            let comment = comment(&reasons, value.path());
            let code = comment.split(':').next().unwrap_or_default();
            let code = code_named(code)
                .unwrap_or_else(|| panic!("{name}: its comment begins with no code: {comment}"));
            let codes = found.entry(name).or_default();
            if !codes.contains(&code) {
                codes.push(code);
            }
        }
    }
    found
}

/// Panics unless an error is one that the protos publish, with its code and its details in order.
///
/// # Panics
/// When it is not.
#[track_caller]
pub fn keeps_contract(status: &Status) {
    let text = text_of(status);
    let details = status.get_error_details();
    let info = details
        .error_info()
        .unwrap_or_else(|| panic!("no ErrorInfo: {text}"));
    assert_eq!(info.domain, "patchbay", "{text}");
    let published = published_reasons();
    let codes = published
        .get(&info.reason)
        .unwrap_or_else(|| panic!("the reason {} is published nowhere: {text}", info.reason));
    assert!(
        codes.contains(&status.code()),
        "{} promises {codes:?}: {text}",
        info.reason
    );
    assert!(status.details().len() < 4096, "too many details: {text}");
    let vector = status.get_error_details_vec();
    let mut kinds: Vec<_> = vector.iter().map(std::mem::discriminant).collect();
    let all = kinds.len();
    kinds.dedup();
    assert_eq!(kinds.len(), all, "one detail of each type at most: {text}");
    match status.code() {
        Code::InvalidArgument if info.reason == "FIELD_INVALID" => {
            assert!(details.bad_request().is_some(), "no field is named: {text}");
        }
        Code::NotFound => assert!(details.resource_info().is_some(), "no resource: {text}"),
        Code::ResourceExhausted if info.reason == "QUOTA_EXCEEDED" => {
            assert!(details.quota_failure().is_some(), "no quota: {text}");
        }
        _ => {}
    }
}

/// The comment above an enum value.
fn comment(of: &EnumDescriptor, path: &[i32]) -> String {
    let file = of.parent_file();
    let source = file.file_descriptor_proto().source_code_info.as_ref();
    let locations = source
        .map(|info| info.location.as_slice())
        .unwrap_or_default();
    let location = locations.iter().find(|location| location.path == path);
    location
        .and_then(|one| one.leading_comments.clone())
        .unwrap_or_default()
        .trim()
        .to_owned()
}

fn code_named(name: &str) -> Option<Code> {
    let code = match name {
        "CANCELLED" => Code::Cancelled,
        "INVALID_ARGUMENT" => Code::InvalidArgument,
        "DEADLINE_EXCEEDED" => Code::DeadlineExceeded,
        "NOT_FOUND" => Code::NotFound,
        "ALREADY_EXISTS" => Code::AlreadyExists,
        "PERMISSION_DENIED" => Code::PermissionDenied,
        "RESOURCE_EXHAUSTED" => Code::ResourceExhausted,
        "FAILED_PRECONDITION" => Code::FailedPrecondition,
        "ABORTED" => Code::Aborted,
        "OUT_OF_RANGE" => Code::OutOfRange,
        "UNIMPLEMENTED" => Code::Unimplemented,
        "INTERNAL" => Code::Internal,
        "UNAVAILABLE" => Code::Unavailable,
        "DATA_LOSS" => Code::DataLoss,
        "UNAUTHENTICATED" => Code::Unauthenticated,
        _ => return None,
    };
    Some(code)
}
