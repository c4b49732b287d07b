//! The service as a whole: what is started, in which order, and how it ends.
//!
//! Invariants: starting needs no peer to be there; stopping ends every session, gives every lease back as far as there
//! is time, and is bounded. No rule of the service is here.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use egress::Egress;
use identity::{Gate, StaticTokens};
use lifecycle::{Clock, EarlyEnd, Tasks};
use rpc::{
    client::{Channels, ClientOptions, Token},
    paging::Pager,
};
use tokio::sync::Semaphore;
use uuid::Uuid;

use crate::{
    calls::Calls,
    config::{Config, Tuning},
    grpc::{self, SessionHandlers, ToolHandlers, WatchOptions},
    invocations::{Bounds, Invocations},
    session::{CallOptions, ProbeOptions, SessionOptions, SyncOptions},
    supervisor::{self, ConnectOptions, Sessions, Supervision, Supervisor},
    transport::Limits,
    upstream::{
        registry::{FeedOptions, Instance, Registry, RegistryOptions, ReportOptions},
        vault::{LeaseOptions, Vault},
    },
};

/// How long one request to a peer may take.
const PEER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long leases may take to be given back at the end.
const RELEASE_GRACE: Duration = Duration::from_secs(2);

/// The running service.
#[derive(Debug)]
pub struct App {
    server: rpc::Running,
    /// The supervisor with all sessions.
    supervision: Tasks,
    /// The feed, the reporter, the resolver.
    upstream: Tasks,
    /// Calls and watches under way.
    serving: Arc<Tasks>,
    vault: Arc<Vault>,
    stop_grace: Duration,
}

