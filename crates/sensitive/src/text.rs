//! Secret text.

use std::fmt;

use zeroize::Zeroizing;

use crate::Bytes;

/// Secret text. The same promises as [`Bytes`].
pub struct Text(Zeroizing<String>);

impl Text {
    /// Takes ownership of `text`.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The plaintext. Do not copy it into anything that does not wipe itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Gives up the text as bytes, without leaving a copy behind.
    #[must_use]
    pub fn into_bytes(mut self) -> Bytes {
        Bytes::new(std::mem::take(&mut *self.0).into_bytes())
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Text(..)")
    }
}
