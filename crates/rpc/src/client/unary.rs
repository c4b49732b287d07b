//! Unary calls: the whole answer inside the deadline, tried up to three times if that is allowed.
//!
//! The answer is read to its end here, so that the deadline covers it and a failure in the
//! trailers can still be retried. Only UNAVAILABLE is, and only for idempotent methods.

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, Request, Response, request, response};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use lifecycle::Backoff;
use tokio::time::Instant;
use tonic::{Code, Status, body::Body};

use super::{
    channel::{Call, Expiry},
    transport,
};
use crate::{
    MAX_MESSAGE_BYTES,
    error::{ErrorView, FixableBy, Outcome, Reason, RichError},
    record::Record,
};

const MAX_TRIES: u32 = 3;
const FIRST_BACKOFF: Duration = Duration::from_millis(50);
const MAX_BACKOFF: Duration = Duration::from_secs(1);
/// A message and its prefix of five bytes.
const MAX_BODY: usize = MAX_MESSAGE_BYTES + 5;
const PUSHBACK: &str = "grpc-retry-pushback-ms";

/// Makes the call.
pub(super) async fn call(
    call: &Call,
    request: Request<Body>,
    expiry: Expiry,
    mut record: Record,
) -> Result<Response<Body>, Status> {
    let answer = tries(call, request, expiry).await;
    match answer.as_ref().map(Answer::status_headers) {
        Ok(Some(headers)) => record.headers(headers),
        Ok(None) => record.code(Code::Unknown),
        Err(status) => record.code(status.code()),
    }
    answer.map(Answer::into_response)
}

async fn tries(call: &Call, request: Request<Body>, expiry: Expiry) -> Result<Answer, Status> {
    let (head, body) = request.into_parts();
    let message = expiry.within(collect(body, Outcome::NotSent)).await??;
    let mut backoff = Backoff::new(FIRST_BACKOFF, MAX_BACKOFF);
    let mut attempt = 0;
    loop {
        let answer = ask(call, rebuild(&head, &message), expiry, attempt).await;
        attempt += 1;
        let Some(failure) = unavailable(&answer) else {
            call.peer.budget.succeeded();
            return answer;
        };
        let within_budget = call.peer.budget.failed();
        let tries_left = call.idempotent && within_budget && attempt < MAX_TRIES;
        let next = delay(&failure, &mut backoff).map(|delay| Instant::now() + delay);
        let next = next.filter(|next| tries_left && expiry.at.is_none_or(|at| *next < at));
        let Some(next) = next else {
            return answer;
        };
        tracing::debug!(attempt, code = ?failure.code(), "unavailable; trying again");
        tokio::time::sleep_until(next).await;
    }
}

/// One try: sends the request and reads the whole answer.
async fn ask(
    call: &Call,
    request: Request<Body>,
    expiry: Expiry,
    attempt: u32,
) -> Result<Answer, Status> {
    let (mut head, body) = call.send(request, expiry, attempt).await?.into_parts();
    let mut content = expiry.within(collect(body, Outcome::SentUnknown)).await??;
    drop_garbled_details(&mut head.headers);
    content.trailers.iter_mut().for_each(drop_garbled_details);
    Ok(Answer { head, content })
}

/// A body that was read to its end.
struct Content {
    data: Vec<Bytes>,
    trailers: Option<HeaderMap>,
}

struct Answer {
    head: response::Parts,
    content: Content,
}

impl Answer {
    fn into_response(self) -> Response<Body> {
        let Self { head, content } = self;
        Response::from_parts(head, content.into_body())
    }

    /// The headers that say the status, if it came.
    fn status_headers(&self) -> Option<&HeaderMap> {
        [Some(&self.head.headers), self.content.trailers.as_ref()]
            .into_iter()
            .flatten()
            .find(|headers| headers.contains_key(Status::GRPC_STATUS))
    }
}

impl Content {
    fn into_body(self) -> Body {
        let data = self.data.into_iter().map(Frame::data);
        let frames = data
            .chain(self.trailers.map(Frame::trailers))
            .map(Ok::<_, Status>);
        Body::new(StreamBody::new(stream::iter(frames.collect::<Vec<_>>())))
    }
}

/// Reads a body; `outcome` is what to say of the call if the body is too large.
async fn collect(mut body: Body, outcome: Outcome) -> Result<Content, Status> {
    let mut content = Content {
        data: Vec::new(),
        trailers: None,
    };
    let mut size = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|status| transport::broken(status.into()))?;
        match frame.into_data() {
            Ok(data) => {
                size += data.len();
                if size > MAX_BODY {
                    return Err(too_large(outcome));
                }
                content.data.push(data);
            }
            Err(frame) => content.trailers = frame.into_trailers().ok(),
        }
    }
    Ok(content)
}

fn too_large(outcome: Outcome) -> Status {
    let message = format!("a message is larger than {MAX_MESSAGE_BYTES} bytes");
    RichError::new(Code::ResourceExhausted, Reason::MessageTooLarge, message)
        .outcome(outcome)
        .fixable_by(FixableBy::User)
        .into()
}

fn rebuild(head: &request::Parts, message: &Content) -> Request<Body> {
    let body = Content {
        data: message.data.clone(),
        trailers: None,
    }
    .into_body();
    Request::from_parts(head.clone(), body)
}

/// The failure, if it is of the one kind that may be retried.
fn unavailable(answer: &Result<Answer, Status>) -> Option<Status> {
    match answer {
        Ok(answer) => {
            let headers = answer.status_headers()?;
            let code = Code::from_bytes(headers.get(Status::GRPC_STATUS)?.as_bytes());
            (code == Code::Unavailable)
                .then(|| Status::from_header_map(headers))
                .flatten()
        }
        Err(status) => (status.code() == Code::Unavailable).then(|| status.clone()),
    }
}

/// How long to wait before the next try: what the server asks for, else the backoff. `None` if the
/// server asks not to try again.
fn delay(failure: &Status, backoff: &mut Backoff) -> Option<Duration> {
    if let Some(pushback) = failure.metadata().get(PUSHBACK) {
        let millis = pushback.to_str().ok().and_then(|text| text.parse().ok());
        return millis.map(Duration::from_millis);
    }
    let asked = ErrorView::of(failure).and_then(|view| view.retry_after);
    let own = backoff.next_delay();
    Some(asked.map_or(own, |asked| asked + own))
}

/// tonic panics on details that are not base64; a peer must not be able to do that to us.
fn drop_garbled_details(headers: &mut HeaderMap) {
    use base64::engine::{DecodePaddingMode, Engine as _, GeneralPurpose, GeneralPurposeConfig};
    const LENIENT: GeneralPurpose = GeneralPurpose::new(
        &base64::alphabet::STANDARD,
        GeneralPurposeConfig::new()
            .with_decode_allow_trailing_bits(true)
            .with_decode_padding_mode(DecodePaddingMode::Indifferent),
    );
    let details = headers.get(Status::GRPC_STATUS_DETAILS);
    if details.is_some_and(|details| LENIENT.decode(details.as_bytes()).is_err()) {
        headers.remove(Status::GRPC_STATUS_DETAILS);
    }
}