/// Why the service could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration is not valid.
    #[error(transparent)]
    Config(#[from] program::Problems),
    /// The file of token hashes cannot be used.
    #[error("the tokens file cannot be used")]
    Tokens(#[from] identity::TokensFileError),
    /// A peer's address or our own token cannot be used.
    #[error("the peers cannot be called")]
    Peer(#[from] rpc::client::ConnectError),
    /// The address cannot be listened on.
    #[error("the address cannot be listened on")]
    Listen(#[from] rpc::BindError),
    /// The server cannot be put together.
    #[error("the server cannot be put together")]
    Server(#[from] rpc::StartError),
    /// Outgoing connections cannot be made at all.
    #[error("outgoing connections cannot be made")]
    Egress(#[from] egress::Error),
}

impl App {
    /// Starts the service. Call it inside the tokio runtime.
    ///
    /// # Errors
    /// [`StartError`]; a peer that cannot be reached is none.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        config.check()?;
        // Another part of the process may have chosen it already; any ring is as good.
        drop(rustls::crypto::ring::default_provider().install_default());
        let tuning = config.tuning.clone();
        let listener = rpc::Listener::bind(config.listen)?;
        let gate = Gate::new(
            StaticTokens::read(&config.tokens_file)?,
            contracts::method_rules(),
        );
        let clock = Clock::system();
        let (upstream, supervision) = (Tasks::new("upstream"), Tasks::new("supervision"));
        let serving = Arc::new(Tasks::new("serving"));
        let instance = Instance {
            id: Uuid::now_v7(),
            name: config.instance_name.clone(),
        };
        let registry = peer(&config.registry_address, &config)?;
        let registry = Registry::start(
            &registry,
            instance,
            registry_options(&tuning),
            &clock,
            &upstream,
        );
        let vault = peer(&config.vault_address, &config)?;
        let vault = Vault::new(&vault, lease_options(&tuning), clock.clone());
        let sessions = supervise(&config, registry, &vault, &clock, &supervision)?;
        let (tools, handlers) = handlers(sessions, &clock, &serving);
        let server = rpc::Server::new(server_options(&tuning), gate)
            .descriptors(contracts::FILE_DESCRIPTOR_SET);
        let server = grpc::services(server, tools, handlers).start(listener)?;
        server.set_ready(true);
        tracing::info!(address = %server.address(), instance = config.instance_name, "runtime-sync serves");
        Ok(Self {
            server,
            supervision,
            upstream,
            serving,
            vault,
            stop_grace: tuning.stop_grace,
        })
    }

    /// The address it listens on, with the real port.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Completes if a part of the service ends by itself, which is an error. Cancel safe.
    pub async fn early_end(&self) -> EarlyEnd {
        tokio::select! {
            end = self.server.early_end() => end,
            end = self.supervision.early_end() => end,
            end = self.upstream.early_end() => end,
            end = self.serving.early_end() => end,
        }
    }

    /// Ends in order: calls are drained, sessions ended, leases given back; whatever is left after its bound is cut.
    pub async fn stop(self) {
        self.server.stop().await;
        self.serving.stop(Duration::from_secs(1)).await;
        // One second more than a session has, so that the supervisor can tell which one was cut.
        self.supervision
            .stop(self.stop_grace + Duration::from_secs(1))
            .await;
        self.vault.stop(RELEASE_GRACE).await;
        self.upstream.stop(Duration::from_secs(1)).await;
        tracing::info!("runtime-sync has stopped");
    }
}

fn peer(address: &str, config: &Config) -> Result<Channels, StartError> {
    let token = Token::File(config.token_file.clone());
    let mut options = ClientOptions::new(address, token, contracts::method_rules());
    options.default_deadline = PEER_TIMEOUT;
    Ok(rpc::client::connect(options)?)
}

/// Starts the supervisor; gives the way to its sessions.
fn supervise(
    config: &Config,
    registry: Registry,
    vault: &Arc<Vault>,
    clock: &Clock,
    tasks: &Tasks,
) -> Result<Sessions, StartError> {
    let Registry {
        desired,
        freshness,
        lease,
        resolver,
        reports,
    } = registry;
    let tuning = &config.tuning;
    let connect = ConnectOptions {
        egress: Egress::new(config.policy.policy(), egress::Timeouts::default())?,
        guard: config.guard_program(),
        environment: config.stdio_environment(),
        limits: Limits {
            eof_grace: tuning.process_grace,
            term_grace: tuning.process_grace,
            ..Limits::default()
        },
    };
    let with = Supervision {
        desired: desired.clone(),
        epoch: lease.epoch(),
        reports,
        prepare: supervisor::prepare(resolver, lease.clone(), Arc::clone(vault), connect),
        options: Arc::new(session_options(tuning, clock)),
        interval: tuning.reconcile_interval,
        stop_grace: tuning.stop_grace,
    };
    Ok(Sessions {
        desired,
        directory: Supervisor::start(with, tasks),
        freshness,
        stale_after: tuning.stale_after,
        lease,
        clock: clock.clone(),
        waits: Arc::new(Semaphore::new(supervisor::MAX_WAITS)),
    })
}

fn handlers(
    sessions: Sessions,
    clock: &Clock,
    serving: &Arc<Tasks>,
) -> (ToolHandlers, SessionHandlers) {
    let invocations = Invocations::new(Bounds::default(), clock.clone());
    serving.spawn(
        "expiry",
        invocations.clone().expire_in_time(serving.token()),
    );
    let calls = Calls {
        sessions: sessions.clone(),
        invocations,
        tasks: Arc::clone(serving),
    };
    let handlers = SessionHandlers {
        sessions,
        pager: Pager::for_process(),
        watching: WatchOptions {
            queue: 64,
            patience: Duration::from_secs(10),
        },
        tasks: Arc::clone(serving),
    };
    (ToolHandlers { calls }, handlers)
}

fn server_options(tuning: &Tuning) -> rpc::ServerOptions {
    rpc::ServerOptions {
        // A call without a deadline has its connector's limit, which may be as long as any.
        default_deadline: rpc::ServerOptions::default().max_deadline,
        drain_timeout: tuning.drain_timeout,
        ..rpc::ServerOptions::default()
    }
}

fn registry_options(tuning: &Tuning) -> RegistryOptions {
    RegistryOptions {
        feed: FeedOptions {
            idle: tuning.feed_idle,
            refresh: tuning.feed_refresh,
            backoff: tuning.peer_backoff,
            backoff_max: Duration::from_secs(10).max(tuning.peer_backoff),
        },
        report: ReportOptions {
            presence: tuning.presence_interval,
            collect: Duration::from_millis(50),
            retry: tuning.peer_backoff,
            timeout: PEER_TIMEOUT,
        },
    }
}

fn lease_options(tuning: &Tuning) -> LeaseOptions {
    LeaseOptions {
        grace: tuning.lease_grace,
        retry: tuning.peer_backoff,
        retry_max: Duration::from_secs(30).max(tuning.peer_backoff),
        timeout: PEER_TIMEOUT,
    }
}

fn session_options(tuning: &Tuning, clock: &Clock) -> SessionOptions {
    SessionOptions {
        clock: clock.clone(),
        connect_timeout: tuning.connect_timeout,
        connecting: Arc::new(Semaphore::new(tuning.connect_concurrency)),
        quick_retry: tuning.quick_retry,
        backoff_initial: tuning.backoff,
        backoff_max: tuning.backoff_max,
        probe: ProbeOptions {
            interval: tuning.probe_interval,
            timeout: tuning.probe_timeout,
            ..ProbeOptions::default()
        },
        sync: SyncOptions {
            interval: tuning.sync_interval,
            ..SyncOptions::default()
        },
        call: CallOptions {
            in_flight: tuning.calls_per_connector,
            timeout: tuning.call_timeout,
            ..CallOptions::default()
        },
        stop_grace: tuning.stop_grace,
        ..SessionOptions::default()
    }
}
