//! What transports say when a connection breaks, put into the codes that gRPC has for it.
//!
//! tonic says UNKNOWN, CANCELLED or INTERNAL, by the way it broke. Here it is UNAVAILABLE. Errors
//! that a server *answered* never come this way.

use std::error::Error;

use tonic::{Code, ConnectError, Status, TimeoutExpired};

use crate::error::{FixableBy, Outcome, Reason, RichError};

/// The status for a call that failed below gRPC.
pub(super) fn broken(error: Box<dyn Error + Send + Sync>) -> Status {
    if has_source::<TimeoutExpired>(&*error) {
        return expired("own");
    }
    let connected = !has_source::<ConnectError>(&*error);
    let status = Status::from_error(error);
    match status.code() {
        // The peer, or the connection, is gone; tonic's word for it depends on the frame it saw.
        Code::Unknown | Code::Cancelled | Code::Internal | Code::Unavailable => {
            let outcome = if connected {
                Outcome::SentUnknown
            } else {
                Outcome::NotSent
            };
            let message = format!("the peer cannot be reached: {}", innermost(&status));
            RichError::new(Code::Unavailable, Reason::PeerUnavailable, message)
                .outcome(outcome)
                .fixable_by(FixableBy::Operator)
                .into()
        }
        _ => status,
    }
}

/// The status for a call whose deadline has passed at this end.
pub(super) fn expired(limit: &'static str) -> Status {
    let message = format!("the deadline has passed before the peer answered ({limit} limit)");
    RichError::new(Code::DeadlineExceeded, Reason::DeadlineExceeded, message)
        .metadata("limit", limit)
        .outcome(Outcome::SentUnknown)
        .into()
}

fn has_source<E: Error + 'static>(error: &(dyn Error + 'static)) -> bool {
    error.is::<E>() || error.source().is_some_and(has_source::<E>)
}

fn innermost(status: &Status) -> String {
    let mut deepest = None;
    let mut source = status.source();
    while let Some(error) = source {
        deepest = Some(error);
        source = error.source();
    }
    deepest.map_or_else(|| status.message().to_owned(), ToString::to_string)
}
