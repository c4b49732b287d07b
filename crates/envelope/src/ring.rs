//! Tags that are stored: `01 | term u32 BE | tag`, under one of several keys of the same kind.
//!
//! Invariants: new tags are made under the active term; a stored tag is checked under the term it names and
//! under no other; version and term are part of what is tagged. So a key can get a second term, and the
//! format a second version, while everything stored before stays good as it is.

use std::collections::BTreeMap;

use crate::{Key, MacKey};

/// Bytes in front of the tag: version and term.
pub const TAG_PREFIX: usize = 5;

const VERSION: u8 = 1;

/// The keys of one kind by term, one of them active.
#[derive(Debug)]
pub struct MacRing {
    active: u32,
    keys: BTreeMap<u32, MacKey>,
}

impl MacRing {
    /// A ring whose new tags are made with `key`.
    #[must_use]
    pub fn new(term: u32, key: Key) -> Self {
        Self {
            active: term,
            keys: BTreeMap::from([(term, MacKey::new(key))]),
        }
    }

    /// Adds a key that only checks; the active one stays what it is.
    #[must_use]
    pub fn with_former(mut self, term: u32, key: Key) -> Self {
        self.keys.entry(term).or_insert_with(|| MacKey::new(key));
        self
    }

    /// The stored tag of `parts` under `label`.
    #[must_use]
    pub fn tag(&self, label: &'static str, parts: &[&[u8]]) -> Vec<u8> {
        self.keys
            .get(&self.active)
            .map(|key| stored(key, self.active, label, parts))
            .unwrap_or_default()
    }

    /// Whether `tag` was made from `parts` under `label`. The prefix is checked first.
    #[must_use]
    pub fn verify(&self, label: &'static str, parts: &[&[u8]], tag: &[u8]) -> bool {
        let Some((&[VERSION, a, b, c, d], tag)) = tag.split_first_chunk::<TAG_PREFIX>() else {
            return false;
        };
        let term = u32::from_be_bytes([a, b, c, d]);
        let Some(key) = self.keys.get(&term) else {
            return false;
        };
        key.verify(label, &prefixed(&prefix(term), parts), tag)
    }

    /// The tags of `parts` under `label` in every term, the active one first: for finding again what can
    /// only be found by its tag.
    #[must_use]
    pub fn every(&self, label: &'static str, parts: &[&[u8]]) -> Vec<Vec<u8>> {
        let former = self
            .keys
            .iter()
            .filter(|(term, _)| **term != self.active)
            .map(|(term, key)| stored(key, *term, label, parts));
        std::iter::once(self.tag(label, parts))
            .chain(former)
            .collect()
    }
}

fn prefix(term: u32) -> [u8; TAG_PREFIX] {
    let [a, b, c, d] = term.to_be_bytes();
    [VERSION, a, b, c, d]
}

fn prefixed<'a>(prefix: &'a [u8], parts: &[&'a [u8]]) -> Vec<&'a [u8]> {
    std::iter::once(prefix)
        .chain(parts.iter().copied())
        .collect()
}

fn stored(key: &MacKey, term: u32, label: &'static str, parts: &[&[u8]]) -> Vec<u8> {
    let prefix = prefix(term);
    let tag = key.tag(label, &prefixed(&prefix, parts));
    [prefix.as_slice(), &tag].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> Key {
        Key::from_slice(&[byte; 32]).unwrap()
    }

    #[test]
    fn a_stored_tag_names_version_and_term() {
        let tag = MacRing::new(0x0102_0304, key(9)).tag("record", &[b"x"]);
        assert_eq!(tag.len(), TAG_PREFIX + crate::TAG_LEN);
        assert_eq!(tag[..TAG_PREFIX], [1, 1, 2, 3, 4]);
    }

    /// Computed with Python's hmac: the format must never need a migration.
    #[test]
    fn the_stored_form_is_known() {
        let known = "0100000007\
            2742180967692ef64c094a3d01f2d9de2905b97056ee6dbbdc4d787864e398cc";
        let key = Key::from_slice(&core::array::from_fn::<u8, 32, _>(|i| i as u8)).unwrap();
        let tag = MacRing::new(7, key).tag("head", &[b"abc", b""]);
        let hex: String = tag.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, known);
    }

    #[test]
    fn a_second_term_leaves_old_tags_good() {
        let first = MacRing::new(1, key(1));
        let second = MacRing::new(2, key(2)).with_former(1, key(1));
        let old = first.tag("record", &[b"x"]);
        assert!(second.verify("record", &[b"x"], &old));
        let new = second.tag("record", &[b"x"]);
        assert_eq!(new[..TAG_PREFIX], [1, 0, 0, 0, 2]);
        assert!(second.verify("record", &[b"x"], &new));
        assert!(!first.verify("record", &[b"x"], &new), "an unknown term");
        assert_eq!(second.every("record", &[b"x"]), [new, old]);
    }

    #[test]
    fn nothing_but_the_whole_stored_tag_verifies() {
        // Both terms have the same key, so that only the prefix tells them apart.
        let ring = MacRing::new(1, key(1))
            .with_former(2, key(1))
            .with_former(0, key(1));
        let tag = ring.tag("record", &[b"x"]);
        for bit in 0..tag.len() * 8 {
            let mut altered = tag.clone();
            altered[bit / 8] ^= 1 << (bit % 8);
            assert!(!ring.verify("record", &[b"x"], &altered), "bit {bit}");
        }
        for length in 0..tag.len() {
            assert!(!ring.verify("record", &[b"x"], &tag[..length]));
        }
        assert!(
            !ring.verify("record", &[b"x"], &tag[TAG_PREFIX..]),
            "a bare tag"
        );
        assert!(!ring.verify("other", &[b"x"], &tag));
        assert!(!ring.verify("record", &[b"y"], &tag));
    }

    #[test]
    fn the_active_term_cannot_be_replaced() {
        let ring = MacRing::new(1, key(1)).with_former(1, key(2));
        assert_eq!(ring.tag("a", &[]), MacRing::new(1, key(1)).tag("a", &[]));
    }
}
