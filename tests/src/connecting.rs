//! What tests do with connectors: create, wait, call, look.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use contracts::registry::v1::connector::Transport;
use contracts::registry::v1::{
    Connector, CreateConnectorRequest, DeleteConnectorRequest, DisableConnectorRequest,
    EnableConnectorRequest, GetConnectorRequest, ListToolsRequest, StdioTransport,
    StreamableHttpTransport, Timeouts, Tool, ToolView, Variable, variable,
};
use contracts::runtime::v1::{
    CallToolRequest, CallToolResponse, CheckHealthRequest, CheckHealthResponse, GetSessionRequest,
    Session, SyncConnectorRequest, SyncConnectorResponse,
};
use tonic::Status;

use crate::clients::{Clients, text_of};
use crate::eventually::{LONG, eventually};
use crate::{HttpServer, RawServer, RealServer, State, StdioServer};

/// What is to be connected.
#[derive(Clone)]
pub struct Connection {
    transport: Transport,
    timeouts: Option<Timeouts>,
}

/// A connector that was created.
#[derive(Debug, Clone)]
pub struct Connected {
    /// Its full name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// The revision of its creation.
    pub revision: i64,
}

impl Connection {
    /// A server at a URL.
    #[must_use]
    pub fn http(url: &str) -> Self {
        let http = StreamableHttpTransport {
            url: url.to_owned(),
            headers: Vec::new(),
        };
        Self {
            transport: Transport::StreamableHttp(http),
            timeouts: None,
        }
    }

    /// A program.
    #[must_use]
    pub fn stdio(stdio: StdioTransport) -> Self {
        Self {
            transport: Transport::Stdio(stdio),
            timeouts: None,
        }
    }

    /// With a time limit for connecting.
    #[must_use]
    pub fn connect_within(mut self, limit: Duration) -> Self {
        let connect = Some(limit.try_into().unwrap());
        self.timeouts = Some(Timeouts {
            connect,
            ..self.timeouts.unwrap_or_default()
        });
        self
    }

    /// With a secret header, or a secret environment variable: whichever the transport has.
    #[must_use]
    pub fn secret(self, name: &str, value: &str) -> Self {
        self.variable(name, Some(variable::Value::Secret(value.to_owned())))
    }

    /// With a header or variable that is no secret.
    #[must_use]
    pub fn plain(self, name: &str, value: &str) -> Self {
        self.variable(name, Some(variable::Value::Plain(value.to_owned())))
    }

    fn variable(mut self, name: &str, value: Option<variable::Value>) -> Self {
        let variable = Variable {
            name: name.to_owned(),
            prefix: String::new(),
            value,
        };
        match &mut self.transport {
            Transport::Stdio(stdio) => stdio.environment.push(variable),
            Transport::StreamableHttp(http) => http.headers.push(variable),
        }
        self
    }

    /// As a resource, for requests that the methods below do not make.
    #[must_use]
    pub fn into_connector(self) -> Connector {
        let Self {
            transport,
            timeouts,
        } = self;
        Connector {
            transport: Some(transport),
            timeouts,
            ..Connector::default()
        }
    }
}

impl From<&HttpServer> for Connection {
    fn from(server: &HttpServer) -> Self {
        Self::http(&server.url())
    }
}

impl From<&RawServer> for Connection {
    fn from(server: &RawServer) -> Self {
        Self::http(&server.url())
    }
}

impl From<&StdioServer> for Connection {
    fn from(server: &StdioServer) -> Self {
        Self::stdio(server.transport())
    }
}

impl From<&RealServer> for Connection {
    fn from(server: &RealServer) -> Self {
        Self::stdio(server.transport())
    }
}

impl Clients {
    /// Creates a connector with an id of its own in a scope.
    ///
    /// # Errors
    /// What the registry says.
    pub async fn create(&self, scope: &str, what: Connection) -> Result<Connected, Status> {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let request = CreateConnectorRequest {
            parent: scope.to_owned(),
            connector_id: format!("c{}", NEXT.fetch_add(1, Ordering::Relaxed)),
            connector: Some(what.into_connector()),
            ..CreateConnectorRequest::default()
        };
        let response = self.connectors.clone().create_connector(request).await?;
        let connector = response.into_inner().connector.unwrap();
        let Connector {
            name,
            uid,
            revision,
            ..
        } = connector;
        Ok(Connected {
            name,
            uid,
            revision,
        })
    }

