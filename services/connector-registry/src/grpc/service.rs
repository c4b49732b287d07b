//! The handlers of `ConnectorService`: authorise, convert, call, convert. No rule of the registry stands here.

use std::{pin::Pin, time::Duration};

use contracts::registry::v1 as pb;
use futures_util::Stream;
use lifecycle::Tasks;
use names::ConnectorName;
use rpc::{
    Caller, authorise,
    paging::{Pager, page_size},
};
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::Instant;
use tonic::{Request, Response, Status, Streaming};

use super::{convert, definitions, watch};
use crate::{
    domain::{order::Cursor, update::Mask, violation::Violations},
    error::Error,
    registry::{Key, Registry, ToolCursor, ToolRequest},
};

const MAX_NAMES: usize = 16;
const DEFAULT_WAIT: Duration = Duration::from_secs(30);
const MAX_WAIT: Duration = Duration::from_secs(5 * 60);
/// What is kept back of a wait's deadline, to answer in time.
const MARGIN: Duration = Duration::from_millis(200);

type Answer<T> = Result<Response<T>, Status>;

/// `patchbay.registry.v1.ConnectorService`.
#[derive(Debug)]
pub struct Service {
    registry: Registry,
    pager: Pager,
    /// Owns the tasks that feed watches.
    watches: Tasks,
}

impl Service {
    /// Serves `registry`; tasks of watches are started in `watches`.
    #[must_use]
    pub fn new(registry: Registry, watches: Tasks) -> Self {
        Self {
            registry,
            pager: Pager::for_process(),
            watches,
        }
    }

    fn position<T: DeserializeOwned>(
        &self,
        bound_to: &[&str],
        token: &str,
    ) -> Result<Option<T>, Status> {
        let position = self.pager.position(bound_to, token)?;
        // A position of an older release may no longer be read; the list then begins anew.
        Ok(position.and_then(|position| serde_json::from_slice(&position).ok()))
    }

    fn token<T: Serialize>(&self, bound_to: &[&str], position: Option<T>) -> String {
        let position = position.and_then(|position| serde_json::to_vec(&position).ok());
        position
            .map(|position| self.pager.token(bound_to, &position))
            .unwrap_or_default()
    }
}

#[tonic::async_trait]
impl pb::connector_service_server::ConnectorService for Service {
    async fn create_connector(
        &self,
        request: Request<pb::CreateConnectorRequest>,
    ) -> Answer<pb::CreateConnectorResponse> {
        let (caller, message) = authorise(request)?;
        let request = convert::create_request(&caller.principal.subject, message)?;
        let created = self.registry.create(request).await?;
        Ok(Response::new(pb::CreateConnectorResponse {
            connector: Some(convert::full(&created)),
        }))
    }

    async fn get_connector(
        &self,
        request: Request<pb::GetConnectorRequest>,
    ) -> Answer<pb::GetConnectorResponse> {
        let (_, pb::GetConnectorRequest { name }) = authorise(request)?;
        let shown = self.registry.get(&convert::connector_name(&name)?).await?;
        Ok(Response::new(pb::GetConnectorResponse {
            connector: Some(convert::full(&shown)),
        }))
    }

    async fn list_connectors(
        &self,
        request: Request<pb::ListConnectorsRequest>,
    ) -> Answer<pb::ListConnectorsResponse> {
        let (_, message) = authorise(request)?;
        let pb::ListConnectorsRequest {
            parent,
            page_size: size,
            page_token,
            filter,
            order_by,
        } = message;
        let bound_to = ["ListConnectors", &parent, &filter, &order_by];
        let after: Option<Cursor> = self.position(&bound_to, &page_token)?;
        let limit = page_size(size, 50, 500)?;
        let request = convert::list_request(&parent, &filter, &order_by, after, limit)?;
        let page = self.registry.list(request).await?;
        Ok(Response::new(pb::ListConnectorsResponse {
            connectors: page.connectors.iter().map(convert::full).collect(),
            next_page_token: self.token(&bound_to, page.next),
        }))
    }

