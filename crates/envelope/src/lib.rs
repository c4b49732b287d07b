//! Envelope encryption of one secret value, and everything that touches key material below it.
//!
//! A value is sealed with AES-256-GCM under a key that is used once (derived from the scope's data
//! key and a random salt), committed to that key, and bound by associated data to the one place it
//! belongs to: deployment, scope, connector, destination, secret, version and field. Keys wrap keys
//! with AES-256-GCM; records are protected by HMAC-SHA256 under keys of their own.
//!
//! Invariants kept here: randomness is never an argument; a salt, nonce or length from a caller does
//! not exist in the interface; plaintext lives only in buffers that are wiped; every error is a
//! static text that says nothing about the bytes; there is one format and no fall-through.
//!
//! Not here: input and output, databases, clocks, caches, and the decision who may open what.

mod bytes;
mod context;
mod error;
mod key;
mod mac;
mod ring;
mod sealed;
mod wrap;

pub use context::{Context, DeploymentId, FieldKind, MAX_FIELD_NAME, ScopeHash};
pub use error::Error;
pub use key::{Key, random};
pub use mac::{MacKey, TAG_LEN};
pub use ring::{MacRing, TAG_PREFIX};
pub use sealed::{MAX_ENVELOPE, MAX_PLAINTEXT, OVERHEAD, key_id, open, seal};
pub use wrap::{KeyKind, WRAPPED_LEN, WrapContext, unwrap, wrap};
