//! What an envelope promises, seen from outside the crate.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod contexts;
mod golden;
mod tampering;
mod wycheproof_vectors;

use envelope::{Context, DeploymentId, FieldKind, ScopeHash};
use uuid::Uuid;

/// A context with every id different.
fn context() -> Context<'static> {
    Context {
        deployment: DeploymentId(Uuid::from_u128(0x11)),
        scope: ScopeHash::of("users/ada"),
        connector: Uuid::from_u128(0x22),
        destination: Uuid::from_u128(0x33),
        secret: Uuid::from_u128(0x44),
        version: 7,
        field: FieldKind::Header,
        field_name: "authorization",
    }
}

fn unhex(text: &str) -> Vec<u8> {
    assert!(text.len().is_multiple_of(2));
    (0..text.len())
        .step_by(2)
        .map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap())
        .collect()
}
