//! Several environment variables as one value: the RFC 8785 form of an object of strings.
//!
//! Names are ASCII, so their byte order is the order RFC 8785 asks for, and serde_json escapes strings
//! exactly as RFC 8785 does. Values live in wiped buffers; the encoding is written into a buffer that is
//! large enough from the start, so that growing leaves no copy behind.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use sensitive::{Bytes, Text};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use zeroize::Zeroizing;

use super::Invalid;
use super::secret::check_variable;
use super::value::MAX_VALUE;

const MAX_ENTRIES: usize = 256;

/// The variables of one connector.
#[derive(Debug, Default)]
pub(crate) struct Blob(BTreeMap<String, Text>);

/// The stored text is not what the vault writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed;

/// What a caller wants changed; checked, no name twice.
#[derive(Debug)]
pub(crate) struct BlobPatch {
    set: BTreeMap<String, Text>,
    unset: BTreeSet<String>,
}

impl BlobPatch {
    /// Checks names, values and that nothing is named twice.
    pub(crate) fn new(set: Vec<(String, Bytes)>, unset: Vec<String>) -> Result<Self, Invalid> {
        if set.is_empty() && unset.is_empty() {
            return Err(Invalid::new("set", "nothing to set and nothing to unset"));
        }
        if set.len() > MAX_ENTRIES || unset.len() > MAX_ENTRIES {
            return Err(Invalid::new("set", "at most 256 variables"));
        }
        let mut patch = Self {
            set: BTreeMap::new(),
            unset: BTreeSet::new(),
        };
        for (index, (name, value)) in set.into_iter().enumerate() {
            let name_field = || format!("set[{index}].name");
            check_variable(&name).map_err(|rule| Invalid::new(name_field(), rule))?;
            let value_field = || format!("set[{index}].value");
            if value.len() > MAX_VALUE || value.expose().contains(&0) {
                return Err(Invalid::new(value_field(), "at most 64 KiB, without NUL"));
            }
            let value = value
                .into_text()
                .map_err(|_| Invalid::new(value_field(), "must be UTF-8 text"))?;
            if patch.set.insert(name, value).is_some() {
                return Err(Invalid::new(name_field(), "is set twice"));
            }
        }
        for (index, name) in unset.into_iter().enumerate() {
            let field = || format!("unset[{index}]");
            check_variable(&name).map_err(|rule| Invalid::new(field(), rule))?;
            if patch.set.contains_key(&name) || !patch.unset.insert(name) {
                return Err(Invalid::new(field(), "is named twice"));
            }
        }
        Ok(patch)
    }

    /// Whether the patch only takes away.
    pub(crate) fn sets_nothing(&self) -> bool {
        self.set.is_empty()
    }

    /// Whether the patch decides about every variable of `blob`, so that none keeps its old value.
    pub(crate) fn covers(&self, blob: &Blob) -> bool {
        blob.0
            .keys()
            .all(|name| self.set.contains_key(name) || self.unset.contains(name))
    }

    /// Everything in the patch in a fixed order, for the keyed digest that recognises a repeat.
    pub(crate) fn parts(&self) -> Vec<&[u8]> {
        let set = self.set.iter().flat_map(|(name, value)| {
            [
                b"set".as_slice(),
                name.as_bytes(),
                value.expose().as_bytes(),
            ]
        });
        let unset = self
            .unset
            .iter()
            .flat_map(|name| [b"unset".as_slice(), name.as_bytes(), b""]);
        set.chain(unset).collect()
    }

    /// The blob after the patch.
    pub(crate) fn applied_to(&self, mut blob: Blob) -> Blob {
        for name in &self.unset {
            blob.0.remove(name);
        }
        for (name, value) in &self.set {
            blob.0
                .insert(name.clone(), Text::new(value.expose().to_owned()));
        }
        blob
    }
}

