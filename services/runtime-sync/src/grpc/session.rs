//! `SessionService`.

use std::{pin::Pin, sync::Arc, time::Duration};

use contracts::runtime::v1 as pb;
use futures_util::Stream;
use lifecycle::Tasks;
use names::{ConnectorName, ScopeSelector};
use pb::session_service_server::SessionService;
use prost::Message as _;
use rpc::{
    Caller, Limit,
    error::RichError,
    paging::{MAX_PAGE_BYTES, Pager, page_size},
};
use tokio::time::Instant;
use tonic::{Request, Response, Status};

use super::{
    convert::{self, History, MARGIN, connector_name},
    status,
    watch::{self, WatchOptions},
};
use crate::{
    session::{RequestError, SessionHandle},
    supervisor::{Found, Patience, Sessions},
};

/// How long a request is worked on when its caller set no deadline.
const PATIENCE: Duration = Duration::from_secs(60);

/// The handlers of `SessionService`.
#[derive(Debug)]
pub(crate) struct SessionHandlers {
    pub(crate) sessions: Sessions,
    pub(crate) pager: Pager,
    pub(crate) watching: WatchOptions,
    /// The set of the watches.
    pub(crate) tasks: Arc<Tasks>,
}

#[tonic::async_trait]
impl SessionService for SessionHandlers {
    async fn get_session(
        &self,
        request: Request<pb::GetSessionRequest>,
    ) -> Result<Response<pb::GetSessionResponse>, Status> {
        let (caller, message) = rpc::authorise(request)?;
        let pb::GetSessionRequest {
            connector,
            min_revision,
        } = message;
        let name = connector_name(&connector)?;
        let known = self
            .sessions
            .wait_for(min_revision, &patience(&caller))
            .await;
        known.map_err(|error| status::lookup(error, &name))?;
        let session = self.message(&name, History::With)?;
        Ok(Response::new(pb::GetSessionResponse {
            session: Some(session),
        }))
    }

    async fn list_sessions(
        &self,
        request: Request<pb::ListSessionsRequest>,
    ) -> Result<Response<pb::ListSessionsResponse>, Status> {
        let (_, message) = rpc::authorise(request)?;
        let pb::ListSessionsRequest {
            parent,
            page_size: size,
            page_token,
        } = message;
        let scopes = selector(&parent)?;
        let size = page_size(size, 50, 500)?;
        let bound_to = ["ListSessions", parent.as_str()];
        let after = self.pager.position(&bound_to, &page_token)?;
        let after = after
            .and_then(|position| String::from_utf8(position).ok())
            .and_then(|name| name.parse::<ConnectorName>().ok());
        Ok(Response::new(self.page(
            &scopes,
            after.as_ref(),
            size,
            &bound_to,
        )))
    }

    type WatchSessionsStream =
        Pin<Box<dyn Stream<Item = Result<pb::WatchSessionsResponse, Status>> + Send>>;

    async fn watch_sessions(
        &self,
        request: Request<pb::WatchSessionsRequest>,
    ) -> Result<Response<Self::WatchSessionsStream>, Status> {
        let (caller, message) = rpc::authorise(request)?;
        let pb::WatchSessionsRequest { parent } = message;
        let scopes = selector(&parent)?;
        let sessions = self.sessions.clone();
        let stream = watch::start(
            sessions,
            scopes,
            self.watching,
            caller.draining,
            &self.tasks,
        );
        Ok(Response::new(Box::pin(stream)))
    }

    async fn sync_connector(
        &self,
        request: Request<pb::SyncConnectorRequest>,
    ) -> Result<Response<pb::SyncConnectorResponse>, Status> {
        let (caller, message) = rpc::authorise(request)?;
        let pb::SyncConnectorRequest {
            connector,
            min_revision,
        } = message;
        let name = connector_name(&connector)?;
        let session = self.session(&caller, &name, min_revision).await?;
        let before = Arc::clone(&session.status().borrow().tools);
        let synced = session.sync(deadline(&caller)).await;
        log(
            &caller,
            &name,
            "connector synchronised",
            synced.as_ref().err(),
        );
        let status = session.status().borrow().clone();
        let after = synced.map_err(|error| status::sync(error, &name, &status))?;
        let message = self.message(&name, History::Without)?;
        Ok(Response::new(convert::sync(&before, &after, message)))
    }

