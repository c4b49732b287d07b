//! The secret vault: keeps every secret sealed and releases one only to a running session, against a grant
//! the registry made, to the runtime it was made for, for the destination it was entered for.
//!
//! Layers, outermost first: `grpc` (thin handlers) → `vault` (use cases) → `domain` (rules), `keyring`
//! (keys and ciphers), `store` (rows). Only `keyring` touches key material, only `store` knows sea-orm,
//! only `config` reads the environment.
//!
//! Not here: who may call which method (the proto options, enforced by `rpc`), and any way for a person or
//! the registry to read a value back.

mod app;
mod command;
mod config;
mod domain;
mod grpc;
mod keyring;
mod store;
mod vault;

pub use app::{App, StartError};
pub use command::run;
pub use config::Config;
