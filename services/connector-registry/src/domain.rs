//! What the registry decides, as plain values and functions: specs and their checks, states, filters, quotas, leases,
//! positions in the feed.
//!
//! Invariant: no I/O, no clock, and no type of the protocol or of the database.

pub mod check;
pub mod connector;
pub mod definition;
pub mod draft;
pub mod feed;
pub mod filter;
pub mod lease;
pub mod order;
pub mod quota;
pub mod request;
pub mod spec;
pub mod state;
pub mod status;
pub mod timestamp;
pub mod update;
pub mod violation;
