//! `grpc.health.v1` for the whole server ("") and for each of its services.
//!
//! NOT_SERVING until somebody says otherwise. Our own and not tonic-health's reporter, which starts
//! "" as SERVING, and whose Watch fails on an unknown service where the protocol wants
//! SERVICE_UNKNOWN and an open stream. Not here: what readiness depends on.

use std::{pin::Pin, sync::Arc};

use futures_util::{Stream, StreamExt as _};
use tokio::sync::watch;
use tokio_stream::wrappers::WatchStream;
use tonic::{Request, Response, Status};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse,
    health_check_response::ServingStatus,
    health_server::{Health as HealthService, HealthServer},
};

/// The path of the one health method that streams.
pub(super) const WATCH: &str = "/grpc.health.v1.Health/Watch";
/// The paths of the service, open to everybody.
pub(super) const PATHS: &[&str] = &[
    "/grpc.health.v1.Health/Check",
    WATCH,
    "/grpc.health.v1.Health/List",
];

/// Whether a server can do its work. Clones share their state.
#[derive(Debug, Clone)]
pub struct Health {
    ready: watch::Sender<bool>,
    names: Arc<[&'static str]>,
}

impl Health {
    pub(super) fn new(names: &[&'static str]) -> Self {
        Self {
            ready: watch::Sender::new(false),
            names: names.into(),
        }
    }

    /// Says whether the server can do its work.
    pub fn set_ready(&self, ready: bool) {
        self.ready
            .send_if_modified(|was| std::mem::replace(was, ready) != ready);
    }

    /// Whether the server can do its work.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        *self.ready.borrow()
    }

    pub(super) fn service(&self) -> HealthServer<Service> {
        HealthServer::new(Service(self.clone()))
    }

    fn knows(&self, service: &str) -> bool {
        service.is_empty() || self.names.contains(&service)
    }
}

pub(super) struct Service(Health);

#[tonic::async_trait]
impl HealthService for Service {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let HealthCheckRequest { service } = request.into_inner();
        if !self.0.knows(&service) {
            return Err(Status::not_found("no such service"));
        }
        Ok(Response::new(answer(self.0.is_ready())))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let HealthCheckRequest { service } = request.into_inner();
        if !self.0.knows(&service) {
            let unknown = HealthCheckResponse {
                status: ServingStatus::ServiceUnknown.into(),
            };
            let first = futures_util::stream::iter([Ok(unknown)]);
            return Ok(Response::new(
                first.chain(futures_util::stream::pending()).boxed(),
            ));
        }
        let changes = WatchStream::new(self.0.ready.subscribe());
        Ok(Response::new(
            changes.map(|ready| Ok(answer(ready))).boxed(),
        ))
    }
}

fn answer(ready: bool) -> HealthCheckResponse {
    let status = if ready {
        ServingStatus::Serving
    } else {
        ServingStatus::NotServing
    };
    HealthCheckResponse {
        status: status.into(),
    }
}