    async fn check_health(
        &self,
        request: Request<pb::CheckHealthRequest>,
    ) -> Result<Response<pb::CheckHealthResponse>, Status> {
        let (caller, message) = rpc::authorise(request)?;
        let pb::CheckHealthRequest {
            connector,
            min_revision,
        } = message;
        let name = connector_name(&connector)?;
        let session = self.session(&caller, &name, min_revision).await?;
        let checked = session.check_health(deadline(&caller)).await;
        log(&caller, &name, "health checked", checked.as_ref().err());
        let (reason, latency) = match checked {
            Ok(status) => ("", status.latency),
            Err(RequestError::Failed(reason)) => (reason.as_str(), None),
            Err(error) => return Err(status::check(error, &name)),
        };
        Ok(Response::new(pb::CheckHealthResponse {
            healthy: reason.is_empty(),
            reason: reason.to_owned(),
            latency: latency.and_then(convert::duration),
            session: Some(self.message(&name, History::Without)?),
        }))
    }
}

impl SessionHandlers {
    fn message(&self, name: &ConnectorName, history: History) -> Result<pb::Session, Status> {
        let found = self.sessions.get(name);
        let found = found.map_err(|error| status::lookup(error, name))?;
        Ok(convert::session(&self.sessions, &found, history))
    }

    async fn session(
        &self,
        caller: &Caller,
        name: &ConnectorName,
        min_revision: i64,
    ) -> Result<SessionHandle, Status> {
        let patience = patience(caller);
        let found = async {
            self.sessions.wait_for(min_revision, &patience).await?;
            self.sessions.find(name, &patience).await
        };
        found.await.map_err(|error| status::lookup(error, name))
    }

    fn page(
        &self,
        scopes: &ScopeSelector,
        after: Option<&ConnectorName>,
        size: u32,
        bound_to: &[&str],
    ) -> pb::ListSessionsResponse {
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        // One more than fits says whether there is another page.
        let found = self.sessions.list(scopes, after, size.saturating_add(1));
        let (mut page, mut bytes) = (Vec::new(), 0);
        let mut last: Option<&Found> = None;
        for connector in &found {
            let session = convert::session(&self.sessions, connector, History::Without);
            bytes += session.encoded_len();
            if page.len() == size || (bytes > MAX_PAGE_BYTES && !page.is_empty()) {
                break;
            }
            page.push(session);
            last = Some(connector);
        }
        let next = last.filter(|_| page.len() < found.len()).map(|last| {
            let position = last.connector.name.to_string();
            self.pager.token(bound_to, position.as_bytes())
        });
        pb::ListSessionsResponse {
            sessions: page,
            next_page_token: next.unwrap_or_default(),
        }
    }
}

/// Until when a request is worked on.
fn deadline(caller: &Caller) -> Instant {
    match caller.deadline.limit() {
        Limit::Default => Instant::now() + PATIENCE,
        Limit::Caller | Limit::Maximum | Limit::StreamAge => caller.deadline.at() - MARGIN,
    }
}

fn patience(caller: &Caller) -> Patience {
    Patience {
        until: deadline(caller),
        draining: caller.draining.clone(),
    }
}

fn selector(parent: &str) -> Result<ScopeSelector, RichError> {
    parent
        .parse()
        .map_err(|error: names::InvalidName| RichError::invalid_field("parent", error.to_string()))
}

/// One line for one operation on a connector.
fn log(caller: &Caller, connector: &ConnectorName, what: &str, error: Option<&RequestError>) {
    let subject = &caller.principal;
    match error {
        None => tracing::info!(%subject, %connector, outcome = "OK", "{what}"),
        Some(error) => tracing::info!(%subject, %connector, outcome = "FAILED", %error, "{what}"),
    }
}
