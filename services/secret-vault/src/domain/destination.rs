//! Where a secret may go: the canonical destinations entered together with its value.
//!
//! The canonical form is that of `policy::Destination`; any other spelling is refused, so that comparing
//! texts compares destinations.

use names::ScopeName;
use policy::Destination;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::{Invalid, Micros};

const MAX_DESTINATIONS: usize = 8;
const MAX_TEXT: usize = 16 * 1024;

/// One to eight canonical destinations, sorted, none twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Destinations(Vec<String>);

impl Destinations {
    pub(crate) fn new(mut texts: Vec<String>) -> Result<Self, Invalid> {
        if texts.is_empty() || texts.len() > MAX_DESTINATIONS {
            return Err(Invalid::new("destinations", "1 to 8 destinations"));
        }
        for (index, text) in texts.iter().enumerate() {
            check(text).map_err(|rule| Invalid::new(format!("destinations[{index}]"), rule))?;
        }
        texts.sort_unstable();
        texts.dedup();
        Ok(Self(texts))
    }

    /// None at all, for a request that puts nothing anywhere. It contains no destination, so nothing could
    /// ever be released for it.
    pub(crate) fn nowhere() -> Self {
        Self(Vec::new())
    }

    /// Reads the stored form. Its MAC decides whether it is genuine.
    pub(crate) fn from_json(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok().map(Self)
    }

    /// The stored form, from which the record's MAC and digest are made.
    pub(crate) fn to_json(&self) -> String {
        serde_json::Value::from(self.0.as_slice()).to_string()
    }

    /// Finds the record of this list again. Not keyed: it must outlive every key.
    pub(crate) fn digest(&self) -> Vec<u8> {
        Sha256::digest(self.to_json().as_bytes()).to_vec()
    }

    pub(crate) fn contains(&self, destination: &str) -> bool {
        self.0.iter().any(|text| text == destination)
    }

    pub(crate) fn as_slice(&self) -> &[String] {
        &self.0
    }
}

/// Checks the one destination of a grant or a redemption.
pub(crate) fn one_destination(text: String) -> Result<String, Invalid> {
    check(&text).map_err(|rule| Invalid::new("destination", rule))?;
    Ok(text)
}

fn check(text: &str) -> Result<(), &'static str> {
    const RULE: &str = "must be a canonical destination: scheme://host:port or \
        stdio:[\"command\",…], with #digest of environment and folder if there are any";
    if text.len() > MAX_TEXT {
        return Err("at most 16 KiB");
    }
    Destination::parse(text).map(drop).map_err(|_| RULE)
}

/// The record of where a connector's secrets may go. `mac` binds everything else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DestinationRecord {
    pub(crate) id: Uuid,
    pub(crate) scope: ScopeName,
    pub(crate) connector: Uuid,
    pub(crate) destinations: Destinations,
    pub(crate) record_version: u64,
    pub(crate) mac: Vec<u8>,
    pub(crate) create_time: Micros,
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn new(texts: &[&str]) -> Result<Destinations, Invalid> {
        Destinations::new(texts.iter().map(|text| (*text).to_owned()).collect())
    }

    #[test]
    fn order_and_repeats_make_no_difference() {
        let one = new(&["https://b.example:443", "https://a.example:443"]).unwrap();
        let two = new(&[
            "https://a.example:443",
            "https://b.example:443",
            "https://a.example:443",
        ])
        .unwrap();
        assert_eq!(one, two);
        assert_eq!(Destinations::from_json(&one.to_json()), Some(two));
        assert!(one.contains("https://a.example:443"));
        assert!(!one.contains("https://a.example:44"));
    }

    #[test]
    fn only_the_canonical_spelling_is_taken() {
        for good in [
            "https://example.com:443",
            "http://127.0.0.1:8080",
            r#"stdio:["npx","-y","server"]"#,
            r#"stdio:["/usr/bin/node"]"#,
            &format!(r##"stdio:["npx","#x]"]#{DIGEST}"##),
        ] {
            assert!(new(&[good]).is_ok(), "{good}");
        }
        for bad in [
            "",
            "https://example.com",
            "https://Example.com:443",
            "https://example.com:443/",
            "https://user@example.com:443",
            "file:///etc/passwd",
            "stdio:[]",
            "stdio:npx",
            r#"stdio:["npx", "-y"]"#,
            r#"stdio:["./npx"]"#,
            r#"stdio:["/usr/../bin/x"]"#,
            r#"stdio:["npx"]#"#,
            &format!(r#"stdio:["npx"]{DIGEST}"#),
            &format!(r#"stdio:["npx"]##{DIGEST}"#),
            &format!(r#"stdio:["npx"]#{}"#, DIGEST.to_uppercase()),
            &format!(r#"stdio:["npx"]#{}"#, &DIGEST[1..]),
            &format!(r#"stdio:["npx"]#{DIGEST}0"#),
            &format!(r#"stdio:["npx"]#{DIGEST} "#),
            &format!(r#"stdio:["npx"]#{}g"#, &DIGEST[1..]),
            &format!("stdio:#{DIGEST}"),
            &format!("https://example.com:443#{DIGEST}"),
        ] {
            assert!(new(&[bad]).is_err(), "{bad}");
            assert!(one_destination(bad.to_owned()).is_err(), "{bad}");
        }
    }

    #[test]
    fn another_environment_is_another_destination() {
        let bare = new(&[r#"stdio:["npx"]"#]).unwrap();
        let with = format!(r#"stdio:["npx"]#{DIGEST}"#);
        assert!(!bare.contains(&with));
        assert_ne!(new(&[&with]).unwrap().digest(), bare.digest());
    }

    #[test]
    fn there_are_one_to_eight() {
        assert!(new(&[]).is_err());
        let many: Vec<String> = (1..=9)
            .map(|port| format!("https://a.example:{port}"))
            .collect();
        assert!(Destinations::new(many.clone()).is_err());
        assert!(Destinations::new(many[1..].to_vec()).is_ok());
    }
}
