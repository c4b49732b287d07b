//! What a call's span says of its end: the status, recorded once, whenever it becomes known.
//!
//! Both ends of a call use it; they differ in which codes are errors. Not here: making the spans.

use http::HeaderMap;
use telemetry::attributes::{ERROR_TYPE, RPC_STATUS_CODE};
use tonic::{Code, Status};
use tracing::Span;

use crate::error::code_name;

/// Records the status of a call. A call that nobody waited for counts as CANCELLED.
pub(crate) struct Record {
    pub(crate) span: Span,
    is_error: fn(Code) -> bool,
    recorded: bool,
}

impl Record {
    /// For the span of the one who asks: every code but OK is an error.
    pub(crate) fn of_client(span: Span) -> Self {
        Self {
            span,
            is_error: |code| code != Code::Ok,
            recorded: false,
        }
    }

    /// For the span of the one who answers: errors are what is the server's own fault.
    pub(crate) fn of_server(span: Span) -> Self {
        Self {
            span,
            is_error: is_server_fault,
            recorded: false,
        }
    }

    /// Records the status in these headers or trailers, if there is one.
    pub(crate) fn headers(&mut self, headers: &HeaderMap) {
        if let Some(code) = headers.get(Status::GRPC_STATUS) {
            self.code(Code::from_bytes(code.as_bytes()));
        }
    }

    /// Records a status, if it is the first.
    pub(crate) fn code(&mut self, code: Code) {
        if self.recorded {
            return;
        }
        self.recorded = true;
        self.span.record(RPC_STATUS_CODE, code_name(code));
        if (self.is_error)(code) {
            self.span.record(ERROR_TYPE, code_name(code));
        }
        self.span
            .in_scope(|| tracing::debug!(code = code_name(code), "ended"));
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.code(Code::Cancelled);
    }
}

/// The codes that count as errors of the server, by the RPC conventions.
fn is_server_fault(code: Code) -> bool {
    matches!(
        code,
        Code::Unknown
            | Code::DeadlineExceeded
            | Code::Unimplemented
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss
    )
}
