//! The calling end: two channels to one peer that keep deadlines, traces, tokens and retries.
//!
//! The invariants: every unary call has a deadline, never later than that of the call being
//! served; nothing is sent again that is not declared idempotent; a broken connection is
//! UNAVAILABLE and an expired deadline DEADLINE_EXCEEDED, whatever the transport made of them.
//!
//! Not here: generated clients (wrap a channel in one), and reopening streams, whose owners know
//! where to resume.

mod budget;
mod channel;
mod stream;
mod transport;
mod unary;

use std::{collections::HashMap, path::PathBuf, sync::Arc, time::Duration};

use http::{HeaderValue, Uri};
use identity::{TokenError, read_token};
use names::access::MethodRule;
use sensitive::Text;
use thiserror::Error;
use tonic::transport::{ClientTlsConfig, Endpoint};

use budget::RetryBudget;
pub use channel::Channel;

/// Windows of the channel for unary calls: a message of 4 MiB needs few round trips.
const UNARY_WINDOWS: (u32, u32) = (1024 * 1024, 16 * 1024 * 1024);
/// Windows of the channel for streams: 64 streams may go unread before they hold up one another.
const STREAM_WINDOWS: (u32, u32) = (256 * 1024, 16 * 1024 * 1024);
const MAX_HEADER_LIST: u32 = 16 * 1024;

/// Where a peer is and how to call it.
#[derive(Debug)]
pub struct ClientOptions {
    /// `http://host:port`, or `https://…` with a certificate that the system trusts.
    pub address: String,
    /// What proves who we are.
    pub token: Token,
    /// Method rules of the peer; they say which calls may be sent again and which are streams.
    pub methods: Vec<&'static MethodRule>,
    /// The deadline of a unary call that gives none.
    pub default_deadline: Duration,
    /// What is kept back of the deadline of the call being served, to answer in time.
    pub margin: Duration,
    /// How long a connection may take to be made.
    pub connect_timeout: Duration,
    /// How often a connection is probed, idle or not.
    pub keepalive_interval: Duration,
    /// How long the answer to a probe may take before the connection is given up.
    pub keepalive_timeout: Duration,
}

/// What proves who we are.
#[derive(Debug)]
pub enum Token {
    /// Nothing: for public methods only.
    None,
    /// A token given as text.
    Text(Text),
    /// A file that holds the token; read when the channels are made.
    File(PathBuf),
}

impl ClientOptions {
    /// Options with the defaults of the suite.
    #[must_use]
    pub fn new(
        address: impl Into<String>,
        token: Token,
        methods: impl IntoIterator<Item = &'static MethodRule>,
    ) -> Self {
        Self {
            address: address.into(),
            token,
            methods: methods.into_iter().collect(),
            default_deadline: Duration::from_secs(60),
            margin: Duration::from_millis(50),
            connect_timeout: Duration::from_secs(5),
            keepalive_interval: Duration::from_secs(30),
            keepalive_timeout: Duration::from_secs(10),
        }
    }
}

