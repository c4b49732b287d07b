//! Raw calls over HTTP: one POST each, in the caller's own task, any number at once.
//!
//! Invariants: a stream that breaks is resumed only in the legacy era and only from an event id, which repeats no
//! request; a call that is given up is cancelled as its era wants: by a notification, or by closing the stream.

use std::sync::{Arc, atomic::Ordering};

use bytes::Bytes;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::{
    answer::Body,
    driver::Job,
    headers,
    resume::Resume,
    stream::EventStream,
    wire::{Belongs, SentFlag, Wire},
};
use crate::{
    domain::Era,
    transport::{
        call::{RawCall, RawReply},
        error::{LinkEnd, Sent, WireError, WireErrorKind},
        frame::{self, Envelope},
        inbound::Taken,
    },
};

#[derive(Debug, Clone)]
pub(in crate::transport) struct HttpCalls(Arc<Wire>);

impl HttpCalls {
    pub(super) fn new(wire: Arc<Wire>) -> Self {
        Self(wire)
    }

    pub(in crate::transport) async fn call(
        &self,
        call: RawCall,
        deadline: Instant,
        cancel: CancellationToken,
    ) -> Result<RawReply, WireError> {
        let wire = &self.0;
        if let Some(end) = wire.ended.borrow().clone() {
            return Err(WireError::not_sent(WireErrorKind::LinkEnded(end)));
        }
        let number = wire.next.fetch_add(1, Ordering::Relaxed);
        let sent = SentFlag::default();
        let mut flight = Flight {
            wire,
            number,
            era: call.era,
            sent: sent.clone(),
            over: false,
        };
        let kind = tokio::select! {
            biased;
            // On the heap: the future of a call would be large, and callers hold many.
            reply = Box::pin(exchange(wire, &call, number, &sent)) => {
                flight.over = match &reply {
                    Ok(_) => true,
                    Err(error) => !may_still_run(error),
                };
                return reply;
            }
            () = wire.closed.cancelled() => WireErrorKind::LinkEnded(LinkEnd::Closed),
            () = cancel.cancelled() => WireErrorKind::Cancelled,
            () = sleep_until(deadline) => WireErrorKind::DeadlineExceeded,
        };
        Err(sent.error(kind))
    }
}

/// Whether the server may be at work on a call that we gave up over what it sent meanwhile.
fn may_still_run(error: &WireError) -> bool {
    let given_up_here = matches!(
        error.kind,
        WireErrorKind::ResponseTooLarge | WireErrorKind::InvalidResponse | WireErrorKind::TimedOut
    );
    error.sent == Sent::SentUnknown && given_up_here
}

/// A call on its way; dropping it gives it up.
struct Flight<'a> {
    wire: &'a Wire,
    number: u64,
    era: Era,
    sent: SentFlag,
    over: bool,
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        // In the modern era closing the response stream is the cancellation, and that happens by itself.
        if !self.over && self.era == Era::Legacy && self.sent.is_set() {
            let _full = self.wire.jobs.try_send(Job::Cancel(self.number));
        }
    }
}

async fn exchange(
    wire: &Wire,
    call: &RawCall,
    number: u64,
    sent: &SentFlag,
) -> Result<RawReply, WireError> {
    let body = frame::request(number, call)
        .map_err(WireError::not_sent)?
        .freeze();
    let extra = headers::of_call(call).ok_or(WireError::not_sent(WireErrorKind::InvalidRequest))?;
    let belongs = match call.era {
        Era::Legacy => Belongs::ToSession,
        Era::Modern => Belongs::ToNone,
    };
    let posted = wire
        .post(body, &extra, belongs, call.max_reply, sent)
        .await?;
    match posted.body {
        // It was taken, and whether it runs will never be told.
        Body::Accepted => Err(WireError::unknown(WireErrorKind::InvalidResponse)),
        Body::Json(text) => only_reply(&text, number),
        Body::Events(stream) => follow(wire, stream, number, call).await,
    }
}

/// The reply in a JSON body. A lone error without an id is ours too: there is nothing else it could answer.
fn only_reply(text: &Bytes, number: u64) -> Result<RawReply, WireError> {
    let messages = frame::split_batch(&text.slice_ref(text.trim_ascii()));
    let alone = messages.len() == 1;
    for message in &messages {
        if let Some(envelope) = Envelope::read(message).filter(Envelope::is_reply)
            && (envelope.our_number() == Some(number) || (alone && envelope.is_anonymous_error()))
        {
            return envelope.reply(message).map_err(WireError::answered);
        }
    }
    Err(WireError::answered(WireErrorKind::InvalidResponse))
}

/// Reads a stream until the reply comes, resuming it when it breaks.
async fn follow(
    wire: &Wire,
    mut stream: Box<EventStream>,
    number: u64,
    call: &RawCall,
) -> Result<RawReply, WireError> {
    let mut resume = Resume::new(call.era, wire.limits.resumes, call.max_reply);
    loop {
        match stream.next().await {
            Ok(Some(data)) => {
                resume.progress();
                if let Some(reply) = look_for_reply(wire, &data, number).await {
                    // Read to its end elsewhere, so that the connection can be used again.
                    let _full = wire.jobs.try_send(Job::Drain(stream));
                    return reply;
                }
            }
            Err(WireErrorKind::ResponseTooLarge) => {
                let kind = WireErrorKind::ResponseTooLarge;
                // Only if the reply itself is what was too large has the call run.
                return Err(if stream.holds_our_reply(number) {
                    WireError::answered(kind)
                } else {
                    WireError::unknown(kind)
                });
            }
            Ok(None) | Err(_) => {
                stream = resume
                    .again(wire, stream)
                    .await
                    .map_err(WireError::unknown)?
            }
        }
    }
}

async fn look_for_reply(
    wire: &Wire,
    data: &Bytes,
    number: u64,
) -> Option<Result<RawReply, WireError>> {
    let mut reply = None;
    for message in frame::split_batch(data) {
        let Some(envelope) = Envelope::read(&message) else {
            wire.inbound.count_dropped();
            continue;
        };
        if envelope.is_reply() && envelope.our_number() == Some(number) {
            reply = Some(envelope.reply(&message).map_err(WireError::answered));
        } else if let Taken::Answer(answer) = wire.inbound.take(&message, &envelope).await {
            let _full = wire.jobs.try_send(Job::Answer(answer));
        }
    }
    reply
}
