//! The tests of the suite as a whole, in one binary: each module is one promise to the people who use it.
//!
//! Services run in process on free ports, each test with databases of its own; servers and peers are real. What a
//! single crate promises is tested in that crate.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod access;
mod binaries;
mod bounds;
mod conformance;
mod crash;
mod drain;
mod end_to_end;
mod errors;
mod many;
mod misbehaving;
mod real;
mod scopes;
mod secrets;
mod soak;
mod surface;
mod tidy;
mod traces;