impl Blob {
    /// Reads what [`Blob::encode`] wrote.
    pub(crate) fn decode(bytes: &Bytes) -> Result<Self, Malformed> {
        serde_json::from_slice(bytes.expose()).map_err(|_| Malformed)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The canonical text.
    pub(crate) fn encode(&self) -> Result<Bytes, Invalid> {
        if self.0.len() > MAX_ENTRIES {
            return Err(Invalid::new("set", "at most 256 variables"));
        }
        // Six bytes for each is the longest escape; quotes, colon and comma come on top.
        let most: usize = self
            .0
            .iter()
            .map(|(name, value)| 6 * (name.len() + value.expose().len()) + 6)
            .sum();
        let mut out = Zeroizing::new(Vec::with_capacity(most + 2));
        for (name, value) in &self.0 {
            let before = if out.is_empty() { b'{' } else { b',' };
            out.push(before);
            write_string(&mut out, name);
            out.push(b':');
            write_string(&mut out, value.expose());
        }
        if out.is_empty() {
            out.push(b'{');
        }
        out.push(b'}');
        if out.len() > MAX_VALUE {
            return Err(Invalid::new(
                "set",
                "all variables together have at most 64 KiB",
            ));
        }
        Ok(Bytes::from_zeroizing(out))
    }
}

fn write_string(out: &mut Vec<u8>, text: &str) {
    #[expect(
        clippy::expect_used,
        reason = "a string always serialises, and memory does not fail"
    )]
    serde_json::to_writer(out, text).expect("a string serialises into memory");
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Blob;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of strings")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Blob, A::Error> {
                let mut entries = BTreeMap::new();
                while let Some((name, value)) = map.next_entry::<String, String>()? {
                    entries.insert(name, Text::new(value));
                }
                Ok(Blob(entries))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn patch(set: &[(&str, &str)], unset: &[&str]) -> Result<BlobPatch, Invalid> {
        let set = set
            .iter()
            .map(|(n, v)| ((*n).to_owned(), Bytes::new(v.as_bytes().to_vec())));
        BlobPatch::new(
            set.collect(),
            unset.iter().map(|n| (*n).to_owned()).collect(),
        )
    }

    fn text(blob: &Blob) -> String {
        String::from_utf8(blob.encode().unwrap().expose().to_vec()).unwrap()
    }

    #[test]
    fn a_blob_is_written_in_its_canonical_form() {
        let blob = patch(
            &[("b", "2"), ("A", "\"\\\n\u{1}\u{7f}é\u{20ac}/"), ("a_", "")],
            &[],
        )
        .unwrap()
        .applied_to(Blob::default());
        assert_eq!(
            text(&blob),
            "{\"A\":\"\\\"\\\\\\n\\u0001\u{7f}é€/\",\"a_\":\"\",\"b\":\"2\"}"
        );
        assert_eq!(text(&Blob::default()), "{}");
    }

    #[test]
    fn a_patch_sets_and_unsets() {
        let blob = patch(&[("A", "1"), ("B", "2")], &[])
            .unwrap()
            .applied_to(Blob::default());
        let change = patch(&[("B", "3"), ("C", "4")], &["A", "MISSING"]).unwrap();
        assert!(change.covers(&blob));
        let blob = change.applied_to(blob);
        assert_eq!(text(&blob), r#"{"B":"3","C":"4"}"#);
        assert!(!patch(&[("C", "5")], &[]).unwrap().covers(&blob));
        assert!(patch(&[], &["B", "C"]).unwrap().applied_to(blob).is_empty());
    }

    #[test]
    fn a_patch_that_contradicts_itself_is_refused() {
        let field = |patch: Result<BlobPatch, Invalid>| patch.unwrap_err().field;
        assert_eq!(field(patch(&[], &[])), "set");
        assert_eq!(field(patch(&[("A", "1"), ("A", "2")], &[])), "set[1].name");
        assert_eq!(field(patch(&[("A", "1")], &["A"])), "unset[0]");
        assert_eq!(field(patch(&[], &["A", "A"])), "unset[1]");
        assert_eq!(field(patch(&[("A=", "1")], &[])), "set[0].name");
        assert_eq!(field(patch(&[("A", "1\0")], &[])), "set[0].value");
        let not_text = BlobPatch::new(vec![("A".into(), Bytes::new(vec![0xff]))], vec![]);
        assert_eq!(field(not_text), "set[0].value");
    }

    #[test]
    fn a_blob_has_a_size() {
        let names: Vec<String> = (0..257).map(|i| format!("N{i}")).collect();
        let many: Vec<(&str, &str)> = names.iter().map(|n| (n.as_str(), "v")).collect();
        assert!(patch(&many, &[]).is_err());
        let large = "x".repeat(MAX_VALUE);
        assert!(
            patch(&[("A", &large)], &[])
                .unwrap()
                .applied_to(Blob::default())
                .encode()
                .is_err()
        );
        let fits = "x".repeat(MAX_VALUE - 8);
        let blob = patch(&[("A", &fits)], &[])
            .unwrap()
            .applied_to(Blob::default());
        assert_eq!(blob.encode().unwrap().len(), MAX_VALUE);
    }

    #[test]
    fn what_the_vault_did_not_write_is_refused_without_saying_what_it_is() {
        for bad in ["", "[]", "{\"A\":1}", "hunter2", "{\"A\":\"x\""] {
            let decoded = Blob::decode(&Bytes::new(bad.as_bytes().to_vec()));
            assert_eq!(decoded.err(), Some(Malformed), "{bad}");
        }
    }

    #[test]
    fn different_patches_have_different_parts() {
        let parts = |patch: &BlobPatch| patch.parts().concat();
        let one = patch(&[("A", "1")], &["B"]).unwrap();
        let two = patch(&[("A", "1"), ("B", "")], &[]).unwrap();
        assert_ne!(parts(&one), parts(&two));
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(entries in prop::collection::btree_map("[A-Za-z_]{1,5}", "\\PC{0,20}", 0..8)) {
            let blob = Blob(entries.iter().map(|(n, v)| (n.clone(), Text::new(v.clone()))).collect());
            let encoded = blob.encode().unwrap();
            let decoded = Blob::decode(&encoded).unwrap();
            let again = decoded.encode().unwrap();
            prop_assert_eq!(encoded.expose(), again.expose());
            prop_assert_eq!(serde_json::to_vec(&entries).unwrap(), again.expose());
        }
    }
}
