//! Reading the head of a response, and what its status proves.
//!
//! Invariant: whether a call may be sent again follows from the status here and nowhere else: 401, 403 with
//! `insufficient_scope` and 404 for our session prove that it did not run; 400 "no valid session" does not.

use std::time::Duration;

use bytes::Bytes;
use egress::read_capped;
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
};

use super::{headers::SESSION, stream::EventStream};
use crate::transport::{
    call::RawReply,
    error::{WireError, WireErrorKind},
    frame::Envelope,
    options::Limits,
};

/// The longest challenge that is kept.
const MAX_CHALLENGE: usize = 4096;
/// The largest body of a failure that is read.
const MAX_ERROR: usize = 256 << 10;
/// -32020 to -32022, which modern servers give without an id and which name no session.
const MODERN_ERRORS: std::ops::RangeInclusive<i64> = -32022..=-32020;

/// What a server answered to a POST.
#[derive(Debug)]
pub(super) struct Answer {
    /// The session id it gave.
    pub(super) session: Option<HeaderValue>,
    pub(super) body: Body,
}

#[derive(Debug)]
pub(super) enum Body {
    /// Nothing more will come.
    Accepted,
    /// One JSON text.
    Json(Bytes),
    /// A stream of messages.
    Events(Box<EventStream>),
}

/// Judges a response. `in_session`: whether the request named a session; `max_reply`: the largest useful reply.
pub(super) async fn read(
    response: reqwest::Response,
    in_session: bool,
    max_reply: usize,
    limits: &Limits,
) -> Result<Answer, WireError> {
    let (status, headers) = (response.status(), response.headers());
    if let Some(refused) = refusal(status, headers, in_session) {
        return Err(refused);
    }
    let session = headers.get(SESSION).map(|id| {
        let mut id = id.clone();
        id.set_sensitive(true);
        id
    });
    let body = match (status.is_success(), media_type(headers)) {
        (true, _) if matches!(status, StatusCode::ACCEPTED | StatusCode::NO_CONTENT) => {
            Body::Accepted
        }
        (true, _) if response.content_length() == Some(0) => Body::Accepted,
        (true, Media::Json) => Body::Json(whole(response, max_reply, limits).await?),
        (true, Media::Events) => {
            let stream = EventStream::new(response, max_reply, limits.message);
            Body::Events(Box::new(stream))
        }
        (true, Media::Other) => return Err(WireError::answered(WireErrorKind::InvalidResponse)),
        (false, Media::Json) => Body::Json(json_error(response, status, in_session, limits).await?),
        (false, Media::Events | Media::Other) => return Err(failed(status)),
    };
    Ok(Answer { session, body })
}

/// Statuses that say enough without a body.
fn refusal(status: StatusCode, headers: &HeaderMap, in_session: bool) -> Option<WireError> {
    match status {
        StatusCode::UNAUTHORIZED => Some(WireError::not_sent(WireErrorKind::AuthRequired {
            challenge: challenge(headers),
        })),
        StatusCode::FORBIDDEN => {
            let challenge = challenge(headers);
            let insufficient_scope = challenge
                .as_deref()
                .is_some_and(|text| text.contains("insufficient_scope"));
            let kind = WireErrorKind::Forbidden {
                challenge,
                insufficient_scope,
            };
            Some(if insufficient_scope {
                WireError::not_sent(kind)
            } else {
                WireError::answered(kind)
            })
        }
        StatusCode::NOT_FOUND if in_session => {
            Some(WireError::not_sent(WireErrorKind::SessionLost))
        }
        StatusCode::TOO_MANY_REQUESTS => Some(WireError::answered(WireErrorKind::RateLimited {
            retry_after: retry_after(headers),
        })),
        _ => None,
    }
}

fn challenge(headers: &HeaderMap) -> Option<Box<str>> {
    let text = headers.get(WWW_AUTHENTICATE)?.to_str().ok()?;
    (text.len() <= MAX_CHALLENGE).then(|| text.into())
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers
        .get(RETRY_AFTER)?
        .to_str()
        .ok()?
        .trim()
        .parse()
        .ok()?;
    Some(Duration::from_secs(seconds))
}

enum Media {
    Json,
    Events,
    Other,
}

fn media_type(headers: &HeaderMap) -> Media {
    let text = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let essence = text
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    match essence.as_str() {
        "application/json" => Media::Json,
        "text/event-stream" => Media::Events,
        _ => Media::Other,
    }
}

async fn whole(
    response: reqwest::Response,
    max_reply: usize,
    limits: &Limits,
) -> Result<Bytes, WireError> {
    read_capped(response, max_reply.min(limits.message), limits.idle)
        .await
        .map_err(|error| match error {
            egress::Error::TooLarge => WireError::answered(WireErrorKind::ResponseTooLarge),
            egress::Error::Timeout => WireError::unknown(WireErrorKind::TimedOut),
            _ => WireError::unknown(WireErrorKind::Broken),
        })
}

/// The body of a failure, if it is a JSON-RPC error, which says more than the status.
async fn json_error(
    response: reqwest::Response,
    status: StatusCode,
    in_session: bool,
    limits: &Limits,
) -> Result<Bytes, WireError> {
    let body = whole(response, MAX_ERROR, limits)
        .await
        .map_err(|_| failed(status))?;
    let error = Envelope::read(&body)
        .filter(Envelope::is_reply)
        .map(|envelope| {
            let anonymous = envelope.id.is_none();
            (anonymous, envelope.reply(&body))
        });
    let Some((anonymous, Ok(RawReply::Error { code, .. }))) = error else {
        return Err(failed(status));
    };
    // Many servers say so that they have lost our session. It proves nothing about the call.
    if status == StatusCode::BAD_REQUEST
        && in_session
        && anonymous
        && !MODERN_ERRORS.contains(&code)
    {
        return Err(WireError::unknown(WireErrorKind::SessionLost));
    }
    Ok(body)
}

fn failed(status: StatusCode) -> WireError {
    let kind = WireErrorKind::HttpStatus(status.as_u16());
    // A gateway that gave up waiting knows as little as we do.
    if status.is_server_error() || status == StatusCode::REQUEST_TIMEOUT {
        WireError::unknown(kind)
    } else {
        WireError::answered(kind)
    }
}
