//! rmcp's messages over HTTP: queued to the link's task.
//!
//! Invariant: sending waits for the response's head at most, which is bounded there.

use std::{future::Future, sync::Arc};

use bytes::Bytes;
use futures_util::future::{Either, ready};
use rmcp::{
    RoleClient,
    service::{RxJsonRpcMessage, TxJsonRpcMessage},
};
use tokio::sync::{
    mpsc::{self, error::TrySendError},
    oneshot, watch,
};

use super::{driver::Job, headers::Outline, wire::Wire};
use crate::transport::error::{LinkEnd, LinkError, WireErrorKind, end_of};

#[derive(Debug)]
pub(in crate::transport) struct HttpMessages {
    wire: Arc<Wire>,
    inbound: mpsc::Receiver<RxJsonRpcMessage<RoleClient>>,
    ended: watch::Receiver<Option<LinkEnd>>,
}

impl HttpMessages {
    pub(super) fn new(
        wire: Arc<Wire>,
        inbound: mpsc::Receiver<RxJsonRpcMessage<RoleClient>>,
    ) -> Self {
        let ended = wire.ended.subscribe();
        Self {
            wire,
            inbound,
            ended,
        }
    }

    pub(in crate::transport) fn send(
        &mut self,
        item: TxJsonRpcMessage<RoleClient>,
    ) -> impl Future<Output = Result<(), LinkError>> + Send + 'static {
        match self.queue(&item) {
            // The link's task drops the sender when it ends.
            Ok(done) => Either::Left(async {
                done.await
                    .unwrap_or(Err(LinkError(WireErrorKind::LinkEnded(LinkEnd::Closed))))
            }),
            Err(kind) => Either::Right(ready(Err(LinkError(kind)))),
        }
    }

    fn queue(
        &self,
        item: &TxJsonRpcMessage<RoleClient>,
    ) -> Result<oneshot::Receiver<Result<(), LinkError>>, WireErrorKind> {
        if let Some(end) = self.ended.borrow().clone() {
            return Err(WireErrorKind::LinkEnded(end));
        }
        let body =
            Bytes::from(serde_json::to_vec(item).map_err(|_| WireErrorKind::InvalidRequest)?);
        let outline = Outline::read(&body).ok_or(WireErrorKind::InvalidRequest)?;
        self.wire.inbound.rmcp_sends(outline.method.as_deref());
        let (done, told) = oneshot::channel();
        self.wire
            .jobs
            .try_send(Job::Message {
                body,
                outline,
                done,
            })
            .map_err(|error| match error {
                TrySendError::Full(_) => WireErrorKind::Busy,
                TrySendError::Closed(_) => WireErrorKind::LinkEnded(LinkEnd::Closed),
            })?;
        Ok(told)
    }

    pub(in crate::transport) async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleClient>> {
        tokio::select! {
            biased;
            message = self.inbound.recv() => message,
            _ = end_of(&mut self.ended) => None,
        }
    }

    /// rmcp is done. The link itself is closed by its owner.
    pub(in crate::transport) fn close(&mut self) {
        self.inbound.close();
    }
}
