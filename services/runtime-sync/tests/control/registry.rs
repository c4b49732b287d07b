//! A scripted registry: a change feed, leases, reports and grants, as the contract has them.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
};

use contracts::registry::v1 as pb;
use futures_util::{Stream, StreamExt as _, stream};
use pb::{
    connector_service_server::{ConnectorService, ConnectorServiceServer},
    resolved_connector::Outcome,
    watch_connectors_response::Event,
};
use rpc::error::RichError;
use tokio::{net::TcpListener, sync::watch, task::JoinSet};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Code, Request, Response, Status, Streaming};

/// What the registry knows and has heard.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) revision: i64,
    pub(crate) connectors: BTreeMap<String, pb::Connector>,
    log: Vec<(i64, Event)>,
    /// Tokens of older positions are OUT_OF_RANGE.
    pub(crate) oldest: i64,
    /// Streams that were opened before the last break end.
    breaks: u64,
    /// No new stream is opened.
    pub(crate) closed: bool,
    /// The resume tokens that streams were opened with.
    pub(crate) opened: Vec<String>,
    pub(crate) epoch: i64,
    /// Another instance holds the sessions.
    pub(crate) held: bool,
    /// Reports that are to fail, still.
    pub(crate) failing_reports: usize,
    /// No definition is taken.
    pub(crate) failing_uploads: bool,
    /// An upload that holds a definition with this text is refused as a whole.
    pub(crate) refused_definition: Option<&'static str>,
    pub(crate) reports: Vec<pb::ReportStatusRequest>,
    pub(crate) observed: HashMap<String, pb::ObservedConnector>,
    /// Every state ever reported, in order.
    pub(crate) history: Vec<(String, i64, String)>,
    pub(crate) definitions: HashMap<String, String>,
    pub(crate) resolved: Vec<Vec<String>>,
    pub(crate) unresolved: HashMap<String, String>,
    /// The grant that a connector's secrets are given out with.
    pub(crate) grants: HashMap<String, String>,
}

/// The server.
pub(crate) struct Registry {
    pub(crate) address: SocketAddr,
    shared: Shared,
    _serving: JoinSet<()>,
}

#[derive(Clone)]
struct Shared {
    state: Arc<Mutex<State>>,
    changed: watch::Sender<u64>,
}

impl Registry {
    pub(crate) async fn start() -> Self {
        let shared = Shared {
            state: Arc::default(),
            changed: watch::Sender::new(0),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = ConnectorServiceServer::new(shared.clone());
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let incoming = TcpListenerStream::new(listener);
            let server = tonic::transport::Server::builder().add_service(service);
            server.serve_with_incoming(incoming).await.unwrap();
        });
        Self {
            address,
            shared,
            _serving: serving,
        }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap()
    }

    /// Something changed of which streams are to know.
    fn wake(&self) {
        self.shared.changed.send_modify(|count| *count += 1);
    }

    /// Stores a connector under the next revision and generation; gives the revision.
    pub(crate) fn put(&self, connector: pb::Connector) -> i64 {
        let revision = self.put_unheard(connector.clone());
        let mut state = self.state();
        let stored = state.connectors[&connector.name].clone();
        state.log.push((revision, Event::Connector(stored)));
        drop(state);
        self.wake();
        revision
    }

    /// Stores a connector without a word of it on the feed.
    pub(crate) fn put_unheard(&self, mut connector: pb::Connector) -> i64 {
        let mut state = self.state();
        state.revision += 1;
        connector.revision = state.revision;
        connector.generation = state.revision;
        let revision = state.revision;
        state.connectors.insert(connector.name.clone(), connector);
        revision
    }

    /// Changes a connector.
    pub(crate) fn change(&self, name: &str, change: impl FnOnce(&mut pb::Connector)) -> i64 {
        let mut connector = self.state().connectors[name].clone();
        change(&mut connector);
        self.put(connector)
    }

    pub(crate) fn delete(&self, name: &str) -> i64 {
        let mut state = self.state();
        let connector = state.connectors.remove(name).unwrap();
        state.revision += 1;
        let revision = state.revision;
        let deleted = pb::DeletedConnector {
            name: connector.name,
            uid: connector.uid,
        };
        state.log.push((revision, Event::Deleted(deleted)));
        drop(state);
        self.wake();
        revision
    }

    /// Ends every stream there is.
    pub(crate) fn break_streams(&self) {
        self.state().breaks += 1;
        self.wake();
    }

    /// Says on every stream that nothing happened.
    pub(crate) fn progress(&self) {
        let mut state = self.state();
        state.revision += 1;
        let revision = state.revision;
        state.log.push((revision, Event::Progress(pb::Progress {})));
        drop(state);
        self.wake();
    }
}

