//! What can go wrong on the way out, told apart by the chain of causes and never by text.
//!
//! Invariant: messages are static; no URL, header or body of a peer is repeated.

use std::{error::Error as StdError, io};

use policy::Refusal;

/// An outbound request failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The policy forbids the URL or an address behind it.
    #[error("{0}")]
    Denied(Refusal),
    /// The host name did not resolve.
    #[error("the host name could not be resolved")]
    Dns,
    /// No connection was made.
    #[error("no connection could be made")]
    Connect,
    /// The TLS handshake failed.
    #[error("TLS could not be established")]
    Tls,
    /// No connection was made in time.
    #[error("no connection could be made in time")]
    ConnectTimeout,
    /// The peer fell silent after the request had been sent.
    #[error("the server did not answer in time")]
    Timeout,
    /// The connection broke after the request had been sent.
    #[error("the connection broke")]
    Broken,
    /// A body was longer than its cap.
    #[error("the answer is over the size limit")]
    TooLarge,
    /// A redirect that may not be followed.
    #[error("the redirect may not be followed")]
    RedirectRefused,
    /// The client or the request could not be built.
    #[error("the request could not be built")]
    Request,
}

impl Error {
    /// Whether it is certain that the peer received nothing of the request.
    #[must_use]
    pub const fn is_before_request(self) -> bool {
        match self {
            Self::Denied(_)
            | Self::Dns
            | Self::Connect
            | Self::Tls
            | Self::ConnectTimeout
            | Self::Request => true,
            Self::Timeout | Self::Broken | Self::TooLarge | Self::RedirectRefused => false,
        }
    }
}

/// The resolver's own error, found again inside reqwest's.
#[derive(Debug, Clone, Copy, thiserror::Error)]
pub(crate) enum ResolveError {
    #[error("an address of the host is forbidden")]
    Denied(Refusal),
    #[error("the host has no address")]
    Failed,
    #[error("the name service did not answer in time")]
    TimedOut,
}

impl From<reqwest::Error> for Error {
    fn from(error: reqwest::Error) -> Self {
        if error.is_builder() {
            return Self::Request;
        }
        let connecting = error.is_connect();
        let mut timed_out = false;
        let mut cause: Option<&(dyn StdError + 'static)> = Some(&error);
        while let Some(current) = cause {
            if let Some(resolve) = current.downcast_ref::<ResolveError>() {
                return match resolve {
                    ResolveError::Denied(refusal) => Self::Denied(*refusal),
                    ResolveError::Failed => Self::Dns,
                    ResolveError::TimedOut => Self::ConnectTimeout,
                };
            }
            if current.is::<rustls::Error>() {
                return if connecting { Self::Tls } else { Self::Broken };
            }
            if let Some(io) = current.downcast_ref::<io::Error>() {
                if connecting && wraps_tls(io) {
                    return Self::Tls;
                }
                // rustls reports a peer that hangs up during the handshake this way; plain TCP connects never do.
                if connecting && io.kind() == io::ErrorKind::UnexpectedEof {
                    return Self::Tls;
                }
                timed_out |= io.kind() == io::ErrorKind::TimedOut;
            }
            cause = current.source();
        }
        match (connecting, timed_out || error.is_timeout()) {
            (true, true) => Self::ConnectTimeout,
            (true, false) => Self::Connect,
            (false, true) => Self::Timeout,
            (false, false) => Self::Broken,
        }
    }
}

/// Whether an I/O error is one of TLS. `source` skips what a custom I/O error wraps, and some wrap each other.
fn wraps_tls(io: &io::Error) -> bool {
    let Some(inner) = io.get_ref() else {
        return false;
    };
    inner.is::<rustls::Error>() || inner.downcast_ref().is_some_and(wraps_tls)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tls_error_is_found_however_often_it_is_wrapped() {
        let tls = || io::Error::other(rustls::Error::HandshakeNotComplete);
        assert!(wraps_tls(&tls()));
        assert!(wraps_tls(&io::Error::other(tls())));
        assert!(!wraps_tls(&io::Error::other("text")));
        assert!(!wraps_tls(&io::ErrorKind::ConnectionRefused.into()));
    }
}
