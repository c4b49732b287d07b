//! The part of a link that rmcp rides: handshake, lists, notifications and probes.
//!
//! Invariant: a send never waits without bound (a full queue is an error), and after the link has ended `receive`
//! gives `None`, so that rmcp fails what it has pending instead of hanging. `tools/call` does *not* pass here.

use std::{borrow::Cow, future::Future};

use futures_util::future::Either;
use rmcp::{
    RoleClient,
    service::{RxJsonRpcMessage, TxJsonRpcMessage},
    transport::Transport,
};

use super::{error::LinkError, http::HttpMessages, stdio::StdioMessages};

/// rmcp's transport over our wire.
#[derive(Debug)]
pub struct LinkTransport(pub(super) Messages);

#[derive(Debug)]
pub(super) enum Messages {
    Stdio(StdioMessages),
    Http(Box<HttpMessages>),
}

impl Transport<RoleClient> for LinkTransport {
    type Error = LinkError;

    fn name() -> Cow<'static, str> {
        Cow::Borrowed("patchbay-link")
    }

    fn send(
        &mut self,
        item: TxJsonRpcMessage<RoleClient>,
    ) -> impl Future<Output = Result<(), LinkError>> + Send + 'static {
        match &mut self.0 {
            Messages::Stdio(stdio) => Either::Left(stdio.send(item)),
            Messages::Http(http) => Either::Right(http.send(item)),
        }
    }

    async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleClient>> {
        match &mut self.0 {
            Messages::Stdio(stdio) => stdio.receive().await,
            Messages::Http(http) => http.receive().await,
        }
    }

    async fn close(&mut self) -> Result<(), LinkError> {
        match &mut self.0 {
            Messages::Stdio(stdio) => stdio.close(),
            Messages::Http(http) => http.close(),
        }
        Ok(())
    }
}
