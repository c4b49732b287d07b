//! A service written by hand, because generated ones are not for this crate. What a handler does
//! is what the message asks for.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use futures_util::{FutureExt as _, Stream, StreamExt as _, future::BoxFuture, stream};
use http::HeaderMap;
use names::access::{MethodRule, Role, ScopeSource, ScopedRequest, Verb};
use rpc::{
    Caller, MAX_MESSAGE_BYTES,
    client::Channels,
    error::{Outcome, RichError},
};
use tokio::sync::{Semaphore, watch};
use tonic::{Code, Request, Response, Status, body::Body, server::NamedService};
use tower::{Service, service_fn};

/// Asks for something to be done.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Ask {
    #[prost(string, tag = "1")]
    pub(crate) what: String,
    #[prost(string, tag = "2")]
    pub(crate) parent: String,
    #[prost(uint64, tag = "3")]
    pub(crate) number: u64,
}

/// Says what came of it.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Said {
    #[prost(string, tag = "1")]
    pub(crate) text: String,
    #[prost(uint64, tag = "2")]
    pub(crate) number: u64,
}

pub(crate) fn ask(what: &str) -> Ask {
    Ask {
        what: what.to_owned(),
        parent: "users/ada".to_owned(),
        number: 0,
    }
}

const fn rule(path: &'static str, idempotent: bool, streaming: bool) -> MethodRule {
    let roles = &[Role::Caller];
    let (verb, scope) = (Some(Verb::Use), ScopeSource::Parent);
    MethodRule {
        path,
        roles,
        verb,
        scope,
        idempotent,
        streaming,
    }
}

pub(crate) const GET: &str = "/test.v1.TestService/Get";
pub(crate) const PUT: &str = "/test.v1.TestService/Put";
pub(crate) const WATCH: &str = "/test.v1.TestService/Watch";
pub(crate) const FOR_RUNTIME: &str = "/test.v1.TestService/ForRuntime";

/// A method with a rule, of a service that nobody here serves.
pub(crate) const FOREIGN: &str = "/other.v1.OtherService/Get";

pub(crate) static RULES: [MethodRule; 5] = [
    rule(GET, true, false),
    rule(PUT, false, false),
    rule(WATCH, true, true),
    rule(FOREIGN, true, false),
    MethodRule {
        roles: &[Role::RuntimeSync],
        ..rule(FOR_RUNTIME, true, false)
    },
];

impl ScopedRequest for Ask {
    // The rule of one of the paths; the others of this service differ in nothing that is checked.
    const RULE: MethodRule = rule(GET, true, false);

    fn visit_scopes<'a>(&'a self, visit: &mut dyn FnMut(&'static str, &'a str)) {
        visit("parent", &self.parent);
    }
}

/// What the tests see of the service, and how they steer it.
pub(crate) struct State {
    /// Handlers that have begun.
    pub(crate) begun: watch::Sender<usize>,
    /// Handlers and streams that are gone.
    pub(crate) gone: watch::Sender<usize>,
    /// What "wait" waits for.
    pub(crate) release: Semaphore,
    /// Messages that "flood" has made.
    pub(crate) made: AtomicUsize,
    /// Calls that were tried.
    pub(crate) tries: AtomicUsize,
    /// The headers of the last call.
    pub(crate) headers: watch::Sender<HeaderMap>,
    /// Where "onward" goes.
    pub(crate) onward: Option<Channels>,
}

impl State {
    pub(crate) fn new(onward: Option<Channels>) -> Arc<Self> {
        Arc::new(Self {
            begun: watch::Sender::new(0),
            gone: watch::Sender::new(0),
            release: Semaphore::new(0),
            made: AtomicUsize::new(0),
            tries: AtomicUsize::new(0),
            headers: watch::Sender::default(),
            onward,
        })
    }

    /// Counts a handler or stream until it is dropped.
    fn presence(self: &Arc<Self>) -> Presence {
        self.begun.send_modify(|begun| *begun += 1);
        Presence(Arc::clone(self))
    }
}

struct Presence(Arc<State>);

impl Drop for Presence {
    fn drop(&mut self) {
        self.0.gone.send_modify(|gone| *gone += 1);
    }
}

#[derive(Clone)]
pub(crate) struct TestService(pub(crate) Arc<State>);

impl NamedService for TestService {
    const NAME: &'static str = "test.v1.TestService";
}

type Said1 = Result<Response<Said>, Status>;
type SaidMany = Pin<Box<dyn Stream<Item = Result<Said, Status>> + Send>>;

