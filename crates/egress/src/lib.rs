//! Checked outbound connections: what the policy forbids is not dialled, whatever a name resolves to.
//!
//! Invariants: a host name is resolved once per connection, every address it has is checked, and one of the checked
//! addresses is dialled; redirects are never followed by the HTTP client itself; proxies of the environment are
//! ignored; every wait and every body read through here is bounded. What a URL is *for* is not known here.

mod body;
mod client;
mod error;
mod redirect;
mod resolver;

pub use self::{
    body::read_capped,
    client::{Egress, Timeouts},
    error::Error,
    redirect::MAX_REDIRECTS,
};
