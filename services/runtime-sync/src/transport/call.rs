//! Calls beside rmcp: raw JSON in, raw JSON out, on the wire that the session owns.
//!
//! Invariant: the parameters and the result pass byte for byte, and request ids are `pb-<n>`, which rmcp (whose ids
//! are numbers) can neither make nor expect. Whether a call may be made is *not* decided here.

use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::domain::Era;

use super::{error::WireError, http::HttpCalls, stdio::StdioCalls};

/// One request to put on the wire.
#[derive(Debug, Clone)]
pub struct RawCall {
    /// The method, for example `tools/call`.
    pub method: &'static str,
    /// What `Mcp-Name` says to middle boxes: the tool's name as it is; it is encoded here.
    pub name: Option<String>,
    /// The exact JSON text of `params`, an object, `_meta` included.
    pub params: Bytes,
    /// Family of the negotiated revision.
    pub era: Era,
    /// The negotiated revision, for example `2025-11-25`.
    pub protocol_version: String,
    /// `Mcp-Param-*` headers, encoded already.
    pub param_headers: Vec<(HeaderName, HeaderValue)>,
    /// The largest reply that is of use, envelope included, in bytes: over HTTP no more than that is read of one.
    pub max_reply: usize,
}

/// What the server answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RawReply {
    /// The exact bytes of `result`.
    Result(Bytes),
    /// A JSON-RPC error. Its texts are the server's: not for logs.
    Error {
        /// The code.
        code: i64,
        /// The message, as the server wrote it.
        message: String,
        /// The exact bytes of `data`.
        data: Option<Bytes>,
    },
}

/// A handle for calls on one link; cheap to clone.
#[derive(Debug, Clone)]
pub struct CallWire(pub(super) Wire);

#[derive(Debug, Clone)]
pub(super) enum Wire {
    Stdio(StdioCalls),
    Http(HttpCalls),
}

impl CallWire {
    /// Sends a request and waits for its reply. Any number may be in flight.
    ///
    /// When `cancel` fires, the deadline passes, or the future is dropped, the server is told as far as its era
    /// allows. Cancellation safe in that sense: a dropped call is a cancelled one.
    ///
    /// # Errors
    /// [`WireError`] says what happened and whether the server may have run the call.
    pub async fn call(
        &self,
        call: RawCall,
        deadline: Instant,
        cancel: CancellationToken,
    ) -> Result<RawReply, WireError> {
        match &self.0 {
            Wire::Stdio(calls) => calls.call(call, deadline, cancel).await,
            Wire::Http(calls) => calls.call(call, deadline, cancel).await,
        }
    }
}
