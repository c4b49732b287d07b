//! `patchbay connector …`.

mod spec;
mod view;

use contracts::registry::v1 as pb;
use names::{ConnectorName, ScopeSelector};
use prost_types::Duration as ProtoDuration;

use crate::cli::{AddArgs, ConnectorCommand};
use crate::client::Client;
use crate::client::watch::follow;
use crate::failure::Failure;

/// The longest wait the registry grants.
const LONGEST_WAIT_SECONDS: u64 = 300;

/// Runs one of the commands.
pub(crate) async fn run(client: &Client, command: ConnectorCommand) -> Result<(), Failure> {
    match command {
        ConnectorCommand::Add(arguments) => add(client, *arguments).await,
        ConnectorCommand::Get { connector } => get(client, &connector).await,
        ConnectorCommand::List { scope, filter } => list(client, &scope, filter).await,
        ConnectorCommand::Enable { connector } => enable(client, &connector).await,
        ConnectorCommand::Disable { connector } => disable(client, &connector).await,
        ConnectorCommand::Rm { connector } => rm(client, &connector).await,
        ConnectorCommand::Watch { scope } => watch(client, &scope).await,
    }
}

async fn add(client: &Client, arguments: AddArgs) -> Result<(), Failure> {
    let wait = arguments.wait;
    // The request id makes the call safe to send again when its answer is lost.
    let request = pb::CreateConnectorRequest {
        parent: arguments.name.scope().to_string(),
        connector_id: arguments.name.id().to_string(),
        request_id: uuid::Uuid::new_v4().to_string(),
        validate_only: false,
        connector: Some(spec::connector(arguments, &mut std::io::stdin().lock())?),
    };
    let mut created = client
        .registry()
        .create_connector(client.request(request))
        .await?
        .into_inner();
    if wait {
        let connector = created.connector.take().unwrap_or_default();
        created.connector = Some(settle(client, connector).await?);
    }
    let name = "patchbay.registry.v1.CreateConnectorResponse";
    client.printer().answer(name, &created, |created| {
        view::state_lines(created.connector.as_ref())
    })?;
    if !wait {
        return Ok(());
    }
    let connector = created.connector.unwrap_or_default();
    match connector.status {
        Some(status) if status.condition() == pb::Condition::Connected => Ok(()),
        Some(_) | None => Err(Failure::NotConnected {
            connector: connector.name,
        }),
    }
}

/// Waits until what was created is connected, or is known not to be.
async fn settle(client: &Client, created: pb::Connector) -> Result<pb::Connector, Failure> {
    let seconds = client.timeout().as_secs().min(LONGEST_WAIT_SECONDS);
    let request = pb::WaitConnectorRequest {
        name: created.name.clone(),
        min_revision: created.revision,
        timeout: Some(ProtoDuration {
            seconds: i64::try_from(seconds).unwrap_or(i64::MAX),
            nanos: 0,
        }),
    };
    // The answer comes at the timeout at the latest; the call itself may take a little longer.
    let answer = client
        .registry()
        .wait_connector(client.patient_request(request))
        .await?;
    Ok(answer.into_inner().connector.unwrap_or(created))
}

async fn get(client: &Client, connector: &ConnectorName) -> Result<(), Failure> {
    let request = pb::GetConnectorRequest {
        name: connector.to_string(),
    };
    let answer = client
        .registry()
        .get_connector(client.request(request))
        .await?
        .into_inner();
    let name = "patchbay.registry.v1.GetConnectorResponse";
    client.printer().answer(name, &answer, |answer| {
        view::details(answer.connector.as_ref())
    })
}

async fn list(
    client: &Client,
    scope: &ScopeSelector,
    filter: Option<String>,
) -> Result<(), Failure> {
    let mut all = pb::ListConnectorsResponse::default();
    let mut page_token = String::new();
    loop {
        let request = pb::ListConnectorsRequest {
            parent: scope.to_string(),
            page_size: 500,
            page_token,
            filter: filter.clone().unwrap_or_default(),
            order_by: String::new(),
        };
        let page = client
            .registry()
            .list_connectors(client.request(request))
            .await?
            .into_inner();
        all.connectors.extend(page.connectors);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    let name = "patchbay.registry.v1.ListConnectorsResponse";
    client
        .printer()
        .answer(name, &all, |all| view::table(&all.connectors))
}

async fn enable(client: &Client, connector: &ConnectorName) -> Result<(), Failure> {
    let request = pb::EnableConnectorRequest {
        name: connector.to_string(),
        etag: String::new(),
    };
    let answer = client
        .registry()
        .enable_connector(client.request(request))
        .await?
        .into_inner();
    let name = "patchbay.registry.v1.EnableConnectorResponse";
    client.printer().answer(name, &answer, |answer| {
        view::state_lines(answer.connector.as_ref())
    })
}

async fn disable(client: &Client, connector: &ConnectorName) -> Result<(), Failure> {
    let request = pb::DisableConnectorRequest {
        name: connector.to_string(),
        etag: String::new(),
    };
    let answer = client
        .registry()
        .disable_connector(client.request(request))
        .await?
        .into_inner();
    let name = "patchbay.registry.v1.DisableConnectorResponse";
    client.printer().answer(name, &answer, |answer| {
        view::state_lines(answer.connector.as_ref())
    })
}

async fn rm(client: &Client, connector: &ConnectorName) -> Result<(), Failure> {
    let request = pb::DeleteConnectorRequest {
        name: connector.to_string(),
        etag: String::new(),
        allow_missing: false,
    };
    let answer = client
        .registry()
        .delete_connector(client.request(request))
        .await?
        .into_inner();
    let name = "patchbay.registry.v1.DeleteConnectorResponse";
    client
        .printer()
        .answer(name, &answer, |_| format!("{connector} deleted\n"))
}

async fn watch(client: &Client, scope: &ScopeSelector) -> Result<(), Failure> {
    let open = async |resume_token| {
        let request = pb::WatchConnectorsRequest {
            parents: vec![scope.to_string()],
            view: pb::WatchView::Full.into(),
            resume_token,
        };
        let stream = client.registry_streams().watch_connectors(request).await?;
        Ok(stream.into_inner())
    };
    let name = "patchbay.registry.v1.WatchConnectorsResponse";
    let show = |event: &pb::WatchConnectorsResponse| {
        client.printer().event(name, event, view::event_line)?;
        Ok(event.resume_token.clone())
    };
    let (patience, output) = (client.timeout(), client.printer().output());
    Err(follow(patience, output, open, show).await)
}
