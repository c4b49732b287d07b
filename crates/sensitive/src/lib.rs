//! Bytes and text that wipe on drop and never print.
//!
//! Invariant: a value leaves these types only through [`Bytes::expose`] or [`Text::expose`], so a
//! search for `expose` finds every place that touches plaintext. Not here: encryption (see the
//! `envelope` crate), comparison (compare keyed digests instead) and serialisation.

mod text;

use std::fmt;

use zeroize::Zeroizing;

pub use text::Text;

/// Secret bytes. Wiped when dropped; `Debug` prints no content. There is no `Clone`, `Display`,
/// `PartialEq` or `Serialize` on purpose.
pub struct Bytes(Zeroizing<Vec<u8>>);

impl Bytes {
    /// Takes ownership of `bytes`. The caller's buffer becomes this value's buffer, so nothing is
    /// left behind.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Takes ownership of a buffer that already wipes itself.
    #[must_use]
    pub fn from_zeroizing(bytes: Zeroizing<Vec<u8>>) -> Self {
        Self(bytes)
    }

    /// The plaintext. Do not copy it into anything that does not wipe itself.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no bytes at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Reads the bytes as UTF-8 text, without leaving a copy behind.
    ///
    /// # Errors
    /// [`NotText`] when the bytes are not UTF-8; the bytes are wiped.
    pub fn into_text(mut self) -> Result<Text, NotText> {
        match String::from_utf8(std::mem::take(&mut *self.0)) {
            Ok(text) => Ok(Text::new(text)),
            Err(error) => {
                drop(Self::new(error.into_bytes()));
                Err(NotText)
            }
        }
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bytes(..)")
    }
}

/// The secret bytes are not UTF-8 text. Says nothing about what they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotText;

impl fmt::Display for NotText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the secret value is not UTF-8 text")
    }
}

impl std::error::Error for NotText {}

#[cfg(test)]
mod tests;