/// Where a stream stands.
struct Cursor {
    shared: Shared,
    changed: watch::Receiver<u64>,
    position: Option<i64>,
    breaks: u64,
    ended: bool,
}

type Item = Result<pb::WatchConnectorsResponse, Status>;

impl Cursor {
    async fn next(mut self) -> Option<(Vec<Item>, Self)> {
        loop {
            if self.ended {
                return None;
            }
            let items = self.items();
            if !items.is_empty() {
                return Some((items, self));
            }
            self.changed.changed().await.ok()?;
        }
    }

    fn items(&mut self) -> Vec<Item> {
        self.changed.mark_unchanged();
        let state = self.shared.state.lock().unwrap();
        if state.breaks != self.breaks {
            self.ended = true;
            return vec![Err(Status::unavailable("broken"))];
        }
        let message = |event: Event, revision: i64| {
            Ok(pb::WatchConnectorsResponse {
                event: Some(event),
                resume_token: token(revision),
                revision,
            })
        };
        match self.position.replace(state.revision) {
            None => {
                let connectors = state.connectors.values().cloned();
                let snapshot = connectors.map(|connector| {
                    Ok(pb::WatchConnectorsResponse {
                        event: Some(Event::Connector(connector)),
                        ..Default::default()
                    })
                });
                let end = Event::SnapshotEnd(pb::SnapshotEnd {});
                snapshot.chain([message(end, state.revision)]).collect()
            }
            Some(position) => {
                let news = state
                    .log
                    .iter()
                    .filter(|(revision, _)| *revision > position);
                news.map(|(revision, event)| message(event.clone(), *revision))
                    .collect()
            }
        }
    }
}

fn token(revision: i64) -> String {
    if revision == 0 {
        String::new()
    } else {
        format!("feed:{revision}")
    }
}

