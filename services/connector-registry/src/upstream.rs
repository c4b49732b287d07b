//! The peers this service calls. Nothing here decides anything.

pub mod vault;
