//! Promises of the `rpc` crate, kept over real sockets on free ports.

mod admission;
mod authentication;
mod capture;
mod client;
mod connections;
mod deadlines;
mod drain;
mod errors;
mod health;
mod retries;
mod service;
mod suite;
mod trace;
mod unread;
mod wire;
