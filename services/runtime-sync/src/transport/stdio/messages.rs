//! rmcp's messages over the pipes.
//!
//! Invariant: sending never waits: what rmcp sends is queued or refused, because rmcp awaits a send inside its own
//! time-outs and would hang there.

use std::{
    future::{Future, ready},
    sync::Arc,
};

use bytes::Bytes;
use rmcp::{
    RoleClient,
    model::{ClientRequest, JsonRpcMessage},
    service::{RxJsonRpcMessage, TxJsonRpcMessage},
};
use tokio::sync::{
    mpsc::{self, error::TrySendError},
    watch,
};

use super::{Shared, writer::Outgoing};
use crate::transport::error::{LinkEnd, LinkError, WireErrorKind, end_of};

#[derive(Debug)]
pub(in crate::transport) struct StdioMessages {
    shared: Arc<Shared>,
    inbound: mpsc::Receiver<RxJsonRpcMessage<RoleClient>>,
    ended: watch::Receiver<Option<LinkEnd>>,
}

impl StdioMessages {
    pub(super) fn new(
        shared: Arc<Shared>,
        inbound: mpsc::Receiver<RxJsonRpcMessage<RoleClient>>,
    ) -> Self {
        let ended = shared.ended.subscribe();
        Self {
            shared,
            inbound,
            ended,
        }
    }

    pub(in crate::transport) fn send(
        &mut self,
        item: TxJsonRpcMessage<RoleClient>,
    ) -> impl Future<Output = Result<(), LinkError>> + Send + 'static {
        ready(self.queue(&item))
    }

    fn queue(&self, item: &TxJsonRpcMessage<RoleClient>) -> Result<(), LinkError> {
        if let Some(end) = self.ended.borrow().clone() {
            return Err(LinkError(WireErrorKind::LinkEnded(end)));
        }
        let mut line =
            serde_json::to_vec(item).map_err(|_| LinkError(WireErrorKind::InvalidRequest))?;
        self.shared.inbound.rmcp_sends(method_of(item));
        line.push(b'\n');
        self.shared
            .queue
            .try_send(Outgoing {
                line: Bytes::from(line),
                claim: None,
            })
            .map_err(|error| match error {
                TrySendError::Full(_) => LinkError(WireErrorKind::Busy),
                TrySendError::Closed(_) => LinkError(WireErrorKind::LinkEnded(LinkEnd::Closed)),
            })
    }

    pub(in crate::transport) async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleClient>> {
        tokio::select! {
            biased;
            // What came before the end is delivered before the end.
            message = self.inbound.recv() => message,
            _ = end_of(&mut self.ended) => None,
        }
    }

    /// rmcp is done. The link itself is closed by its owner.
    pub(in crate::transport) fn close(&mut self) {
        self.inbound.close();
    }
}

/// What matters of the method: whether it is the one that begins a legacy session.
fn method_of(item: &TxJsonRpcMessage<RoleClient>) -> Option<&'static str> {
    match item {
        JsonRpcMessage::Request(request) => match request.request {
            ClientRequest::InitializeRequest(_) => Some("initialize"),
            _ => None,
        },
        _ => None,
    }
}
