//! Starting sessions, waiting for what they come to, and calling through them.

use std::{sync::Arc, time::Duration};

use egress::{Egress, Timeouts as EgressTimeouts};
use lifecycle::{CancellationToken, Tasks};
use names::ConnectorUid;
use policy::{Policy, ScopeKind};
use runtime_sync::{
    domain::{CallError, ConnectionState, SessionSpec, SessionStatus, Timeouts, TransportSpec},
    session::{
        Prepare, Prepared, ProbeOptions, Session, SessionHandle, SessionOptions, SyncOptions,
        ToolCall, ToolResult,
    },
    transport::{HttpTarget, Limits, OpenOptions, StdioTarget, Target},
};
use tokio::time::Instant;

/// Long enough for a loaded machine; nothing waits for it when all is well.
pub(crate) const LONG: Duration = Duration::from_secs(60);
/// An interval that is never reached.
pub(crate) const NEVER: Duration = Duration::from_secs(100_000);

/// A running session.
pub(crate) struct Running {
    pub(crate) handle: SessionHandle,
    pub(crate) tasks: Tasks,
    pub(crate) revoked: CancellationToken,
}

/// Options under which nothing happens by itself, and what happens happens fast.
pub(crate) fn quiet() -> SessionOptions {
    SessionOptions {
        connect_timeout: Duration::from_secs(20),
        quick_retry: Duration::from_millis(50),
        backoff_initial: Duration::from_millis(50),
        backoff_max: Duration::from_millis(200),
        probe: ProbeOptions {
            interval: NEVER,
            timeout: Duration::from_secs(10),
            ..ProbeOptions::default()
        },
        sync: SyncOptions {
            interval: NEVER,
            debounce: Duration::from_millis(5),
            min_gap: Duration::from_millis(5),
            ..SyncOptions::default()
        },
        stop_grace: Duration::from_secs(10),
        ..SessionOptions::default()
    }
}

/// A session with a server at a URL.
pub(crate) fn http(url: &str, options: SessionOptions) -> Running {
    let url: url::Url = url.parse().unwrap();
    start(
        options,
        TransportSpec::Http {
            url: url.to_string(),
            headers: vec![],
        },
        move || {
            Target::Http(HttpTarget {
                url: url.clone(),
                headers: vec![],
            })
        },
    )
}

/// A session with a shell script.
pub(crate) fn script(text: &str, options: SessionOptions) -> Running {
    let args = vec!["-c".to_owned(), text.to_owned()];
    let spec = TransportSpec::Stdio {
        command: "/bin/sh".into(),
        args: args.clone(),
        env: vec![],
        working_directory: None,
    };
    start(options, spec, move || {
        Target::Stdio(StdioTarget {
            command: "/bin/sh".into(),
            args: args.clone(),
            env: vec![],
            cwd: None,
        })
    })
}

/// How links are opened in tests.
pub(crate) fn open_options() -> OpenOptions {
    drop(rustls::crypto::ring::default_provider().install_default());
    let egress = Egress::new(Policy::local(), EgressTimeouts::default()).unwrap();
    let mut options = OpenOptions::new(egress, ScopeKind::User);
    options.guard = env!("CARGO_BIN_EXE_runtime-sync").into();
    options.limits = Limits {
        eof_grace: Duration::from_millis(200),
        term_grace: Duration::from_millis(200),
        ..Limits::default()
    };
    options
}

pub(crate) fn spec(transport: TransportSpec) -> SessionSpec {
    SessionSpec {
        uid: ConnectorUid::new(uuid::Uuid::now_v7()),
        name: "users/ada/connectors/tried".parse().unwrap(),
        generation: 7,
        transport,
        timeouts: Timeouts::default(),
    }
}

fn start(
    options: SessionOptions,
    transport: TransportSpec,
    target: impl Fn() -> Target + Send + Sync + 'static,
) -> Running {
    let revoked = CancellationToken::new();
    let (open, token) = (open_options(), revoked.clone());
    let prepare: Prepare = Arc::new(move |_| {
        let prepared = Prepared {
            target: target(),
            options: open.clone(),
            revoked: token.clone(),
            lease: None,
        };
        Box::pin(std::future::ready(Ok(prepared)))
    });
    start_with(options, spec(transport), prepare, revoked)
}

/// A session with a preparation of the test's own.
pub(crate) fn start_with(
    options: SessionOptions,
    spec: SessionSpec,
    prepare: Prepare,
    revoked: CancellationToken,
) -> Running {
    let tasks = Tasks::new("test");
    let handle = Session::start(spec, prepare, Arc::new(options), &tasks);
    Running {
        handle,
        tasks,
        revoked,
    }
}

impl Running {
    pub(crate) fn status(&self) -> Arc<SessionStatus> {
        self.handle.status().borrow().clone()
    }

    /// Waits for a status; the failure text holds the last one.
    pub(crate) async fn wait(
        &self,
        what: &str,
        wanted: impl Fn(&SessionStatus) -> bool,
    ) -> Arc<SessionStatus> {
        let mut statuses = self.handle.status();
        let reached = tokio::time::timeout(LONG, statuses.wait_for(|status| wanted(status))).await;
        match reached {
            Ok(Ok(status)) => status.clone(),
            Ok(Err(_)) | Err(_) => panic!("never {what}: {:#?}", self.status()),
        }
    }

    pub(crate) async fn state(&self, state: ConnectionState) -> Arc<SessionStatus> {
        self.wait(state.as_str(), |status| status.state == state)
            .await
    }

    pub(crate) async fn ready(&self) -> Arc<SessionStatus> {
        self.state(ConnectionState::Ready).await
    }

    pub(crate) async fn call(&self, tool: &str, arguments: &str) -> Result<ToolResult, CallError> {
        self.handle.call_tool(call(tool, arguments)).await
    }

    pub(crate) async fn sync(&self) -> Arc<SessionStatus> {
        self.handle.sync(Instant::now() + LONG).await.unwrap()
    }

    pub(crate) fn tool_names(&self) -> Vec<String> {
        self.status()
            .tools
            .iter()
            .map(|tool| tool.name.clone())
            .collect()
    }
}

/// A call that waits long.
pub(crate) fn call(tool: &str, arguments: &str) -> ToolCall {
    ToolCall {
        tool: tool.to_owned(),
        arguments: arguments.to_owned(),
        expected_definition_hash: None,
        trace: vec![],
        deadline: Some(Instant::now() + LONG),
        cancel: CancellationToken::new(),
    }
}

/// Waits until something that is not a status becomes true.
pub(crate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + LONG;
    let mut ticks = tokio::time::interval(Duration::from_millis(5));
    while !holds() {
        assert!(Instant::now() < deadline, "never: {what}");
        ticks.tick().await;
    }
}