    async fn update_connector(
        &self,
        request: Request<pb::UpdateConnectorRequest>,
    ) -> Answer<pb::UpdateConnectorResponse> {
        let (
            caller,
            pb::UpdateConnectorRequest {
                connector,
                update_mask,
            },
        ) = authorise(request)?;
        let connector = connector.unwrap_or_default();
        let name: ConnectorName = convert::parse_name("connector.name", &connector.name)?;
        let etag = given(connector.etag.clone());
        let mask = Mask::new(update_mask.map(|mask| mask.paths).unwrap_or_default());
        let draft = convert::draft(connector);
        let updated = self
            .registry
            .update(subject(&caller), &name, &draft, &mask, etag.as_deref())
            .await?;
        Ok(Response::new(pb::UpdateConnectorResponse {
            connector: Some(convert::full(&updated)),
        }))
    }

    async fn delete_connector(
        &self,
        request: Request<pb::DeleteConnectorRequest>,
    ) -> Answer<pb::DeleteConnectorResponse> {
        let (
            caller,
            pb::DeleteConnectorRequest {
                name,
                etag,
                allow_missing,
            },
        ) = authorise(request)?;
        let name = convert::connector_name(&name)?;
        let deleted = self
            .registry
            .delete(subject(&caller), &name, given(etag).as_deref())
            .await;
        let revision = match deleted {
            Err(Error::NotFound(_)) if allow_missing => 0,
            deleted => deleted?,
        };
        Ok(Response::new(pb::DeleteConnectorResponse { revision }))
    }

    async fn set_connector_secrets(
        &self,
        request: Request<pb::SetConnectorSecretsRequest>,
    ) -> Answer<pb::SetConnectorSecretsResponse> {
        let (caller, message) = authorise(request)?;
        let request = convert::secrets_request(&caller.principal.subject, message)?;
        let changed = self.registry.set_secrets(request).await?;
        Ok(Response::new(pb::SetConnectorSecretsResponse {
            connector: Some(convert::full(&changed)),
        }))
    }

    async fn enable_connector(
        &self,
        request: Request<pb::EnableConnectorRequest>,
    ) -> Answer<pb::EnableConnectorResponse> {
        let (caller, pb::EnableConnectorRequest { name, etag }) = authorise(request)?;
        let name = convert::connector_name(&name)?;
        let enabled = self
            .registry
            .enable(subject(&caller), &name, given(etag).as_deref())
            .await?;
        Ok(Response::new(pb::EnableConnectorResponse {
            connector: Some(convert::full(&enabled)),
        }))
    }

    async fn disable_connector(
        &self,
        request: Request<pb::DisableConnectorRequest>,
    ) -> Answer<pb::DisableConnectorResponse> {
        let (caller, pb::DisableConnectorRequest { name, etag }) = authorise(request)?;
        let name = convert::connector_name(&name)?;
        let disabled = self
            .registry
            .disable(subject(&caller), &name, given(etag).as_deref())
            .await?;
        Ok(Response::new(pb::DisableConnectorResponse {
            connector: Some(convert::full(&disabled)),
        }))
    }

    async fn wait_connector(
        &self,
        request: Request<pb::WaitConnectorRequest>,
    ) -> Answer<pb::WaitConnectorResponse> {
        let (
            caller,
            pb::WaitConnectorRequest {
                name,
                min_revision,
                timeout,
            },
        ) = authorise(request)?;
        let until = wait_until(&caller, timeout.as_ref())?;
        let waited = self
            .registry
            .wait(
                &convert::connector_name(&name)?,
                min_revision,
                until,
                &caller.draining,
            )
            .await?;
        Ok(Response::new(pb::WaitConnectorResponse {
            connector: Some(convert::full(&waited.shown)),
            settled: waited.settled,
        }))
    }

    async fn get_scope(
        &self,
        request: Request<pb::GetScopeRequest>,
    ) -> Answer<pb::GetScopeResponse> {
        let (_, pb::GetScopeRequest { name }) = authorise(request)?;
        let facts = self
            .registry
            .scope(convert::parse_name("name", &name)?)
            .await?;
        Ok(Response::new(pb::GetScopeResponse {
            scope: Some(convert::scope(facts)),
        }))
    }

    async fn list_tools(
        &self,
        request: Request<pb::ListToolsRequest>,
    ) -> Answer<pb::ListToolsResponse> {
        let (_, message) = authorise(request)?;
        let view = message.view();
        let pb::ListToolsRequest {
            parent,
            page_size: size,
            page_token,
            view: _,
        } = message;
        let bound_to = ["ListTools", &parent, view.as_str_name()];
        let after: Option<ToolCursor> = self.position(&bound_to, &page_token)?;
        let of = convert::tool_scope(&parent)?;
        let detail = convert::tool_detail(view);
        let limit = page_size(size, 100, 1_000)?;
        let page = self
            .registry
            .tools(ToolRequest {
                of,
                detail,
                after,
                limit,
            })
            .await?;
        Ok(Response::new(pb::ListToolsResponse {
            tools: page.tools.into_iter().map(convert::tool).collect(),
            next_page_token: self.token(&bound_to, page.next),
        }))
    }

