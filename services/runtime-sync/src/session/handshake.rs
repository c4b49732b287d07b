//! Putting rmcp on a link, in either era.
//!
//! Legacy: rmcp says `initialize`; nothing it offers is trusted to end, so every step has a limit here. Modern: there
//! is no handshake, rmcp only carries announcements. Which era it is was judged before (see `negotiate`).

use lifecycle::CancellationToken;
use rmcp::{
    RoleClient,
    model::{ProtocolVersion, ServerCapabilities, ServerPeerInfo},
    service::{
        ClientCacheConfig, ClientInitializeError, ClientLifecycleMode, RunningService,
        serve_client_with_lifecycle_and_ct, serve_directly_with_ct,
    },
};
use tokio::{sync::watch, time::Instant};

use super::{
    live::{Agreement, kept},
    negotiate::{Discovered, UNSUPPORTED_VERSION, unsupported, wire_failure},
    notices::Notifier,
    request::LEGACY_VERSIONS,
};
use crate::{
    domain::{Era, Failure, FailureCode, Stage},
    transport::{LinkEnd, LinkTransport, wire_cause},
};

/// rmcp, riding a link.
pub(super) type Service = RunningService<RoleClient, Notifier>;

/// Why a legacy handshake came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// The server said that it is modern.
    IsModern,
    /// Anything else.
    Failed(Failure),
}

/// Says `initialize`.
pub(super) async fn legacy(
    messages: LinkTransport,
    mut ended: watch::Receiver<Option<LinkEnd>>,
    notifier: Notifier,
    deadline: Instant,
) -> Result<(Service, Agreement), Refused> {
    let cancel = CancellationToken::new();
    let handshake = serve_client_with_lifecycle_and_ct(
        notifier,
        messages,
        ClientLifecycleMode::Initialize,
        cancel,
    );
    let service = match tokio::time::timeout_at(deadline, Box::pin(handshake)).await {
        Ok(Ok(service)) => service,
        Ok(Err(error)) => return Err(explain(&error, &mut ended).await),
        Err(_) => return Err(Refused::Failed(end_of(&ended).unwrap_or_else(timed_out))),
    };
    disable_cache(&service, deadline).await?;
    let agreement = legacy_agreement(&service).ok_or(Refused::Failed(unsupported()))?;
    Ok((service, agreement))
}

/// Rides a link of a modern server, which needs no handshake.
pub(super) async fn modern(
    messages: LinkTransport,
    discovered: &Discovered,
    notifier: Notifier,
    deadline: Instant,
) -> Result<Service, Refused> {
    // rmcp's own type may not know every capability; it needs none of them to carry announcements.
    let capabilities: ServerCapabilities =
        serde_json::from_str(&discovered.capabilities).unwrap_or_default();
    let info = ServerPeerInfo::new(ProtocolVersion::V_2026_07_28, capabilities);
    let service = serve_directly_with_ct(notifier, messages, Some(info), CancellationToken::new());
    disable_cache(&service, deadline).await?;
    Ok(service)
}

/// A cache that answers for a dead server would make health a lie.
async fn disable_cache(service: &Service, deadline: Instant) -> Result<(), Refused> {
    let disabled = service
        .peer()
        .set_response_cache_config(ClientCacheConfig::disabled());
    tokio::time::timeout_at(deadline, disabled)
        .await
        .map_err(|_| Refused::Failed(timed_out()))
}

fn timed_out() -> Failure {
    Failure::new(FailureCode::Timeout, Stage::Handshake)
}

fn legacy_agreement(service: &Service) -> Option<Agreement> {
    let info = service.peer().peer_info()?;
    let version = info.protocol_version.as_str();
    LEGACY_VERSIONS.contains(&version).then(|| Agreement {
        era: Era::Legacy,
        version: version.to_owned(),
        server_info: info
            .server_info
            .as_ref()
            .and_then(|server| serde_json::to_vec(server).ok())
            .and_then(|server| kept(&server)),
        announces_tools: info
            .capabilities
            .tools
            .as_ref()
            .is_some_and(|tools| tools.list_changed == Some(true)),
    })
}

/// What an error of rmcp's handshake means.
async fn explain(
    error: &ClientInitializeError,
    ended: &mut watch::Receiver<Option<LinkEnd>>,
) -> Refused {
    let invalid = Failure::new(FailureCode::InvalidMcpServer, Stage::Handshake);
    match error {
        ClientInitializeError::JsonRpcError(data) => {
            if i64::from(data.code.0) == UNSUPPORTED_VERSION {
                Refused::IsModern
            } else {
                Refused::Failed(invalid)
            }
        }
        ClientInitializeError::TransportError { error, .. } => {
            let failure = wire_cause(error.error.as_ref()).map(wire_failure);
            Refused::Failed(failure.unwrap_or_else(lost))
        }
        ClientInitializeError::ConnectionClosed(_) => {
            // rmcp may see the end of the stream before the link knows the reason.
            let reason = ended.wait_for(Option::is_some);
            let known = tokio::time::timeout(std::time::Duration::from_millis(500), reason).await;
            drop(known);
            Refused::Failed(end_of(ended).unwrap_or_else(lost))
        }
        _ => Refused::Failed(end_of(ended).unwrap_or(invalid)),
    }
}

fn lost() -> Failure {
    Failure::new(FailureCode::ConnectionFailed, Stage::Handshake)
}

/// The failure behind a link that has ended.
pub(super) fn end_of(ended: &watch::Receiver<Option<LinkEnd>>) -> Option<Failure> {
    ended.borrow().as_ref().map(|end| {
        let (code, stage) = end.failure();
        Failure::new(code, stage)
    })
}
