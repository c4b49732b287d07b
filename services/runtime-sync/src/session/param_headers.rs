//! The headers that repeat arguments of a call (`Mcp-Param-*`, revision 2026-07-28 over HTTP).
//!
//! The arguments are parsed once, however many of them are wanted, and only what is wanted is kept. Which arguments
//! those are is in `domain::header_arguments`.

use std::{borrow::Cow, collections::HashMap, fmt};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::{HeaderName, HeaderValue};
use serde::{
    Deserialize,
    de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::domain::HeaderArgument;

/// The headers that repeat arguments. An argument that is absent or no primitive has no header.
pub(super) fn param_headers(
    wanted: &[HeaderArgument],
    arguments: &str,
) -> Vec<(HeaderName, HeaderValue)> {
    if wanted.is_empty() {
        return Vec::new();
    }
    let mut tree = Tree::Inner(HashMap::new());
    for (index, argument) in wanted.iter().enumerate() {
        tree.insert(&argument.path, index);
    }
    let mut found = vec![None; wanted.len()];
    let walk = Walk {
        tree: &tree,
        found: &mut found,
    };
    // Arguments that cannot be read are refused by whoever sends them.
    if walk
        .deserialize(&mut serde_json::Deserializer::from_str(arguments))
        .is_err()
    {
        return Vec::new();
    }
    wanted
        .iter()
        .zip(found)
        .filter_map(|(argument, value)| {
            let name = format!("mcp-param-{}", argument.header.to_ascii_lowercase());
            Some((
                HeaderName::try_from(name).ok()?,
                HeaderValue::from_str(&encoded(&value?)).ok()?,
            ))
        })
        .collect()
}

/// The wanted paths, joined where they begin alike.
enum Tree<'w> {
    /// An argument is wanted here: its place in the list of wanted ones.
    Leaf(usize),
    Inner(HashMap<&'w str, Tree<'w>>),
}

impl<'w> Tree<'w> {
    fn insert(&mut self, path: &'w [String], index: usize) {
        // Nothing lies below a primitive, and what has something below is none: the first of the two stays.
        let Self::Inner(below) = self else {
            return;
        };
        match path.split_first() {
            Some((key, rest)) => below
                .entry(key)
                .or_insert_with(|| Self::Inner(HashMap::new()))
                .insert(rest, index),
            None if below.is_empty() => *self = Self::Leaf(index),
            None => {}
        }
    }

    /// Forgets what was found from here on: of a key that stands twice the last one counts.
    fn clear(&self, found: &mut [Option<String>]) {
        match self {
            Self::Leaf(index) => found[*index] = None,
            Self::Inner(below) => below.values().for_each(|tree| tree.clear(found)),
        }
    }
}

/// One walk along a value and the tree together.
struct Walk<'t, 'w, 'f> {
    tree: &'t Tree<'w>,
    found: &'f mut [Option<String>],
}

impl<'de> DeserializeSeed<'de> for Walk<'_, '_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        match self.tree {
            Tree::Leaf(index) => {
                let raw = <&RawValue>::deserialize(deserializer)?;
                self.found[*index] = primitive(raw.get());
                Ok(())
            }
            Tree::Inner(_) => deserializer.deserialize_any(self),
        }
    }
}

impl<'de> Visitor<'de> for Walk<'_, '_, '_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Tree::Inner(below) = self.tree else {
            return Ok(());
        };
        while let Some(key) = map.next_key::<Cow<'_, str>>()? {
            match below.get(key.as_ref()) {
                Some(tree) => {
                    tree.clear(self.found);
                    map.next_value_seed(Walk {
                        tree,
                        found: self.found,
                    })?;
                }
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<(), A::Error> {
        while sequence.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }

    // Whatever else stands where an object was expected holds no argument.
    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

/// The text of a primitive; numbers keep every digit.
fn primitive(json: &str) -> Option<String> {
    match json.as_bytes().first()? {
        b'"' => serde_json::from_str(json).ok(),
        b'{' | b'[' | b'n' => None,
        _ => Some(json.to_owned()),
    }
}

/// A value as a header can carry it: as it is, or in Base64 with the sentinels of the specification.
fn encoded(value: &str) -> Cow<'_, str> {
    const SPACE: [char; 2] = [' ', '\t'];
    let changes = value.starts_with(SPACE)
        || value.ends_with(SPACE)
        || value.chars().any(|c| !(' '..='~').contains(&c));
    let looks_encoded = value.starts_with("=?base64?") && value.ends_with("?=");
    if changes || looks_encoded {
        Cow::Owned(format!("=?base64?{}?=", BASE64_STANDARD.encode(value)))
    } else {
        Cow::Borrowed(value)
    }
}

