//! The link's own task: rmcp's messages, cancellations, and the session's stream of notices.
//!
//! Invariants: what runs at once is bounded; every request of rmcp gets a reply, an error in its place, or its own
//! cancellation; `send` answers at the response's head, because rmcp counts its time-outs from there.

use std::{collections::HashMap, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use http::HeaderMap;
use tokio::{
    sync::{Semaphore, mpsc, oneshot},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::{
    headers::Outline,
    notices, request,
    stream::EventStream,
    wire::{Belongs, SentFlag, Wire},
};
use crate::transport::{error::LinkError, error::WireErrorKind, frame};

/// How many exchanges of rmcp, cancellations and drains may run at once.
const RUNNING: usize = 256;
/// How many answers to requests of the server may be on their way at once.
const ANSWERS: usize = 16;
/// How long the rest of a stream is read after its reply.
const DRAIN: Duration = Duration::from_millis(500);

/// Something to do for the link, outside of raw calls.
#[derive(Debug)]
pub(super) enum Job {
    /// A message of rmcp; `done` answers when it has arrived.
    Message {
        body: Bytes,
        outline: Outline,
        done: oneshot::Sender<Result<(), LinkError>>,
    },
    /// Tell the server that this raw call was given up.
    Cancel(u64),
    /// Send this answer to a request of the server.
    Answer(String),
    /// Read what is left of a stream, so that its connection can be used again.
    Drain(Box<EventStream>),
}

pub(super) struct Driver {
    wire: Arc<Wire>,
    jobs: mpsc::Receiver<Job>,
    running: FuturesUnordered<BoxFuture<'static, Option<String>>>,
    /// Requests of rmcp that run, by id.
    cancels: HashMap<String, CancellationToken>,
    answers: Arc<Semaphore>,
}

impl Driver {
    pub(super) fn new(wire: Arc<Wire>, jobs: mpsc::Receiver<Job>) -> Self {
        Self {
            wire,
            jobs,
            running: FuturesUnordered::new(),
            cancels: HashMap::new(),
            answers: Arc::new(Semaphore::new(ANSWERS)),
        }
    }

    /// Runs until the link is closed or dropped.
    pub(super) async fn run(mut self) {
        let closed = self.wire.closed.clone();
        loop {
            tokio::select! {
                biased;
                () = closed.cancelled() => return,
                Some(finished) = self.running.next(), if !self.running.is_empty() => {
                    if let Some(id) = finished {
                        self.cancels.remove(&id);
                    }
                }
                job = self.jobs.recv(), if self.running.len() < RUNNING => match job {
                    Some(job) => self.start(job),
                    None => return,
                },
            }
        }
    }

    fn start(&mut self, job: Job) {
        match job {
            Job::Message {
                body,
                outline,
                done,
            } => self.message(body, outline, done),
            Job::Cancel(number) => self.post_only(Bytes::from(frame::cancelled(number)), None),
            Job::Answer(answer) => self.answer(answer),
            Job::Drain(mut stream) => self.running.push(
                async move {
                    let rest = async { while let Ok(Some(_)) = stream.next().await {} };
                    let _open = timeout(DRAIN, rest).await;
                    None
                }
                .boxed(),
            ),
        }
    }

    /// Answers a request of the server, unless it asks for more at once than is fair to everybody else.
    fn answer(&mut self, answer: String) {
        let Ok(turn) = Arc::clone(&self.answers).try_acquire_owned() else {
            return self.wire.inbound.count_dropped();
        };
        let wire = Arc::clone(&self.wire);
        let run = async move {
            let _turn = turn;
            // A server that does not take its answer does without.
            let _done = deliver(&wire, Bytes::from(answer)).await;
            None
        };
        self.running.push(run.boxed());
    }

    fn message(
        &mut self,
        body: Bytes,
        outline: Outline,
        done: oneshot::Sender<Result<(), LinkError>>,
    ) {
        if let Some(id) = outline.id.clone() {
            let cancel = CancellationToken::new();
            self.cancels.insert(id.clone(), cancel.clone());
            let wire = Arc::clone(&self.wire);
            let run = async move {
                let request = request::run(&wire, body, &outline, done);
                tokio::select! {
                    biased;
                    () = cancel.cancelled() => {}
                    () = request => {}
                }
                Some(id)
            };
            return self.running.push(run.boxed());
        }
        let cancelled = outline
            .cancels
            .as_ref()
            .and_then(|id| self.cancels.remove(id));
        if let Some(token) = cancelled {
            token.cancel();
        }
        // Without a handshake there is no session, and a closed stream has told the server already.
        if outline.cancels.is_some() && self.wire.session().version.is_none() {
            let _gone = done.send(Ok(()));
            return;
        }
        let starts_notices = outline.method.as_deref() == Some("notifications/initialized");
        self.post_only(body, Some((done, starts_notices)));
    }

    /// Sends a message that has no reply.
    fn post_only(
        &mut self,
        body: Bytes,
        told: Option<(oneshot::Sender<Result<(), LinkError>>, bool)>,
    ) {
        let wire = Arc::clone(&self.wire);
        let run = async move {
            let result = deliver(&wire, body).await;
            if let Some((done, starts_notices)) = told {
                let initialized = starts_notices && result.is_ok() && wire.session().id.is_some();
                let _gone = done.send(result);
                if initialized {
                    notices::run(&wire).await;
                }
            }
            None
        };
        self.running.push(run.boxed());
    }
}

/// Posts a message that has no reply.
async fn deliver(wire: &Wire, body: Bytes) -> Result<(), LinkError> {
    let (extra, sent) = (HeaderMap::new(), SentFlag::default());
    let posted = wire.post(body, &extra, Belongs::ToSession, usize::MAX, &sent);
    match timeout(wire.limits.write, posted).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(LinkError(error.kind)),
        Err(_) => Err(LinkError(WireErrorKind::TimedOut)),
    }
}
