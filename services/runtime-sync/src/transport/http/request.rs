//! One request of rmcp over HTTP.
//!
//! Invariant: rmcp hears of it exactly once: by a reply, by an error in its place, or by a failed send.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::HeaderValue;
use serde::Deserialize;
use tokio::{sync::oneshot, time::timeout};

use super::{
    answer::{Answer, Body},
    driver::Job,
    headers::Outline,
    resume::Resume,
    stream::EventStream,
    wire::{Belongs, SentFlag, Session, Wire},
};
use crate::{
    domain::Era,
    transport::{
        error::{LinkError, WireErrorKind},
        frame::{self, Envelope},
        inbound::Taken,
    },
};

type Done = oneshot::Sender<Result<(), LinkError>>;

/// Sends the request and passes on what comes back.
pub(super) async fn run(wire: &Arc<Wire>, body: Bytes, outline: &Outline, done: Done) {
    let initialize = outline.method.as_deref() == Some("initialize");
    let (belongs, era) = match (initialize, outline.is_modern()) {
        (true, _) => (Belongs::ToNone, Era::Legacy),
        (false, true) => (Belongs::ToNone, Era::Modern),
        (false, false) => (Belongs::ToSession, Era::Legacy),
    };
    let sent = SentFlag::default();
    let posted = wire.post(body, &outline.headers, belongs, usize::MAX, &sent);
    let answer = match timeout(wire.limits.response_head, posted).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => return tell(done, Err(error.kind)),
        Err(_) => return tell(done, Err(WireErrorKind::TimedOut)),
    };
    let Answer { session, body } = answer;
    let exchange = Exchange {
        wire,
        id: outline.id.as_deref().unwrap_or("null"),
        session: initialize.then_some(session),
    };
    match body {
        Body::Accepted => tell(done, Err(WireErrorKind::InvalidResponse)),
        Body::Json(text) => {
            if exchange.pass_on(&text.slice_ref(text.trim_ascii())).await == Progress::Replied {
                tell(done, Ok(()));
            } else {
                tell(done, Err(WireErrorKind::InvalidResponse));
            }
        }
        Body::Events(stream) => {
            tell(done, Ok(()));
            let resume = Resume::new(era, wire.limits.resumes, usize::MAX);
            // A subscription is silent for as long as nothing changes.
            if outline.method.as_deref() == Some("subscriptions/listen") {
                exchange
                    .follow(stream.endless(), resume, Duration::MAX)
                    .await;
            } else {
                exchange.follow(stream, resume, wire.limits.idle).await;
            }
        }
    }
}

fn tell(done: Done, result: Result<(), WireErrorKind>) {
    // rmcp no longer waits when it was closed meanwhile.
    let _gone = done.send(result.map_err(LinkError));
}

struct Exchange<'a> {
    wire: &'a Wire,
    /// JSON.
    id: &'a str,
    /// For `initialize`: the session id that came with the answer, if any.
    session: Option<Option<HeaderValue>>,
}

#[derive(Debug, PartialEq, Eq)]
enum Progress {
    Replied,
    Waiting,
}

#[derive(Deserialize)]
struct Initialized {
    result: InitializeResult,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct InitializeResult {
    protocol_version: String,
}

impl Exchange<'_> {
    async fn follow(&self, mut stream: Box<EventStream>, mut resume: Resume, idle: Duration) {
        loop {
            let event = timeout(idle, stream.next())
                .await
                .unwrap_or(Err(WireErrorKind::TimedOut));
            match event {
                Ok(Some(data)) => {
                    resume.progress();
                    if self.pass_on(&data).await == Progress::Replied {
                        let _full = self.wire.jobs.try_send(Job::Drain(stream));
                        return;
                    }
                }
                Err(WireErrorKind::ResponseTooLarge) => {
                    return self
                        .wire
                        .inbound
                        .fail(self.id, "the answer is over the size limit")
                        .await;
                }
                Ok(None) | Err(_) => match resume.again(self.wire, stream).await {
                    Ok(again) => stream = again,
                    Err(_) => {
                        return self
                            .wire
                            .inbound
                            .fail(self.id, "the stream ended before the answer")
                            .await;
                    }
                },
            }
        }
    }

    /// Passes on all messages of a text, and says whether the reply was among them.
    async fn pass_on(&self, text: &Bytes) -> Progress {
        let messages = frame::split_batch(text);
        let mut progress = Progress::Waiting;
        for message in &messages {
            let Some(envelope) = Envelope::read(message) else {
                self.wire.inbound.count_dropped();
                continue;
            };
            if envelope.is_reply() {
                if messages.len() == 1 && envelope.is_anonymous_error() {
                    // Nothing else can be meant, but rmcp drops errors without an id.
                    let named = named(message, self.id);
                    if let Some(envelope) = Envelope::read(&named) {
                        self.wire.inbound.take(&named, &envelope).await;
                        return Progress::Replied;
                    }
                }
                if envelope.id.is_some_and(|id| id.get() == self.id) {
                    progress = Progress::Replied;
                    self.note_session(message);
                }
            }
            if let Taken::Answer(answer) = self.wire.inbound.take(message, &envelope).await {
                let _full = self.wire.jobs.try_send(Job::Answer(answer));
            }
        }
        progress
    }

    /// Remembers what `initialize` agreed on, before rmcp can send anything that needs it.
    fn note_session(&self, message: &Bytes) {
        let Some(id) = self.session.clone() else {
            return;
        };
        let Ok(Initialized { result }) = serde_json::from_slice(message) else {
            return;
        };
        let version = HeaderValue::from_str(&result.protocol_version).ok();
        self.wire.set_session(Session { id, version });
    }
}

/// The same error with the id that it answers.
fn named(message: &Bytes, id: &str) -> Bytes {
    #[derive(Deserialize)]
    struct Anonymous<'a> {
        #[serde(borrow)]
        error: &'a serde_json::value::RawValue,
    }
    match serde_json::from_slice::<Anonymous<'_>>(message) {
        Ok(Anonymous { error }) => Bytes::from(format!(
            r#"{{"jsonrpc":"2.0","id":{id},"error":{}}}"#,
            error.get()
        )),
        Err(_) => message.clone(),
    }
}
