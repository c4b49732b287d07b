//! Bytes and text that wipe on drop and never print.
//!
//! Invariant: a value leaves these types only through [`Bytes::expose`] or [`Text::expose`], so a
//! search for `expose` finds every place that touches plaintext. Not here: encryption (see the
//! `envelope` crate), comparison (compare keyed digests instead) and serialisation.

use std::fmt;

use zeroize::Zeroizing;

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
mod tests {
    use super::*;

    #[test]
    fn debug_never_shows_the_value() {
        let bytes = Bytes::new(b"hunter2".to_vec());
        let text = Text::new("hunter2".to_owned());
        assert_eq!(format!("{bytes:?} {text:?}"), "Bytes(..) Text(..)");
        assert_eq!(bytes.expose(), b"hunter2");
    }

    #[test]
    fn text_and_bytes_convert_both_ways() {
        let text = Bytes::new(b"caf\xc3\xa9".to_vec()).into_text();
        let text = text.expect("UTF-8");
        assert_eq!(text.expose(), "café");
        assert_eq!(text.into_bytes().len(), 5);
        assert_eq!(Bytes::new(vec![0xff]).into_text().err(), Some(NotText));
    }
}