fn refused(code: Code, reason: &'static str) -> Status {
    RichError::new(code, reason, "scripted").into()
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

macro_rules! unused {
    ($($method:ident: $request:ident => $response:ident,)*) => {
        #[tonic::async_trait]
        impl ConnectorService for Shared {
            $(async fn $method(&self, _: Request<pb::$request>) -> Result<Response<pb::$response>, Status> {
                Err(Status::unimplemented("not scripted"))
            })*

            type WatchConnectorsStream = Pin<Box<dyn Stream<Item = Item> + Send>>;

            async fn watch_connectors(
                &self,
                request: Request<pb::WatchConnectorsRequest>,
            ) -> Result<Response<Self::WatchConnectorsStream>, Status> {
                self.watch(&request.into_inner()).map(Response::new)
            }

            async fn report_status(
                &self,
                request: Request<pb::ReportStatusRequest>,
            ) -> Result<Response<pb::ReportStatusResponse>, Status> {
                self.report(request.into_inner()).map(Response::new)
            }

            async fn upload_definitions(
                &self,
                request: Request<Streaming<pb::UploadDefinitionsRequest>>,
            ) -> Result<Response<pb::UploadDefinitionsResponse>, Status> {
                let mut stream = request.into_inner();
                if self.state().failing_uploads {
                    return Err(Status::unavailable("scripted"));
                }
                let mut definitions = Vec::new();
                while let Some(definition) = stream.message().await? {
                    let pb::UploadDefinitionsRequest { definition_hash, definition_json } = definition;
                    let refused_text = self.state().refused_definition;
                    if refused_text.is_some_and(|text| definition_json.contains(text)) {
                        return Err(refused(Code::InvalidArgument, "FIELD_INVALID"));
                    }
                    definitions.push((definition_hash, definition_json));
                }
                let stored_count = definitions.len().try_into().unwrap();
                self.state().definitions.extend(definitions);
                Ok(Response::new(pb::UploadDefinitionsResponse { stored_count }))
            }

            async fn resolve_connectors(
                &self,
                request: Request<pb::ResolveConnectorsRequest>,
            ) -> Result<Response<pb::ResolveConnectorsResponse>, Status> {
                self.resolve(request.into_inner()).map(Response::new)
            }
        }
    };
}

unused! {
    create_connector: CreateConnectorRequest => CreateConnectorResponse,
    get_connector: GetConnectorRequest => GetConnectorResponse,
    list_connectors: ListConnectorsRequest => ListConnectorsResponse,
    update_connector: UpdateConnectorRequest => UpdateConnectorResponse,
    delete_connector: DeleteConnectorRequest => DeleteConnectorResponse,
    set_connector_secrets: SetConnectorSecretsRequest => SetConnectorSecretsResponse,
    enable_connector: EnableConnectorRequest => EnableConnectorResponse,
    disable_connector: DisableConnectorRequest => DisableConnectorResponse,
    wait_connector: WaitConnectorRequest => WaitConnectorResponse,
    get_scope: GetScopeRequest => GetScopeResponse,
    list_tools: ListToolsRequest => ListToolsResponse,
}

impl Shared {
    fn watch(
        &self,
        request: &pb::WatchConnectorsRequest,
    ) -> Result<Pin<Box<dyn Stream<Item = Item> + Send>>, Status> {
        assert_eq!(request.view(), pb::WatchView::Desired);
        let mut state = self.state();
        state.opened.push(request.resume_token.clone());
        if state.closed {
            return Err(Status::unavailable("closed"));
        }
        let position = request.resume_token.strip_prefix("feed:");
        let position = position.map(|position| position.parse().unwrap());
        if position.is_some_and(|position: i64| position < state.oldest) {
            return Err(refused(Code::OutOfRange, "RESUME_TOKEN_EXPIRED"));
        }
        let cursor = Cursor {
            shared: self.clone(),
            changed: self.changed.subscribe(),
            position,
            breaks: state.breaks,
            ended: false,
        };
        Ok(stream::unfold(cursor, Cursor::next)
            .flat_map(stream::iter)
            .boxed())
    }

    fn report(&self, request: pb::ReportStatusRequest) -> Result<pb::ReportStatusResponse, Status> {
        let mut state = self.state();
        let claimed = request.instance.as_ref().unwrap().lease_epoch;
        if state.held {
            let reason = if claimed == 0 {
                "LEASE_HELD"
            } else {
                "LEASE_LOST"
            };
            return Err(refused(Code::FailedPrecondition, reason));
        }
        if claimed == 0 {
            state.epoch += 1;
        } else if claimed < state.epoch {
            return Err(refused(Code::FailedPrecondition, "LEASE_LOST"));
        }
        if !request.connectors.is_empty() && state.failing_reports > 0 {
            state.failing_reports -= 1;
            return Err(Status::unavailable("scripted"));
        }
        let mut missing_hashes = Vec::new();
        for observed in &request.connectors {
            let tools = observed.tools.iter().flat_map(|tools| &tools.tools);
            let hashes = tools.map(|tool| tool.definition_hash.clone());
            missing_hashes.extend(hashes.filter(|hash| !state.definitions.contains_key(hash)));
            let status = observed.status.as_ref().unwrap();
            let seen = format!("{} {}", status.state().as_str_name(), status.reason);
            state
                .history
                .push((observed.uid.clone(), observed.generation, seen));
            let mut observed = observed.clone();
            if observed.tools.is_none() {
                let before = state.observed.get(&observed.uid);
                observed.tools = before.and_then(|before| before.tools.clone());
            }
            state.observed.insert(observed.uid.clone(), observed);
        }
        state.reports.push(request);
        Ok(pb::ReportStatusResponse {
            lease_epoch: state.epoch,
            missing_hashes,
            ..Default::default()
        })
    }

    fn resolve(
        &self,
        request: pb::ResolveConnectorsRequest,
    ) -> Result<pb::ResolveConnectorsResponse, Status> {
        let mut state = self.state();
        if request.instance.as_ref().unwrap().lease_epoch != state.epoch {
            return Err(refused(Code::FailedPrecondition, "LEASE_LOST"));
        }
        assert!(request.names.len() <= 16, "{:?}", request.names);
        state.resolved.push(request.names.clone());
        let resolve = |name: String| {
            let outcome = match (state.unresolved.get(&name), state.connectors.get(&name)) {
                (Some(reason), _) => Outcome::Unresolved(pb::Unresolved {
                    reason: reason.clone(),
                    message: String::new(),
                }),
                (None, Some(connector)) => Outcome::Effective(pb::EffectiveConnector {
                    connector: Some(connector.clone()),
                    grant_token: state.grants.get(&name).cloned().unwrap_or_default(),
                    ..Default::default()
                }),
                (None, None) => Outcome::Unresolved(pb::Unresolved {
                    reason: "CONNECTOR_NOT_FOUND".into(),
                    message: String::new(),
                }),
            };
            pb::ResolvedConnector {
                name,
                outcome: Some(outcome),
            }
        };
        let connectors = request.names.into_iter().map(resolve).collect();
        Ok(pb::ResolveConnectorsResponse { connectors })
    }
}
