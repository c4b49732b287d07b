//! HMAC-SHA256 over labelled lists of parts: grant tokens, fingerprints, records, the audit chain.
//!
//! One key may serve several records because every tag begins with a label that names the record,
//! and because every part carries its length. Comparison is in constant time.

use hmac::Mac as _;
use subtle::ConstantTimeEq as _;

use crate::{Key, bytes};

/// Bytes in a full tag.
pub const TAG_LEN: usize = 32;

/// A key that makes and checks tags.
#[derive(Debug)]
pub struct MacKey(Key);

impl MacKey {
    /// Uses `key` for tags only.
    #[must_use]
    pub fn new(key: Key) -> Self {
        Self(key)
    }

    /// The tag of `parts` under `label`.
    #[must_use]
    pub fn tag(&self, label: &'static str, parts: &[&[u8]]) -> [u8; TAG_LEN] {
        let mut mac = self.0.hmac();
        for part in core::iter::once(label.as_bytes()).chain(parts.iter().copied()) {
            mac.update(&bytes::length(part));
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }

    /// Whether `tag` is the full tag of `parts` under `label`, compared in constant time.
    #[must_use]
    pub fn verify(&self, label: &'static str, parts: &[&[u8]], tag: &[u8]) -> bool {
        self.tag(label, parts).ct_eq(tag).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> MacKey {
        MacKey::new(Key::from_slice(&[9; 32]).unwrap())
    }

    #[test]
    fn parts_cannot_slide_into_each_other() {
        let key = key();
        let tags = [
            key.tag("a", &[b"bc", b"d"]),
            key.tag("a", &[b"b", b"cd"]),
            key.tag("ab", &[b"c", b"d"]),
            key.tag("a", &[b"bcd"]),
            key.tag("a", &[b"bcd", b""]),
            key.tag("a", &[]),
        ];
        for (i, one) in tags.iter().enumerate() {
            assert!(
                tags[i + 1..].iter().all(|other| other != one),
                "tag {i} repeats"
            );
        }
    }

    #[test]
    fn only_the_whole_tag_verifies() {
        let key = key();
        let tag = key.tag("record", &[b"x"]);
        assert!(key.verify("record", &[b"x"], &tag));
        assert!(!key.verify("record", &[b"y"], &tag));
        assert!(!key.verify("other", &[b"x"], &tag));
        for length in 0..TAG_LEN {
            assert!(!key.verify("record", &[b"x"], &tag[..length]));
        }
        for bit in 0..TAG_LEN * 8 {
            let mut altered = tag;
            altered[bit / 8] ^= 1 << (bit % 8);
            assert!(!key.verify("record", &[b"x"], &altered));
        }
        let other = MacKey::new(Key::from_slice(&[8; 32]).unwrap());
        assert!(!other.verify("record", &[b"x"], &tag));
    }
}
