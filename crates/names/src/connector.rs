//! Names of connectors and of the tools they offer.

use std::{fmt, str::FromStr};

use uuid::Uuid;

use crate::{
    id::{InvalidName, check_resource_id, decode_segment, encode_segment},
    scope::ScopeName,
};

/// A connector's id inside its scope: `[a-z]([a-z0-9-]{0,61}[a-z0-9])?`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectorId(String);

impl ConnectorId {
    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Derives an id from a display name: letters and digits are kept in lower case, every other
    /// run becomes one `-`. `None` when nothing usable is left.
    #[must_use]
    pub fn derive(display_name: &str) -> Option<Self> {
        let mut id = String::new();
        for character in display_name.chars().flat_map(char::to_lowercase) {
            if character.is_ascii_alphanumeric() {
                id.push(character);
            } else if !id.is_empty() && !id.ends_with('-') {
                id.push('-');
            }
        }
        let id = id.trim_start_matches(|c: char| c.is_ascii_digit() || c == '-');
        // Room is left for a suffix such as `-2` when the id is taken.
        let id = id.get(..id.len().min(56))?.trim_end_matches('-');
        id.parse().ok()
    }

    /// The same id with a numeric suffix, `github-2`.
    #[must_use]
    pub fn with_suffix(&self, number: u32) -> Self {
        let suffix = format!("-{number}");
        let room = 63 - suffix.len();
        let stem = self
            .0
            .get(..self.0.len().min(room))
            .unwrap_or(&self.0)
            .trim_end_matches('-');
        Self(format!("{stem}{suffix}"))
    }
}

impl fmt::Display for ConnectorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ConnectorId {
    type Err = InvalidName;

    fn from_str(id: &str) -> Result<Self, InvalidName> {
        check_resource_id(id)?;
        Ok(Self(id.to_owned()))
    }
}

/// `{scope}/connectors/{connector}`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectorName {
    scope: ScopeName,
    id: ConnectorId,
}

impl ConnectorName {
    /// The connector `id` of `scope`.
    #[must_use]
    pub fn new(scope: ScopeName, id: ConnectorId) -> Self {
        Self { scope, id }
    }

    /// The scope that owns the connector.
    #[must_use]
    pub fn scope(&self) -> &ScopeName {
        &self.scope
    }

    /// The id inside the scope.
    #[must_use]
    pub fn id(&self) -> &ConnectorId {
        &self.id
    }
}

impl fmt::Display for ConnectorName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/connectors/{}", self.scope, self.id)
    }
}

impl FromStr for ConnectorName {
    type Err = InvalidName;

    fn from_str(name: &str) -> Result<Self, InvalidName> {
        // The last one: a user or project may be called `connectors`.
        let (scope, id) = name.rsplit_once("/connectors/").ok_or(InvalidName(
            "a connector is named '{scope}/connectors/{connector}'",
        ))?;
        Ok(Self {
            scope: scope.parse()?,
            id: id.parse()?,
        })
    }
}

/// A connector's immutable id (UUIDv7). A name used again after a deletion gets another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectorUid(Uuid);

impl ConnectorUid {
    /// Wraps an id that was made or stored earlier.
    #[must_use]
    pub fn new(uid: Uuid) -> Self {
        Self(uid)
    }

    /// The UUID itself.
    #[must_use]
    pub fn as_uuid(&self) -> Uuid {
        self.0
    }
}

impl fmt::Display for ConnectorUid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl FromStr for ConnectorUid {
    type Err = InvalidName;

    fn from_str(uid: &str) -> Result<Self, InvalidName> {
        let parsed = Uuid::try_parse(uid).map_err(|_| InvalidName("a uid is a UUID"))?;
        if parsed.hyphenated().to_string() == uid {
            Ok(Self(parsed))
        } else {
            Err(InvalidName("a uid is a UUID in lower case with hyphens"))
        }
    }
}

/// `{connector}/tools/{tool}`: the tool's own name, percent-encoded in its canonical spelling.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ToolName {
    connector: ConnectorName,
    tool: String,
}

