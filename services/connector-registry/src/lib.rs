//! The connector registry: the system of record for connectors. Who has which, what was observed of them, what they
//! offer.
//!
//! Layers, outermost first: `grpc` (thin handlers) → `registry` (use cases) → `domain` (rules), `store` (rows),
//! `upstream` (the vault). Only `store` knows sea-orm, only `config` reads the environment, and no secret's value is
//! ever kept here.
//!
//! Not here: who may call which method (the proto options, enforced by `rpc`), sessions (the runtime's), and the sealing
//! of secrets (the vault's).

mod app;
mod command;
mod config;

pub mod domain;
pub mod error;
pub mod grpc;
pub mod registry;
pub mod store;
pub mod upstream;

pub use app::{App, StartError};
pub use command::run;
pub use config::Config;
