//! Messages to domain values and back. Every message is taken apart whole, so that a new field breaks the build here.

mod incoming;
mod outgoing;
mod report;

pub(super) use self::{
    incoming::{
        connector_name, create_request, draft, duration, list_request, parse_name, resume_token,
        secrets_request, selection, tool_detail, tool_scope,
    },
    outgoing::{deleted, full, resolved, scope, timestamp, tool, without_status},
    report::{observed, runtime},
};