impl Service<http::Request<Body>> for TestService {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<http::Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let state = Arc::clone(&self.0);
        state.headers.send_replace(request.headers().clone());
        let streaming = request.uri().path() == WATCH;
        let limited = request.headers().get("test-unlimited").is_none();
        let codec = tonic_prost::ProstCodec::<Said, Ask>::default();
        let limit = if limited {
            MAX_MESSAGE_BYTES
        } else {
            usize::MAX
        };
        let mut grpc = tonic::server::Grpc::new(codec)
            .max_decoding_message_size(limit)
            .max_encoding_message_size(limit);
        async move {
            Ok(if streaming {
                let handler = service_fn(move |request| watch(Arc::clone(&state), request));
                grpc.server_streaming(handler, request).await
            } else {
                let handler = service_fn(move |request| get(Arc::clone(&state), request));
                grpc.unary(handler, request).await
            })
        }
        .boxed()
    }
}

fn said(text: impl Into<String>, number: u64) -> Said {
    Said {
        text: text.into(),
        number,
    }
}

async fn get(state: Arc<State>, request: Request<Ask>) -> Said1 {
    let presence = state.presence();
    let caller = rpc::caller(&request)?;
    let ask = if caller.rule.path == GET {
        caller.authorise(request.into_inner())?
    } else {
        request.into_inner()
    };
    let attempt = state.tries.fetch_add(1, Ordering::SeqCst) as u64 + 1;
    let answer = match ask.what.as_str() {
        "echo" => Ok(said(caller.principal.subject.clone(), ask.number)),
        "hang" => std::future::pending().await,
        "wait" => {
            drop(state.release.acquire().await);
            Ok(said("released", 0))
        }
        "panic" => panic!("by request, password hunter2"),
        "leak" => Err(Status::internal("password hunter2")),
        "leak decoding" => Err(Status::internal(
            "failed to decode Protobuf message: password hunter2",
        )),
        "leak unknown" => Err(Status::unknown("password hunter2")),
        "deadline" => Ok(deadline(&caller)),
        "onward" => onward(&state).await,
        "large" => Ok(said(
            "x".repeat(usize::try_from(ask.number).unwrap_or(0)),
            0,
        )),
        "unavailable" if attempt <= ask.number => Err(unavailable(None)),
        "unavailable, later" if attempt <= ask.number => Err(unavailable(Some(300))),
        "unavailable, much later" => Err(unavailable(Some(3_600_000))),
        "unavailable" | "unavailable, later" => Ok(said("at last", attempt)),
        "pushback" => {
            let mut status = unavailable(None);
            status
                .metadata_mut()
                .insert("grpc-retry-pushback-ms", "-1".parse().expect("text"));
            Err(status)
        }
        "exhausted" => Err(Status::resource_exhausted("quota")),
        other => Err(Status::unimplemented(other)),
    };
    drop(presence);
    answer.map(Response::new)
}

fn unavailable(retry_after: Option<u64>) -> Status {
    let error = RichError::new(Code::Unavailable, "TEST_UNAVAILABLE", "not now");
    let error = error.outcome(Outcome::NotSent);
    match retry_after {
        Some(millis) => error.retry_after(Duration::from_millis(millis)).into(),
        None => error.into(),
    }
}

fn deadline(caller: &Caller) -> Said {
    let millis = u64::try_from(caller.deadline.remaining().as_millis()).unwrap_or(u64::MAX);
    said(caller.deadline.limit().as_str(), millis)
}

/// What the next service has left of our deadline.
async fn onward(state: &State) -> Result<Said, Status> {
    let channels = state
        .onward
        .clone()
        .ok_or_else(|| Status::aborted("nowhere to go"))?;
    crate::suite::unary(&channels.unary, GET, ask("deadline")).await
}

async fn watch(state: Arc<State>, request: Request<Ask>) -> Result<Response<SaidMany>, Status> {
    let presence = state.presence();
    let caller = rpc::caller(&request)?;
    let Ask { what, number, .. } = request.into_inner();
    let first = stream::iter([Ok(said("first", number))]);
    let rest: SaidMany = match what.as_str() {
        "end" => stream::empty().boxed(),
        "hang" => stream::pending().boxed(),
        "panic" => stream::once(async { panic!("in the stream, password hunter2") }).boxed(),
        "leak" => stream::iter([Err(Status::internal("password hunter2"))]).boxed(),
        "flood" => {
            let state = Arc::clone(&state);
            stream::repeat_with(move || {
                state.made.fetch_add(1, Ordering::SeqCst);
                Ok(said("x".repeat(64 * 1024), 0))
            })
            .boxed()
        }
        "polite" => stream::once(async move {
            caller.draining.cancelled().await;
            Ok(said("resume here", 7))
        })
        .boxed(),
        "deadline" => stream::once(async move { Ok(deadline(&caller)) }).boxed(),
        "onward" => {
            let state = Arc::clone(&state);
            stream::once(async move { onward(&state).await }).boxed()
        }
        other => return Err(Status::unimplemented(other.to_owned())),
    };
    let watched = first.chain(rest).map(move |said| {
        let _held = &presence;
        said
    });
    Ok(Response::new(watched.boxed()))
}
