//! A running server with the test service, and clients for it.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use identity::{Gate, Principal, StaticTokens};
use names::access::{Role, Verb};
use rpc::{
    Listener, Running, Server, ServerOptions,
    client::{Channel, Channels, ClientOptions, Token, connect},
};
use sensitive::Text;
use tokio::sync::watch;
use tonic::{Request, Status, Streaming};

use crate::service::{Ask, RULES, Said, State, TestService};

/// Longer than anything here takes; a test that waits for it has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Suite {
    pub(crate) server: Running,
    pub(crate) state: Arc<State>,
}

pub(crate) fn gate() -> Gate {
    let ada = Principal::with_role("ada", Role::Caller)
        .with_claim("users/ada".parse().expect("selector"), [Verb::Use]);
    let viewer = Principal::with_role("vic", Role::Viewer);
    let runtime = Principal::with_role("runtime", Role::RuntimeSync);
    let tokens = StaticTokens::from_plain([("ada", ada), ("viewer", viewer), ("runtime", runtime)]);
    Gate::new(tokens, &RULES)
}

impl Suite {
    pub(crate) fn start() -> Self {
        Self::with(ServerOptions::default())
    }

    pub(crate) fn with(options: ServerOptions) -> Self {
        Self::at("127.0.0.1:0".parse().expect("address"), options, None)
    }

    /// A server whose handlers can call another one.
    pub(crate) fn before(next: &Self) -> Self {
        let address = "127.0.0.1:0".parse().expect("address");
        Self::at(address, ServerOptions::default(), Some(next.channels()))
    }

    pub(crate) fn at(
        address: SocketAddr,
        options: ServerOptions,
        onward: Option<Channels>,
    ) -> Self {
        let state = State::new(onward);
        let listener = Listener::bind(address).expect("a free port");
        let server = Server::new(options, gate())
            .add(TestService(Arc::clone(&state)))
            .start(listener)
            .expect("started");
        Self { server, state }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.server.address()
    }

    pub(crate) fn options(&self, token: &str) -> ClientOptions {
        client_options(self.address(), token)
    }

    /// Channels of the caller "ada".
    pub(crate) fn channels(&self) -> Channels {
        connect(self.options("ada")).expect("channels")
    }

    pub(crate) fn channels_of(&self, token: &str) -> Channels {
        connect(self.options(token)).expect("channels")
    }
}

pub(crate) fn client_options(address: SocketAddr, token: &str) -> ClientOptions {
    let token = match token {
        "" => Token::None,
        token => Token::Text(Text::new(token.to_owned())),
    };
    ClientOptions::new(format!("http://{address}"), token, &RULES)
}

/// Calls a unary method.
pub(crate) async fn unary(
    channel: &Channel,
    path: &'static str,
    request: impl tonic::IntoRequest<Ask>,
) -> Result<Said, Status> {
    let codec = tonic_prost::ProstCodec::<Ask, Said>::default();
    let mut grpc = tonic::client::Grpc::new(channel.clone());
    grpc.ready().await?;
    let path = http::uri::PathAndQuery::from_static(path);
    Ok(grpc
        .unary(request.into_request(), path, codec)
        .await?
        .into_inner())
}

/// Opens a stream.
pub(crate) async fn open(
    channel: &Channel,
    path: &'static str,
    request: impl tonic::IntoRequest<Ask>,
) -> Result<Streaming<Said>, Status> {
    let codec = tonic_prost::ProstCodec::<Ask, Said>::default();
    let mut grpc = tonic::client::Grpc::new(channel.clone());
    grpc.ready().await?;
    let path = http::uri::PathAndQuery::from_static(path);
    Ok(grpc
        .server_streaming(request.into_request(), path, codec)
        .await?
        .into_inner())
}

pub(crate) fn with_timeout(ask: Ask, timeout: Duration) -> Request<Ask> {
    let mut request = Request::new(ask);
    request.set_timeout(timeout);
    request
}

/// Waits until a counter has reached `at_least`.
pub(crate) async fn reaches(counter: &watch::Sender<usize>, at_least: usize) {
    let mut counter = counter.subscribe();
    let reached = counter.wait_for(|count| *count >= at_least);
    let waited = tokio::time::timeout(PATIENCE, reached).await.map(drop);
    assert!(
        waited.is_ok(),
        "waited for {at_least}, have {}",
        *counter.borrow()
    );
}

/// Waits for `work`, and says what it was if that takes too long.
pub(crate) async fn soon<F: Future>(what: &str, work: F) -> F::Output {
    let done = tokio::time::timeout(PATIENCE, work).await;
    done.unwrap_or_else(|_| panic!("took too long: {what}"))
}