/// Why channels could not be made. An unreachable peer is no reason: connections are made lazily.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// The address is not `http://host:port` or `https://host:port`.
    #[error("'{address}' is not the address of a peer, such as http://127.0.0.1:7401")]
    Address {
        /// The address.
        address: String,
    },
    /// TLS cannot be set up.
    #[error("TLS cannot be set up")]
    Tls(#[source] tonic::transport::Error),
    /// The token file cannot be used.
    #[error(transparent)]
    TokenFile(#[from] TokenError),
    /// The token has characters that no header can carry.
    #[error("the token has characters that no header can carry")]
    Token,
}

/// Two channels to one peer. Streams have their own, because a few unread ones use up the window
/// of their connection and stall every other call on it.
#[derive(Debug, Clone)]
pub struct Channels {
    /// For unary calls.
    pub unary: Channel,
    /// For calls that stream in any direction.
    pub streams: Channel,
}

/// What both channels to a peer share.
struct Peer {
    methods: HashMap<&'static str, &'static MethodRule>,
    authorization: Option<HeaderValue>,
    default_deadline: Duration,
    margin: Duration,
    budget: RetryBudget,
    host: String,
    port: u16,
}

/// Makes channels to a peer. Nothing is sent before the first call. Call it inside the runtime.
///
/// # Errors
/// When the address or the token cannot be used.
pub fn connect(options: ClientOptions) -> Result<Channels, ConnectError> {
    let uri = parse_address(&options.address)?;
    let https = uri.scheme_str() == Some("https");
    let peer = Arc::new(Peer {
        methods: options
            .methods
            .iter()
            .map(|rule| (rule.path, *rule))
            .collect(),
        authorization: authorization(&options.token)?,
        default_deadline: options.default_deadline,
        margin: options.margin,
        budget: RetryBudget::default(),
        host: uri.host().unwrap_or_default().to_owned(),
        port: uri.port_u16().unwrap_or(if https { 443 } else { 80 }),
    });
    let channel = |windows| {
        let endpoint = endpoint(&options, uri.clone(), windows);
        if https {
            let tls = ClientTlsConfig::new().with_native_roots();
            return endpoint
                .tls_config(tls)
                .map(|endpoint| endpoint.connect_lazy());
        }
        Ok(endpoint.connect_lazy())
    };
    let unary = channel(UNARY_WINDOWS).map_err(ConnectError::Tls)?;
    let streams = channel(STREAM_WINDOWS).map_err(ConnectError::Tls)?;
    Ok(Channels {
        unary: Channel::unary(unary, Arc::clone(&peer)),
        streams: Channel::streams(streams, peer),
    })
}

fn parse_address(address: &str) -> Result<Uri, ConnectError> {
    let uri = address.parse::<Uri>().ok().filter(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.host().is_some_and(|host| !host.is_empty())
            && matches!(uri.path(), "" | "/")
            && uri.query().is_none()
    });
    uri.ok_or_else(|| ConnectError::Address {
        address: address.to_owned(),
    })
}

fn authorization(token: &Token) -> Result<Option<HeaderValue>, ConnectError> {
    let bearer = |token: &Text| {
        let text = Text::new(format!("Bearer {}", token.expose()));
        let mut value = HeaderValue::from_str(text.expose()).map_err(|_| ConnectError::Token)?;
        // Keeps it out of logs and out of the compression table.
        value.set_sensitive(true);
        Ok(Some(value))
    };
    match token {
        Token::None => Ok(None),
        Token::Text(token) => bearer(token),
        Token::File(path) => bearer(&read_token(path)?),
    }
}

fn endpoint(options: &ClientOptions, uri: Uri, (stream, connection): (u32, u32)) -> Endpoint {
    Endpoint::from(uri)
        .connect_timeout(options.connect_timeout)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(options.keepalive_interval)
        .keep_alive_timeout(options.keepalive_timeout)
        .keep_alive_while_idle(true)
        .http2_max_header_list_size(MAX_HEADER_LIST)
        .initial_stream_window_size(stream)
        .initial_connection_window_size(connection)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn addresses_that_are_none_are_refused_before_anything_is_sent() {
        for address in [
            "",
            "127.0.0.1:7401",
            "ftp://host:1",
            "http://",
            "http://host/path",
        ] {
            let refused = connect(ClientOptions::new(address, Token::None, []));
            assert!(
                matches!(refused, Err(ConnectError::Address { .. })),
                "{address:?}"
            );
        }
        assert!(connect(ClientOptions::new("http://127.0.0.1:1", Token::None, [])).is_ok());
    }

    #[test]
    fn the_token_is_marked_sensitive_and_never_printed() {
        let token = Token::Text(Text::new("hunter2".to_owned()));
        let value = authorization(&token).expect("valid").expect("some");
        assert!(value.is_sensitive());
        assert!(!format!("{value:?} {token:?}").contains("hunter2"));
        let broken = Token::Text(Text::new("two\nlines".to_owned()));
        assert!(matches!(authorization(&broken), Err(ConnectError::Token)));
        let missing = Token::File("/nonexistent/token".into());
        assert!(matches!(
            authorization(&missing),
            Err(ConnectError::TokenFile(_))
        ));
    }
}
