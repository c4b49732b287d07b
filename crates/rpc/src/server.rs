//! The serving end: one stack of layers in one fixed order, and an orderly end.
//!
//! The order, outermost first: trace context → panic to INTERNAL → load shed and concurrency limit
//! (one step: permits) → deadline and drain → authentication and method table → the services.
//! Permits, deadline and panic guard hold until the response's body has ended, or has been given up
//! because nobody read it.
//!
//! Not here: handlers. The transport is hyper's own and not tonic's, because tonic's server adds a
//! timer of its own that answers CANCELLED, and waits for silent connections for ever.

mod admission;
mod authentication;
mod body;
mod calls;
mod connections;
mod health;
mod lifetime;
mod options;
mod panics;
mod reflection;
mod trace;

use std::{convert::Infallible, net::SocketAddr, sync::Arc};

use http::{Request, Response};
use identity::Gate;
use lifecycle::{CancellationToken, EarlyEnd, Stopped, Tasks};
use tonic::{body::Body, server::NamedService, service::RoutesBuilder};
use tower::{Service, util::BoxCloneSyncService};

pub use connections::{BindError, Listener};
pub use health::Health;
pub use options::{Limits, Reflection, ServerOptions};
pub use reflection::StartError;

/// What every layer wraps and is. A layer answers refusals itself; nothing fails.
type Stack = BoxCloneSyncService<Request<Body>, Response<Body>, Infallible>;

/// A server before it serves.
#[derive(Debug)]
pub struct Server {
    options: ServerOptions,
    gate: Gate,
    routes: RoutesBuilder,
    names: Vec<&'static str>,
    descriptors: Vec<&'static [u8]>,
}

impl Server {
    /// A server that lets in whom `gate` admits.
    #[must_use]
    pub fn new(options: ServerOptions, gate: Gate) -> Self {
        let routes = RoutesBuilder::default();
        Self {
            options,
            gate,
            routes,
            names: Vec::new(),
            descriptors: Vec::new(),
        }
    }

    /// Adds a generated service, wrapped in [`within_limits!`](crate::within_limits). Its health is
    /// reported under its name.
    #[must_use]
    #[expect(clippy::should_implement_trait, reason = "two servers do not add up")]
    pub fn add<S>(mut self, service: S) -> Self
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>
            + NamedService
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send + 'static,
    {
        self.routes.add_service(service);
        self.names.push(S::NAME);
        self
    }

    /// Adds an encoded `FileDescriptorSet` to what reflection shows.
    #[must_use]
    pub fn descriptors(mut self, encoded: &'static [u8]) -> Self {
        self.descriptors.push(encoded);
        self
    }

    /// Starts serving. Health is NOT_SERVING until [`Running::set_ready`].
    ///
    /// Of the gate's rules only those of the services added here count: the methods of others are
    /// as unknown as those of nobody.
    ///
    /// # Errors
    /// When a descriptor set cannot be decoded.
    pub fn start(mut self, listener: Listener) -> Result<Running, StartError> {
        let address = listener.address();
        let health = Health::new(&self.names);
        self.routes.add_service(health.service());
        let mut gate = self.gate.of_services(&self.names);
        for path in health::PATHS {
            gate = gate.public(*path);
        }
        if self.options.reflection.is_on(address) {
            reflection::add(&mut self.routes, &self.descriptors, &self.names)?;
            for path in reflection::PATHS {
                gate = gate.public(*path);
            }
        }
        let tasks = Arc::new(Tasks::new("rpc-server"));
        let draining = CancellationToken::new();
        let stack = stack(self.routes, gate, &self.options, &draining, address);
        let serving = connections::accept(listener, stack, self.options.clone(), &tasks);
        tasks.spawn("accept", serving);
        Ok(Running {
            address,
            health,
            draining,
            tasks,
            options: self.options,
        })
    }
}

/// Puts the layers on the services. Read from the bottom: the last one is met first.
fn stack(
    routes: RoutesBuilder,
    gate: Gate,
    options: &ServerOptions,
    draining: &CancellationToken,
    address: SocketAddr,
) -> Stack {
    let gate = Arc::new(gate);
    let service = routes.routes().prepare();
    let service = authentication::Authentication::new(service, Arc::clone(&gate));
    let service = lifetime::Lifetime::new(service, Arc::clone(&gate), options, draining.clone());
    let service = admission::Admission::new(service, Arc::clone(&gate), &options.limits);
    let service = panics::Panics::new(service);
    let service = trace::Trace::new(service, gate, address);
    Stack::new(service)
}

/// A server that serves. Dropping it ends everything at once; [`Running::stop`] is the polite way.
#[derive(Debug)]
pub struct Running {
    address: SocketAddr,
    health: Health,
    draining: CancellationToken,
    tasks: Arc<Tasks>,
    options: ServerOptions,
}

impl Running {
    /// The address it listens on, with the real port.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Says over the health service whether this server can do its work. Never let it depend on
    /// peers: a service that waits for a peer, which waits for it, is never ready.
    pub fn set_ready(&self, ready: bool) {
        self.health.set_ready(ready);
    }

    /// A handle to the health state, for whoever watches the database.
    #[must_use]
    pub fn health(&self) -> Health {
        self.health.clone()
    }

    /// Cancelled when the drain begins.
    #[must_use]
    pub fn draining(&self) -> CancellationToken {
        self.draining.clone()
    }

    /// Completes if the server ends by itself, which is an error. Cancel safe.
    pub async fn early_end(&self) -> EarlyEnd {
        self.tasks.early_end().await
    }

    /// Ends in order: health NOT_SERVING; streams are told and, after `stream_grace`, ended with
    /// UNAVAILABLE; no more connections, GOAWAY on those there are; calls in flight may finish
    /// until `drain_timeout`; then everything is cut.
    ///
    /// Takes at most `drain_timeout` and a second.
    pub async fn stop(self) -> Stopped {
        self.health.set_ready(false);
        self.draining.cancel();
        // The set's token is what the accept loop and every connection wait for.
        self.tasks.stop(self.options.drain_timeout).await
    }
}
