//! One endpoint: its client, its headers, its session, and requests to it.
//!
//! Invariants: every request passes the egress check, redirects included; a request's body sets a flag when the
//! connection first asks for it, so that "nothing was sent" is known and never guessed; a lost session ends the link.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use egress::{Egress, MAX_REDIRECTS};
use http::{HeaderMap, HeaderValue};
use http_body::{Body, Frame, SizeHint};
use policy::ScopeKind;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use url::Url;

use super::{
    answer::{self, Answer},
    driver::Job,
    headers::{LAST_EVENT, SESSION, VERSION},
    stream::EventStream,
};
use crate::transport::{
    error::{LinkEnd, WireError, WireErrorKind},
    inbound::Inbound,
    options::Limits,
};

/// What the parts of one HTTP link share.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) client: reqwest::Client,
    pub(super) egress: Egress,
    pub(super) scope: ScopeKind,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) session: RwLock<Session>,
    pub(super) jobs: mpsc::Sender<Job>,
    pub(super) inbound: Inbound,
    pub(super) next: AtomicU64,
    pub(super) ended: watch::Sender<Option<LinkEnd>>,
    /// Cancelled when the link is closed or dropped; a lost session leaves running calls alone.
    pub(super) closed: CancellationToken,
    pub(super) limits: Limits,
}

/// What a legacy `initialize` agreed on.
#[derive(Debug, Clone, Default)]
pub(super) struct Session {
    pub(super) id: Option<HeaderValue>,
    pub(super) version: Option<HeaderValue>,
}

/// Whether a connection has asked for any byte of a request's body.
#[derive(Debug, Clone, Default)]
pub(super) struct SentFlag(Arc<AtomicBool>);

impl SentFlag {
    pub(super) fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    fn clear(&self) {
        self.0.store(false, Ordering::Release);
    }

    /// The error of a request that was given up at this moment.
    pub(super) fn error(&self, kind: WireErrorKind) -> WireError {
        if self.is_set() {
            WireError::unknown(kind)
        } else {
            WireError::not_sent(kind)
        }
    }
}

/// Whether a request belongs to the session that `initialize` began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Belongs {
    ToSession,
    /// `initialize` itself, and everything of the modern era.
    ToNone,
}

impl Wire {
    /// Ends the link; the first reason stays.
    pub(super) fn end(&self, end: LinkEnd) {
        self.ended.send_if_modified(|ended| {
            let first = ended.is_none();
            if first {
                *ended = Some(end);
            }
            first
        });
    }

