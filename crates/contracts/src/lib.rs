//! The gRPC surface as Rust types: generated clients, servers and messages, the descriptor set, and
//! what each method demands of its caller.
//!
//! Invariant: no secret is in the `Debug` output of any message (fields marked `debug_redact` print
//! as `<redacted>`), and every method has a rule. Not here: conversions to domain types, which each
//! service makes itself, and any enforcement of the rules.

use names::access::MethodRule;

#[allow(
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    clippy::all,
    clippy::disallowed_methods,
    clippy::large_futures,
    clippy::let_underscore_must_use,
    clippy::too_many_lines,
    reason = "generated code"
)]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/_includes.rs"));
    include!(concat!(env!("OUT_DIR"), "/_redacted.rs"));
    include!(concat!(env!("OUT_DIR"), "/_access.rs"));

    pub(crate) fn method_rules() -> &'static [names::access::MethodRule] {
        METHOD_RULES
    }
}

/// `patchbay.registry.v1`: connectors.
pub mod registry {
    pub use crate::generated::patchbay::registry::v1;
}

/// `patchbay.runtime.v1`: sessions and tool calls.
pub mod runtime {
    pub use crate::generated::patchbay::runtime::v1;
}

/// `patchbay.vault.v1`: secrets.
pub mod vault {
    pub use crate::generated::patchbay::vault::v1;
}

/// The descriptor set of all our protos and of what they import, with comments, encoded as a
/// `google.protobuf.FileDescriptorSet`.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptor.bin"));

/// What each of our methods demands of its caller. A method that is not listed cannot be called.
#[must_use]
pub fn method_rules() -> &'static [MethodRule] {
    generated::method_rules()
}

#[cfg(test)]
mod tests;
