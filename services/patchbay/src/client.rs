//! The commands of the client, and its connection to a running suite.
//!
//! The client finds addresses and its token in the data folder, and knows nothing else of the suite: it
//! speaks gRPC like every other program.

mod connector;
pub(crate) mod json;
pub(crate) mod print;
mod session;
pub(crate) mod table;
pub(crate) mod tool;
mod value;
mod watch;

use std::path::PathBuf;
use std::time::Duration;

use contracts::registry::v1::connector_service_client::ConnectorServiceClient;
use contracts::runtime::v1::session_service_client::SessionServiceClient;
use contracts::runtime::v1::tool_service_client::ToolServiceClient;
use names::access::Role;
use rpc::client::{Channel, Channels, ClientOptions, Token, connect};
use tonic::Request;

use crate::cli::{ClientCommand, Global, Output};
use crate::client::print::Printer;
use crate::data_folder::DataFolder;
use crate::failure::Failure;

/// How much longer than its own wait a call may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// A connection to a suite, and a way to print its answers.
#[derive(Debug)]
pub(crate) struct Client {
    registry: Channels,
    runtime: Channels,
    printer: Printer,
    timeout: Duration,
}

/// Where the client's peers are, and how it proves who it is.
#[derive(Debug)]
pub(crate) struct Peers {
    pub(crate) registry: String,
    pub(crate) runtime: String,
    pub(crate) token_file: PathBuf,
}

impl Peers {
    /// What the arguments say, and the rest from the data folder.
    pub(crate) fn find(global: &Global) -> Result<Self, Failure> {
        let folder = DataFolder::at(&global.data_dir);
        let (registry, runtime) = match (&global.registry, &global.runtime) {
            (Some(registry), Some(runtime)) => (url(registry), url(runtime)),
            (registry, runtime) => {
                let addresses = folder.addresses()?;
                let found = |given: &Option<String>, address: std::net::SocketAddr| {
                    given
                        .as_deref()
                        .map_or_else(|| format!("http://{address}"), url)
                };
                (
                    found(registry, addresses.registry),
                    found(runtime, addresses.runtime),
                )
            }
        };
        let token_file = match &global.token_file {
            Some(path) => path.clone(),
            None => folder.token(Role::Caller),
        };
        Ok(Self {
            registry,
            runtime,
            token_file,
        })
    }
}

/// `HOST:PORT` is plain HTTP.
fn url(address: &str) -> String {
    if address.contains("://") {
        address.to_owned()
    } else {
        format!("http://{address}")
    }
}

impl Client {
    /// Prepares the connections; nothing is sent before the first call.
    pub(crate) fn new(peers: &Peers, output: Output, timeout: Duration) -> Result<Self, Failure> {
        let channels = |address: &str| {
            let token = Token::File(peers.token_file.clone());
            let options = ClientOptions::new(address, token, contracts::method_rules());
            connect(options).map_err(|error| Failure::Configuration(error.into()))
        };
        Ok(Self {
            registry: channels(&peers.registry)?,
            runtime: channels(&peers.runtime)?,
            printer: Printer::new(output)?,
            timeout,
        })
    }

    pub(crate) fn printer(&self) -> &Printer {
        &self.printer
    }

    /// The longest wait for an answer.
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// A request that is given up after the client's timeout.
    pub(crate) fn request<M>(&self, message: M) -> Request<M> {
        let mut request = Request::new(message);
        request.set_timeout(self.timeout);
        request
    }

    /// A request whose handler waits by itself, up to the client's timeout, and then still answers.
    pub(crate) fn patient_request<M>(&self, message: M) -> Request<M> {
        let mut request = Request::new(message);
        request.set_timeout(self.timeout + PATIENCE);
        request
    }

    pub(crate) fn registry(&self) -> ConnectorServiceClient<Channel> {
        rpc::within_limits!(ConnectorServiceClient::new(self.registry.unary.clone()))
    }

    pub(crate) fn registry_streams(&self) -> ConnectorServiceClient<Channel> {
        rpc::within_limits!(ConnectorServiceClient::new(self.registry.streams.clone()))
    }

    pub(crate) fn tools(&self) -> ToolServiceClient<Channel> {
        rpc::within_limits!(ToolServiceClient::new(self.runtime.unary.clone()))
    }

    pub(crate) fn sessions(&self) -> SessionServiceClient<Channel> {
        rpc::within_limits!(SessionServiceClient::new(self.runtime.unary.clone()))
    }

    pub(crate) fn session_streams(&self) -> SessionServiceClient<Channel> {
        rpc::within_limits!(SessionServiceClient::new(self.runtime.streams.clone()))
    }
}

/// Runs a command of the client.
pub(crate) async fn run(global: &Global, command: ClientCommand) -> Result<(), Failure> {
    let timeout = Duration::from_secs(global.timeout);
    let client = Client::new(&Peers::find(global)?, global.output, timeout)?;
    match command {
        ClientCommand::Connector(command) => connector::run(&client, command).await,
        ClientCommand::Tool(command) => tool::run(&client, command).await,
        ClientCommand::Session(command) => session::run(&client, command).await,
        ClientCommand::Sync { connector } => tool::sync(&client, &connector).await,
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::Cli;
    use crate::data_folder::{Addresses, DataFolderError};

    fn global(line: &str) -> Global {
        Cli::try_parse_from(line.split_whitespace()).unwrap().global
    }

    #[test]
    fn the_data_folder_tells_addresses_and_token() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("data");
        let list = format!(
            "patchbay --data-dir {} connector list users/ada",
            path.display()
        );
        let missing = Peers::find(&global(&list)).unwrap_err();
        let Failure::Configuration(error) = missing else {
            panic!("{missing:?}")
        };
        assert!(matches!(
            error.downcast_ref(),
            Some(DataFolderError::NoSuite(_))
        ));

        let folder = DataFolder::create(&path).unwrap();
        let address = |port| std::net::SocketAddr::from(([127, 0, 0, 1], port));
        let addresses = Addresses {
            registry: address(1),
            vault: address(2),
            runtime: address(3),
        };
        folder.write_addresses(&addresses).unwrap();
        let peers = Peers::find(&global(&list)).unwrap();
        assert_eq!(peers.registry, "http://127.0.0.1:1");
        assert_eq!(peers.runtime, "http://127.0.0.1:3");
        assert_eq!(peers.token_file, folder.path().join("tokens/caller"));
    }

    #[test]
    fn what_is_given_wins_and_needs_no_data_folder() {
        let line = "patchbay --data-dir /nonexistent --registry h:1 --runtime https://h:2 --token-file /t \
                    connector list users/ada";
        let peers = Peers::find(&global(line)).unwrap();
        assert_eq!(peers.registry, "http://h:1");
        assert_eq!(peers.runtime, "https://h:2");
        assert_eq!(peers.token_file, PathBuf::from("/t"));
    }

    #[tokio::test]
    async fn a_missing_token_is_a_wrong_configuration() {
        let peers = Peers {
            registry: "http://127.0.0.1:1".into(),
            runtime: "http://127.0.0.1:2".into(),
            token_file: "/nonexistent/token".into(),
        };
        let failure = Client::new(&peers, Output::Table, Duration::from_secs(1)).unwrap_err();
        assert!(matches!(failure, Failure::Configuration(_)), "{failure:?}");
    }
}
