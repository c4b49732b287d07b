//! The protocol's side of the registry: messages to domain values, use cases, domain values to messages.
//!
//! Invariant: a handler gets its message only through `rpc::authorise`, and a status is made nowhere but in [`status`].
//! Nothing here decides about connectors, and nothing here knows the database.

mod convert;
mod definitions;
mod service;
mod status;
mod watch;

pub use service::Service;