    pub(super) fn session(&self) -> Session {
        self.session
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(super) fn set_session(&self, session: Session) {
        *self.session.write().unwrap_or_else(PoisonError::into_inner) = session;
    }

    /// Sends a message and reads the head of the answer.
    pub(super) async fn post(
        &self,
        body: Bytes,
        extra: &HeaderMap,
        belongs: Belongs,
        max_reply: usize,
        sent: &SentFlag,
    ) -> Result<Answer, WireError> {
        let (headers, in_session) = self.headers_for(extra, belongs);
        let mut url = self.url.clone();
        for _ in 0..=MAX_REDIRECTS {
            // A redirect proves that what was sent before it did not run.
            sent.clear();
            let tracked = reqwest::Body::wrap(Tracked {
                body: Some(body.clone()),
                sent: sent.clone(),
            });
            let request = self
                .client
                .post(url.clone())
                .headers(headers.clone())
                .body(tracked);
            let response = request
                .send()
                .await
                .map_err(|error| failed(egress::Error::from(error), sent))?;
            if !response.status().is_redirection() {
                let answer = answer::read(response, in_session, max_reply, &self.limits).await;
                return answer.inspect_err(|error| self.note(&error.kind));
            }
            // Only ever within its origin, so its credentials stay where they belong.
            url = self
                .egress
                .redirect(self.scope, &url, response.status(), response.headers())
                .map_err(|error| WireError::answered(refused(error)))?;
        }
        Err(WireError::answered(WireErrorKind::RedirectRefused))
    }

    /// Opens a stream of events: the session's own, or the rest of a broken one.
    pub(super) async fn get(
        &self,
        last_event: Option<&str>,
        max_reply: usize,
    ) -> Result<Box<EventStream>, WireError> {
        let (mut headers, in_session) = self.headers_for(&HeaderMap::new(), Belongs::ToSession);
        headers.insert(
            http::header::ACCEPT,
            HeaderValue::from_static("text/event-stream"),
        );
        headers.remove(http::header::CONTENT_TYPE);
        if let Some(id) = last_event {
            let id =
                HeaderValue::from_str(id).map_err(|_| WireError::unknown(WireErrorKind::Broken))?;
            headers.insert(LAST_EVENT, id);
        }
        let request = self.client.get(self.url.clone()).headers(headers);
        let response = request
            .send()
            .await
            .map_err(|error| WireError::unknown(of_egress(egress::Error::from(error))))?;
        if response.status().is_redirection() {
            return Err(WireError::answered(WireErrorKind::RedirectRefused));
        }
        // A 404 is no proof here: many servers answer so to every GET, while the session is well.
        let answer = answer::read(response, in_session, max_reply, &self.limits).await?;
        match answer.body {
            answer::Body::Events(stream) => Ok(stream),
            answer::Body::Accepted | answer::Body::Json(_) => {
                Err(WireError::answered(WireErrorKind::InvalidResponse))
            }
        }
    }

    /// Ends the session at the server, if there is one. Whether the server agrees does not matter.
    pub(super) async fn delete_session(&self) {
        let Session { id: Some(id), .. } = self.session() else {
            return;
        };
        let mut headers = self.headers_for(&HeaderMap::new(), Belongs::ToNone).0;
        headers.insert(SESSION, id);
        let _answer = self
            .client
            .delete(self.url.clone())
            .headers(headers)
            .send()
            .await;
    }

    fn headers_for(&self, extra: &HeaderMap, belongs: Belongs) -> (HeaderMap, bool) {
        let mut headers = self.headers.clone();
        let mut in_session = false;
        if belongs == Belongs::ToSession {
            let Session { id, version } = self.session();
            in_session = id.is_some();
            headers.extend(id.map(|id| (SESSION, id)));
            headers.extend(version.map(|version| (VERSION, version)));
        }
        for (name, value) in extra {
            headers.insert(name.clone(), value.clone());
        }
        (headers, in_session)
    }

    fn note(&self, kind: &WireErrorKind) {
        if *kind == WireErrorKind::SessionLost {
            self.end(LinkEnd::SessionLost);
        }
    }
}

fn failed(error: egress::Error, sent: &SentFlag) -> WireError {
    if error.is_before_request() {
        WireError::not_sent(of_egress(error))
    } else {
        sent.error(of_egress(error))
    }
}

/// What an egress error is on the wire.
pub(super) const fn of_egress(error: egress::Error) -> WireErrorKind {
    match error {
        egress::Error::Denied(_) => WireErrorKind::PolicyDenied,
        egress::Error::Dns => WireErrorKind::DnsFailed,
        egress::Error::Connect => WireErrorKind::ConnectFailed,
        egress::Error::Tls => WireErrorKind::TlsFailed,
        egress::Error::ConnectTimeout | egress::Error::Timeout => WireErrorKind::TimedOut,
        egress::Error::Broken => WireErrorKind::Broken,
        egress::Error::TooLarge => WireErrorKind::ResponseTooLarge,
        egress::Error::RedirectRefused => WireErrorKind::RedirectRefused,
        egress::Error::Request => WireErrorKind::InvalidRequest,
    }
}

const fn refused(error: egress::Error) -> WireErrorKind {
    match error {
        egress::Error::Denied(_) => WireErrorKind::PolicyDenied,
        _ => WireErrorKind::RedirectRefused,
    }
}

/// A body that notes when it is first read.
struct Tracked {
    body: Option<Bytes>,
    sent: SentFlag,
}

impl Body for Tracked {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.sent.0.store(true, Ordering::Release);
        Poll::Ready(self.body.take().map(|body| Ok(Frame::data(body))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.body.as_ref().map_or(0, |body| body.len() as u64))
    }
}