    /// Creates a connector for `users/ada`.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn connect(&self, what: impl Into<Connection>) -> Connected {
        match self.create("users/ada", what.into()).await {
            Ok(connector) => connector,
            Err(status) => panic!("the connector was refused: {}", text_of(&status)),
        }
    }

    /// Waits until the registry shows a state, and gives the connector as it then is.
    ///
    /// # Panics
    /// When that does not happen in time, with the last status and session.
    pub async fn wait_for(&self, connector: &Connected, state: State) -> Connector {
        self.wait_until(connector, &format!("{state:?}"), |connector| {
            connector
                .status
                .as_ref()
                .is_some_and(|status| status.state() == state)
        })
        .await
    }

    /// Waits until the registry shows what the test wants to see.
    ///
    /// # Panics
    /// When that does not happen in time, with the last status and session.
    pub async fn wait_until(
        &self,
        connector: &Connected,
        what: &str,
        wanted: impl Fn(&Connector) -> bool,
    ) -> Connector {
        let name = &connector.name;
        eventually(&format!("{name} to be {what}"), LONG, async || {
            let found = self
                .get(connector)
                .await
                .map_err(|status| text_of(&status))?;
            if wanted(&found) {
                return Ok(found);
            }
            let session = self
                .session(connector)
                .await
                .map_err(|status| text_of(&status));
            Err(format!(
                "registry: {:?}\nruntime: {session:?}",
                found.status
            ))
        })
        .await
    }

    /// The connector as the registry has it.
    ///
    /// # Errors
    /// What the registry says.
    pub async fn get(&self, connector: &Connected) -> Result<Connector, Status> {
        let request = GetConnectorRequest {
            name: connector.name.clone(),
        };
        let response = self.connectors.clone().get_connector(request).await?;
        Ok(response.into_inner().connector.unwrap())
    }

    /// The session as the runtime has it.
    ///
    /// # Errors
    /// What the runtime says.
    pub async fn session(&self, connector: &Connected) -> Result<Session, Status> {
        let request = GetSessionRequest {
            connector: connector.name.clone(),
            min_revision: connector.revision,
        };
        let response = self.sessions.clone().get_session(request).await?;
        Ok(response.into_inner().session.unwrap())
    }

    /// Calls a tool.
    ///
    /// # Errors
    /// What the runtime says.
    pub async fn call(
        &self,
        connector: &Connected,
        tool: &str,
        arguments_json: &str,
    ) -> Result<CallToolResponse, Status> {
        self.call_within(connector, tool, arguments_json, LONG)
            .await
    }

    /// Calls a tool with a deadline.
    ///
    /// # Errors
    /// What the runtime says.
    pub async fn call_within(
        &self,
        connector: &Connected,
        tool: &str,
        arguments_json: &str,
        deadline: Duration,
    ) -> Result<CallToolResponse, Status> {
        let mut request = tonic::Request::new(CallToolRequest {
            connector: connector.name.clone(),
            tool: tool.to_owned(),
            arguments_json: arguments_json.to_owned(),
            ..CallToolRequest::default()
        });
        request.set_timeout(deadline);
        Ok(self.tools.clone().call_tool(request).await?.into_inner())
    }

    /// The tools that the registry has stored, with their definitions.
    ///
    /// # Panics
    /// When the registry refuses.
    pub async fn tools_of(&self, connector: &Connected) -> Vec<Tool> {
        let request = ListToolsRequest {
            parent: connector.name.clone(),
            page_size: 1000,
            view: ToolView::Full.into(),
            ..ListToolsRequest::default()
        };
        self.connectors
            .clone()
            .list_tools(request)
            .await
            .unwrap()
            .into_inner()
            .tools
    }

    /// Reads the server's tools again.
    ///
    /// # Errors
    /// What the runtime says.
    pub async fn sync(&self, connector: &Connected) -> Result<SyncConnectorResponse, Status> {
        let request = SyncConnectorRequest {
            connector: connector.name.clone(),
            min_revision: connector.revision,
        };
        Ok(self
            .sessions
            .clone()
            .sync_connector(request)
            .await?
            .into_inner())
    }

    /// Probes the server.
    ///
    /// # Errors
    /// What the runtime says.
    pub async fn check_health(&self, connector: &Connected) -> Result<CheckHealthResponse, Status> {
        let request = CheckHealthRequest {
            connector: connector.name.clone(),
            min_revision: connector.revision,
        };
        Ok(self
            .sessions
            .clone()
            .check_health(request)
            .await?
            .into_inner())
    }

    /// Switches it off.
    ///
    /// # Panics
    /// When the registry refuses.
    pub async fn disable(&self, connector: &Connected) {
        let request = DisableConnectorRequest {
            name: connector.name.clone(),
            etag: String::new(),
        };
        self.connectors
            .clone()
            .disable_connector(request)
            .await
            .unwrap();
    }

    /// Switches it on.
    ///
    /// # Panics
    /// When the registry refuses.
    pub async fn enable(&self, connector: &Connected) {
        let request = EnableConnectorRequest {
            name: connector.name.clone(),
            etag: String::new(),
        };
        self.connectors
            .clone()
            .enable_connector(request)
            .await
            .unwrap();
    }

    /// Deletes it.
    ///
    /// # Panics
    /// When the registry refuses.
    pub async fn delete(&self, connector: &Connected) {
        let request = DeleteConnectorRequest {
            name: connector.name.clone(),
            ..DeleteConnectorRequest::default()
        };
        self.connectors
            .clone()
            .delete_connector(request)
            .await
            .unwrap();
    }
}
