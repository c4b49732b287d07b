//! The canonical form of a JSON text (RFC 8785) and the hash over it, by which tool definitions are
//! known.
//!
//! Invariant: a text has one canonical form or none; what two readers could understand differently
//! (an object that names a key twice, half a surrogate pair) has none. Not here: what a definition
//! must contain, and comparing definitions for people.

mod value;

use sha2::{Digest as _, Sha256};

use crate::value::{DUPLICATE_KEY, Value};

/// A JSON text in canonical form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Canonical {
    text: String,
    has_inexact_numbers: bool,
}

/// Why a text has no canonical form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotCanonical {
    /// It is not one JSON value in UTF-8, or is nested more than 128 levels deep.
    #[error("not a JSON text, or nested too deeply")]
    NotJson,
    /// An object names a key twice.
    #[error("an object names a key twice")]
    DuplicateKey,
}

impl Canonical {
    /// Reads a JSON text.
    ///
    /// # Errors
    /// [`NotCanonical`] when the text has no canonical form.
    pub fn of(json: &[u8]) -> Result<Self, NotCanonical> {
        let value: Value = serde_json::from_slice(json).map_err(|error| {
            if error.to_string().starts_with(DUPLICATE_KEY) {
                NotCanonical::DuplicateKey
            } else {
                NotCanonical::NotJson
            }
        })?;
        let text =
            serde_json_canonicalizer::to_string(&value).map_err(|_| NotCanonical::NotJson)?;
        Ok(Self {
            text,
            has_inexact_numbers: value.has_inexact_numbers(),
        })
    }

    /// The canonical text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// SHA-256 of the canonical text, in lower-case hex.
    #[must_use]
    pub fn sha256_hex(&self) -> String {
        Sha256::digest(self.text.as_bytes())
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }

    /// Whether a number reaches ±2^53, where a double no longer tells neighbouring integers
    /// apart: two different originals may then look alike.
    #[must_use]
    pub fn has_inexact_numbers(&self) -> bool {
        self.has_inexact_numbers
    }
}

#[cfg(test)]
mod tests;