impl ToolName {
    /// The tool that its server calls `tool`.
    ///
    /// # Errors
    /// [`InvalidName`] when `tool` is empty.
    pub fn new(connector: ConnectorName, tool: String) -> Result<Self, InvalidName> {
        if tool.is_empty() {
            return Err(InvalidName("a tool name is not empty"));
        }
        Ok(Self { connector, tool })
    }

    /// The connector that offers the tool.
    #[must_use]
    pub fn connector(&self) -> &ConnectorName {
        &self.connector
    }

    /// The tool's own name, as its server spells it.
    #[must_use]
    pub fn tool(&self) -> &str {
        &self.tool
    }
}

impl fmt::Display for ToolName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/tools/{}", self.connector, encode_segment(&self.tool))
    }
}

impl FromStr for ToolName {
    type Err = InvalidName;

    fn from_str(name: &str) -> Result<Self, InvalidName> {
        let (connector, tool) = name
            .rsplit_once("/tools/")
            .ok_or(InvalidName("a tool is named '{connector}/tools/{tool}'"))?;
        Self::new(connector.parse()?, decode_segment(tool)?)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn connector_names_parse_and_print_alike() {
        for name in [
            "users/ada/connectors/github",
            "system/connectors/a",
            "projects/p/connectors/a-1",
        ] {
            assert_eq!(name.parse::<ConnectorName>().expect(name).to_string(), name);
        }
        for name in [
            "users/ada/connectors/",
            "users/ada/connectors/-",
            "users/ada/connectors/A",
            "users/ada",
            "users/-/connectors/a",
            "users/ada/connectors/a/tools/b",
        ] {
            assert!(
                name.parse::<ConnectorName>().is_err(),
                "{name:?} must be refused"
            );
        }
    }

    #[test]
    fn ids_are_derived_from_display_names() {
        let derived = |name| ConnectorId::derive(name).map(|id| id.to_string());
        assert_eq!(
            derived("My GitHub (work)"),
            Some("my-github-work".to_owned())
        );
        assert_eq!(derived("  42 answers "), Some("answers".to_owned()));
        assert_eq!(derived("日本語"), None);
        let long = ConnectorId::derive(&"a".repeat(100)).expect("id");
        assert_eq!(long.with_suffix(12).as_str().len(), 59);
    }

    #[test]
    fn a_tool_name_has_one_spelling() {
        let name = "users/ada/connectors/files/tools/read%2Ffile";
        assert_eq!(name.parse::<ToolName>().expect(name).tool(), "read/file");
        for other in ["read%2ffile", "%72ead", "", "a%ff"] {
            let name = format!("users/ada/connectors/files/tools/{other}");
            assert!(name.parse::<ToolName>().is_err(), "{name} must be refused");
        }
    }

    proptest! {
        #[test]
        fn any_tool_survives_the_round_trip(tool in "\\PC{1,40}") {
            let connector: ConnectorName = "users/ada/connectors/x".parse().expect("name");
            let name = ToolName::new(connector, tool.clone()).expect("not empty");
            let parsed = name.to_string().parse::<ToolName>().expect("canonical");
            prop_assert_eq!(parsed.tool(), tool.as_str());
        }

        #[test]
        fn every_name_that_can_be_made_is_read_back(
            scope in "(users|projects)/(connectors|tools|secrets|[A-Za-z0-9._~@:-]{1,12})",
            id in "(connectors|tools|[a-z][a-z0-9]{0,8})",
            tool in "(connectors|/connectors/|tools|/tools/|\\PC{1,12})",
        ) {
            if let Ok(scope) = scope.parse::<ScopeName>() {
                let connector = ConnectorName::new(scope, id.parse().expect("id"));
                prop_assert_eq!(connector.to_string().parse(), Ok(connector.clone()));
                let tool = ToolName::new(connector, tool).expect("not empty");
                prop_assert_eq!(tool.to_string().parse(), Ok(tool));
            }
        }

        #[test]
        fn derived_ids_are_always_valid(name in "\\PC{0,80}", number in 2u32..100_000) {
            if let Some(id) = ConnectorId::derive(&name) {
                prop_assert!(id.as_str().parse::<ConnectorId>().is_ok());
                prop_assert!(id.with_suffix(number).as_str().parse::<ConnectorId>().is_ok());
            }
        }
    }
}
