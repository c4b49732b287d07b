//! HTTP clients that can only reach what the policy allows.
//!
//! Invariant: all clients of one [`Egress`] share its policy and its TLS roots, and each has a pool of its own, so
//! that no two connectors ever speak over one connection.

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, StatusCode};
use policy::{Destination, Policy, ScopeKind};
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use url::Url;

use crate::{Error, redirect, resolver::CheckedResolver};

/// The way out. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Egress {
    policy: Arc<Policy>,
    tls: Arc<ClientConfig>,
    timeouts: Timeouts,
}

/// Bounds on connecting.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// Resolving, connecting and the TLS handshake, each.
    pub connect: Duration,
    /// How long an unused connection is kept.
    pub idle_connection: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            idle_connection: Duration::from_secs(60),
        }
    }
}

impl Egress {
    /// A way out under a policy, with the machine's own root certificates.
    ///
    /// # Errors
    /// [`Error::Request`] when TLS cannot be set up at all.
    pub fn new(policy: Policy, timeouts: Timeouts) -> Result<Self, Error> {
        let mut roots = RootCertStore::empty();
        let native = rustls_native_certs::load_native_certs();
        let (added, unusable) = roots.add_parsable_certificates(native.certs);
        if added == 0 {
            tracing::warn!(
                unusable,
                "this machine has no usable root certificates; https will fail"
            );
        }
        let mut tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|_| Error::Request)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self {
            policy: Arc::new(policy),
            tls: Arc::new(tls),
            timeouts,
        })
    }

    /// The policy that everything here obeys.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Judges a URL before it is used: literals are refused here, resolved addresses when they are dialled.
    ///
    /// # Errors
    /// [`Error::Denied`].
    pub fn check(&self, scope: ScopeKind, url: &Url) -> Result<Destination, Error> {
        self.policy.check_url(scope, url).map_err(Error::Denied)
    }

    /// An HTTP client with a connection pool of its own. It follows no redirects and knows no proxies; every URL
    /// given to it must have passed [`Egress::check`], because literal addresses are not resolved.
    ///
    /// # Errors
    /// [`Error::Request`] when the client cannot be built.
    pub fn client(&self, scope: ScopeKind) -> Result<reqwest::Client, Error> {
        reqwest::Client::builder()
            .tls_backend_preconfigured(ClientConfig::clone(&self.tls))
            .dns_resolver(CheckedResolver {
                policy: Arc::clone(&self.policy),
                scope,
                timeout: self.timeouts.connect,
            })
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .connect_timeout(self.timeouts.connect)
            .pool_idle_timeout(self.timeouts.idle_connection)
            .tcp_nodelay(true)
            .tcp_keepalive(Duration::from_secs(30))
            .user_agent(concat!("patchbay/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|_| Error::Request)
    }

    /// Where a redirect that a response asks for leads to.
    ///
    /// # Errors
    /// [`Error::RedirectRefused`], or [`Error::Denied`] when the policy forbids the target.
    pub fn redirect(
        &self,
        scope: ScopeKind,
        from: &Url,
        status: StatusCode,
        headers: &HeaderMap,
    ) -> Result<Url, Error> {
        redirect::decide(&self.policy, scope, from, status, headers)
    }
}