    type WatchConnectorsStream =
        Pin<Box<dyn Stream<Item = Result<pb::WatchConnectorsResponse, Status>> + Send>>;

    async fn watch_connectors(
        &self,
        request: Request<pb::WatchConnectorsRequest>,
    ) -> Answer<Self::WatchConnectorsStream> {
        let (caller, message) = authorise(request)?;
        let key = match message.view() {
            pb::WatchView::Desired => Key::Desired,
            pb::WatchView::Full | pb::WatchView::Unspecified => Key::Any,
        };
        let selection = convert::selection(&message.parents)?;
        let resume = convert::resume_token(&message.resume_token)?;
        let watcher = self.registry.watch(selection, key, resume).await?;
        let patience = self.registry.settings().slow_reader;
        Ok(Response::new(Box::pin(watch::stream(
            watcher,
            key,
            patience,
            caller.draining,
            &self.watches,
        ))))
    }

    async fn report_status(
        &self,
        request: Request<pb::ReportStatusRequest>,
    ) -> Answer<pb::ReportStatusResponse> {
        let (
            _,
            pb::ReportStatusRequest {
                instance,
                connectors,
            },
        ) = authorise(request)?;
        let runtime = convert::runtime(instance)?;
        let report = self
            .registry
            .report(&runtime, convert::observed(connectors)?)
            .await?;
        Ok(Response::new(pb::ReportStatusResponse {
            lease_epoch: report.epoch,
            presence_expire_time: Some(convert::timestamp(report.present_until)),
            missing_hashes: report
                .missing
                .iter()
                .map(|hash| hash.as_str().to_owned())
                .collect(),
            ignored_uids: report.ignored.iter().map(ToString::to_string).collect(),
        }))
    }

    async fn upload_definitions(
        &self,
        request: Request<Streaming<pb::UploadDefinitionsRequest>>,
    ) -> Answer<pb::UploadDefinitionsResponse> {
        let caller = rpc::caller(&request)?;
        let stored_count =
            definitions::store_all(&self.registry, &caller, request.into_inner()).await?;
        Ok(Response::new(pb::UploadDefinitionsResponse {
            stored_count,
        }))
    }

    async fn resolve_connectors(
        &self,
        request: Request<pb::ResolveConnectorsRequest>,
    ) -> Answer<pb::ResolveConnectorsResponse> {
        let (caller, pb::ResolveConnectorsRequest { instance, names }) = authorise(request)?;
        let runtime = convert::runtime(instance)?;
        let names = connector_names(&names)?;
        let resolved = self
            .registry
            .resolve(&runtime, &caller.principal.subject, &names)
            .await?;
        let connectors = names
            .iter()
            .zip(resolved)
            .map(|(name, one)| convert::resolved(name, one))
            .collect();
        Ok(Response::new(pb::ResolveConnectorsResponse { connectors }))
    }
}

fn subject(caller: &Caller) -> &str {
    &caller.principal.subject
}

fn given(etag: String) -> Option<String> {
    (!etag.is_empty()).then_some(etag)
}

fn connector_names(names: &[String]) -> Result<Vec<ConnectorName>, Violations> {
    if names.is_empty() || names.len() > MAX_NAMES {
        return Err(Violations::one("names", "1 to 16 are resolved at a time"));
    }
    names
        .iter()
        .enumerate()
        .map(|(at, name)| convert::parse_name(&format!("names[{at}]"), name))
        .collect()
}

/// The end of a wait: the timeout that was asked for, but in time to answer before the deadline.
fn wait_until(
    caller: &Caller,
    timeout: Option<&prost_types::Duration>,
) -> Result<Instant, Violations> {
    let timeout = match timeout {
        None => DEFAULT_WAIT,
        Some(timeout) if timeout.seconds < 0 || timeout.nanos < 0 => {
            return Err(Violations::one("timeout", "is not negative"));
        }
        Some(timeout) => convert::duration(timeout).min(MAX_WAIT),
    };
    let now = Instant::now();
    let deadline = caller.deadline.at();
    Ok((now + timeout).min(deadline.checked_sub(MARGIN).unwrap_or(deadline)))
}
