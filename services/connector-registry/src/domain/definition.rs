//! Tool definitions as servers send them: their hash, and the little of them that a list shows.
//!
//! Invariant: what is stored is what was received; nothing is written back from a parsed form.

use canonical_json::Canonical;
use serde_json::Value;

/// The longest definition that is stored, in bytes.
pub const MAX_DEFINITION: usize = 256 * 1024;
/// The most tools one connector may have.
pub const MAX_TOOLS: usize = 2_000;
const MAX_TITLE: usize = 256;
const MAX_DESCRIPTION: usize = 4_096;

/// SHA-256 of a definition in canonical form, in lower-case hex.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DefinitionHash(String);

/// The text is no hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a definition hash is SHA-256 in 64 lower-case hex digits")]
pub struct InvalidHash;

impl std::str::FromStr for DefinitionHash {
    type Err = InvalidHash;

    fn from_str(text: &str) -> Result<Self, InvalidHash> {
        let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() == 64 && text.bytes().all(hex) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidHash)
        }
    }
}

impl DefinitionHash {
    /// The hash as hex.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A definition that was checked against its hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    /// Its hash.
    pub hash: DefinitionHash,
    /// Exactly as received.
    pub json: String,
    /// For people, cut to a bounded length.
    pub title: String,
    /// For people, cut to a bounded length. Written by the server.
    pub description: String,
}

/// Why a definition was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unacceptable {
    /// Longer than [`MAX_DEFINITION`].
    #[error("a definition has at most 262144 bytes")]
    TooLarge,
    /// It has no canonical form: no JSON, or a member is there twice.
    #[error("a definition is JSON that names no member twice")]
    NotCanonical,
    /// Not a JSON object.
    #[error("a definition is a JSON object")]
    NotAnObject,
    /// The hash is of something else.
    #[error("the hash is not that of the definition")]
    WrongHash,
}

impl Definition {
    /// Checks `json` against the hash it came with.
    ///
    /// # Errors
    /// [`Unacceptable`] when it is too large, no object, or something else than the hash says.
    pub fn new(hash: DefinitionHash, json: String) -> Result<Self, Unacceptable> {
        if json.len() > MAX_DEFINITION {
            return Err(Unacceptable::TooLarge);
        }
        let canonical = Canonical::of(json.as_bytes()).map_err(|_| Unacceptable::NotCanonical)?;
        let Ok(Value::Object(members)) = serde_json::from_str(&json) else {
            return Err(Unacceptable::NotAnObject);
        };
        let text = |member: Option<&Value>, limit| {
            member
                .and_then(Value::as_str)
                .map(|text| text.chars().take(limit).collect::<String>())
        };
        let annotated = members
            .get("annotations")
            .and_then(|annotations| annotations.get("title"));
        let title = text(members.get("title"), MAX_TITLE).or_else(|| text(annotated, MAX_TITLE));
        let description = text(members.get("description"), MAX_DESCRIPTION);
        if canonical.sha256_hex() != hash.as_str() {
            return Err(Unacceptable::WrongHash);
        }
        // PostgreSQL's text cannot hold NUL, which JSON can.
        let printable = |text: Option<String>| text.unwrap_or_default().replace('\0', "\u{fffd}");
        Ok(Self {
            hash,
            title: printable(title),
            description: printable(description),
            json,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(json: &str) -> DefinitionHash {
        Canonical::of(json.as_bytes())
            .expect("JSON")
            .sha256_hex()
            .parse()
            .expect("hash")
    }

    #[test]
    fn a_definition_is_kept_as_received_and_shown_by_title() {
        let json = r#"{ "title":"Read","description":"Reads a file", "name":"read" }"#;
        let definition = Definition::new(hash(json), json.to_owned()).expect("acceptable");
        assert_eq!(definition.json, json);
        assert_eq!(
            (definition.title.as_str(), definition.description.as_str()),
            ("Read", "Reads a file")
        );
        let annotated = r#"{"name":"x","annotations":{"title":"X"}}"#;
        assert_eq!(
            Definition::new(hash(annotated), annotated.to_owned())
                .expect("ok")
                .title,
            "X"
        );
    }

    #[test]
    fn the_hash_does_not_depend_on_spelling_but_on_content() {
        assert_eq!(hash(r#"{"a":1,"b":2}"#), hash(r#"{ "b":2.0, "a":1 }"#));
        assert_ne!(hash(r#"{"a":1}"#), hash(r#"{"a":2}"#));
    }

    #[test]
    fn a_wrong_hash_and_what_is_no_object_are_refused() {
        let json = r#"{"name":"x"}"#.to_owned();
        assert_eq!(
            Definition::new(hash("{}"), json),
            Err(Unacceptable::WrongHash)
        );
        assert_eq!(
            Definition::new(hash("[]"), "[]".into()),
            Err(Unacceptable::NotAnObject)
        );
        assert_eq!(
            Definition::new(hash("{}"), "{".into()),
            Err(Unacceptable::NotCanonical)
        );
        assert_eq!(
            Definition::new(hash("{}"), r#"{"a":1,"a":1}"#.into()),
            Err(Unacceptable::NotCanonical)
        );
        let large = format!("{{\"x\":\"{}\"}}", "x".repeat(MAX_DEFINITION));
        assert_eq!(
            Definition::new(hash("{}"), large),
            Err(Unacceptable::TooLarge)
        );
    }

    #[test]
    fn hashes_have_one_spelling() {
        assert!("A".repeat(64).parse::<DefinitionHash>().is_err());
        assert!("a".repeat(63).parse::<DefinitionHash>().is_err());
        assert!("a".repeat(64).parse::<DefinitionHash>().is_ok());
    }
}