#[cfg(test)]
mod tests {
    use super::{HeaderArgument, encoded, param_headers};

    fn wanted(path: &[&str], header: &str) -> HeaderArgument {
        HeaderArgument {
            path: path.iter().map(|step| (*step).to_owned()).collect(),
            header: header.to_owned(),
        }
    }

    fn seen(wanted: &[HeaderArgument], arguments: &str) -> Vec<(String, String)> {
        param_headers(wanted, arguments)
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
            .collect()
    }

    #[test]
    fn the_arguments_are_read_once_however_many_are_wanted() {
        // Deep paths that share nothing: read once per path and level, this would take minutes.
        let depth = 100;
        let paths: Vec<_> = (0..32)
            .map(|n| {
                let mut path = vec!["d"; depth];
                let last = format!("k{n}");
                path.push(&last);
                wanted(&path, &last)
            })
            .collect();
        let filler = "[],".repeat(1 << 20);
        let keys: String = (0..32).map(|n| format!(r#""k{n}":{n},"#)).collect();
        let arguments = format!(
            r#"{}{{{keys}"filler":[{filler}0]}}{}"#,
            r#"{"d":"#.repeat(depth),
            "}".repeat(depth)
        );
        let begun = std::time::Instant::now();
        assert_eq!(seen(&paths, &arguments).len(), 32);
        let spent = begun.elapsed();
        assert!(spent < std::time::Duration::from_secs(10), "{spent:?}");
    }

    #[test]
    fn of_a_key_that_stands_twice_the_last_one_counts() {
        let paths = [wanted(&["a", "b"], "B"), wanted(&["c"], "C")];
        assert_eq!(
            seen(&paths, r#"{"a":{"b":1},"c":1,"a":7,"c":"x"}"#),
            [("mcp-param-c".to_owned(), "x".to_owned())]
        );
    }

    #[test]
    fn what_is_no_object_where_one_was_expected_has_no_header() {
        let paths = [wanted(&["a", "b"], "B")];
        for value in [
            "1",
            "-1",
            "1.5",
            "true",
            "null",
            "\"x\"",
            "\"\\n\"",
            "[{\"b\":1}]",
            "{}",
        ] {
            assert_eq!(seen(&paths, &format!(r#"{{"a":{value}}}"#)), [], "{value}");
        }
    }

    #[test]
    fn header_arguments_are_found_by_path_and_keep_their_digits() {
        let headers = param_headers(
            &[
                wanted(&["a", "id"], "Id"),
                wanted(&["name"], "Name"),
                wanted(&["missing"], "Missing"),
                wanted(&["a"], "Object"),
                wanted(&["nothing"], "Null"),
            ],
            r#"{"a":{"id":12345678901234567890},"name":"für","nothing":null}"#,
        );
        let seen: Vec<_> = headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
            .collect();
        assert_eq!(
            seen,
            [
                ("mcp-param-id", "12345678901234567890"),
                ("mcp-param-name", "=?base64?ZsO8cg==?="),
            ]
        );
    }

    #[test]
    fn values_that_a_header_would_change_travel_in_base64() {
        for plain in ["us-west1", "a b", ""] {
            assert_eq!(encoded(plain), plain);
        }
        for other in [" a", "a\t", "a\nb", "ü", "=?base64?x?="] {
            assert!(encoded(other).starts_with("=?base64?"), "{other:?}");
        }
    }
}
