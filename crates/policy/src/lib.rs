//! Which URLs, addresses and commands a scope may use. Pure: the registry judges with it when a connector is saved and
//! the runtime when it connects, and both get the same verdict.
//!
//! Invariants: what is not allowed is refused, an address is judged by what it leads to and not by how it is written
//! (see [`AddressClass`]), and every refusal is a typed value with a static message. Resolving names, connecting and
//! starting processes are *not* here.

mod address;
mod destination;
mod program;
mod refusal;
mod rules;

pub use self::{
    address::{AddressClass, classify, classify_host},
    destination::Destination,
    program::{Program, Variable, VariableValue, normalise_command},
    refusal::Refusal,
    rules::{Commands, HostPattern, Hosts, Policy, Rules, ScopeKind},
};
