//! What the owner of a connector wants: a spec that was checked, as it is stored.
//!
//! Invariant: a `Spec` made by [`super::draft`] keeps every limit; one read from the database may be newer than this
//! program, and then its transport is [`Transport::Unknown`]. Secret values are never part of it, only the fact that a
//! field is secret.

use std::{collections::BTreeMap, time::Duration};

use policy::{Destination, Program, Refusal, Variable, VariableValue};
use serde::{Deserialize, Serialize};

/// The desired fields of a connector.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// For people.
    pub display_name: String,
    /// For people; may be empty.
    #[serde(default)]
    pub description: String,
    /// An https or data URI, or empty.
    #[serde(default)]
    pub icon_uri: String,
    /// For filters.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Whether the owner wants a session.
    pub enabled: bool,
    /// How the server is reached.
    pub transport: Transport,
    /// How long things may take; unset means the runtime's default.
    #[serde(default)]
    pub timeouts: Timeouts,
}

/// How a server is reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Transport {
    /// A child process.
    Stdio(Stdio),
    /// Streamable HTTP.
    StreamableHttp(StreamableHttp),
    /// Written by a newer release.
    #[serde(other)]
    Unknown,
}

/// A child process that speaks MCP on its standard input and output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stdio {
    /// An absolute path or a bare name.
    pub command: String,
    /// Its arguments.
    #[serde(default)]
    pub arguments: Vec<String>,
    /// Its whole environment, beside what the runtime always sets.
    #[serde(default)]
    pub environment: Vec<Field>,
    /// Where it is started; empty for a folder of the runtime's choice.
    #[serde(default)]
    pub working_directory: String,
}

/// A server behind one URL.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamableHttp {
    /// The MCP endpoint.
    pub url: String,
    /// Sent with every request.
    #[serde(default)]
    pub headers: Vec<Field>,
}

/// An environment variable or a header.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Field {
    /// The variable's or header's name, as it was written.
    pub name: String,
    /// Put in front of the value, `Bearer `.
    #[serde(default)]
    pub prefix: String,
    /// The value, unless it is secret.
    pub value: FieldValue,
}

/// The value of a [`Field`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FieldValue {
    /// In the vault.
    Secret,
    /// Readable by everybody who may read the connector.
    Plain(String),
}

/// How long things may take; `None` means the runtime's default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Timeouts {
    /// From dialling or starting to the end of the handshake.
    #[serde(default)]
    pub connect: Option<Duration>,
    /// One tool call whose caller set no deadline.
    #[serde(default)]
    pub call: Option<Duration>,
}

/// The kinds of transport, as filters name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TransportKind {
    /// [`Transport::Stdio`].
    Stdio,
    /// [`Transport::StreamableHttp`].
    StreamableHttp,
    /// [`Transport::Unknown`].
    Unknown,
}

/// Where a connector comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Source {
    /// Somebody created it.
    Manual,
}

/// Where a secret of a connector goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SecretPlace {
    /// An environment variable.
    Environment,
    /// A header.
    Header,
}

/// One secret field of a connector: its kind and its canonical name (headers in lower case).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SecretField {
    /// Where it goes.
    pub place: SecretPlace,
    /// The variable's name, or the header's in lower case.
    pub name: String,
}

impl Transport {
    /// The kind of this transport.
    #[must_use]
    pub fn kind(&self) -> TransportKind {
        match self {
            Self::Stdio(_) => TransportKind::Stdio,
            Self::StreamableHttp(_) => TransportKind::StreamableHttp,
            Self::Unknown => TransportKind::Unknown,
        }
    }

    /// The canonical form of where it leads; what secrets are bound to.
    ///
    /// # Errors
    /// When the spec was written by a newer release or does not lead anywhere.
    pub fn destination(&self) -> Result<Destination, Refusal> {
        match self {
            Self::Stdio(stdio) => Destination::program(&stdio.program()),
            Self::StreamableHttp(http) => {
                let url = url::Url::parse(&http.url).map_err(|_| Refusal::InvalidUrl)?;
                Destination::remote(&url)
            }
            Self::Unknown => Err(Refusal::UnknownScheme),
        }
    }

    /// Its environment variables or headers, and which of the two they are.
    #[must_use]
    pub fn fields(&self) -> (SecretPlace, &[Field]) {
        match self {
            Self::Stdio(stdio) => (SecretPlace::Environment, &stdio.environment),
            Self::StreamableHttp(http) => (SecretPlace::Header, &http.headers),
            Self::Unknown => (SecretPlace::Header, &[]),
        }
    }

    /// The fields whose values are in the vault, in the order of the spec.
    pub fn secret_fields(&self) -> impl Iterator<Item = SecretField> {
        let (place, fields) = self.fields();
        fields
            .iter()
            .filter(|field| field.value == FieldValue::Secret)
            .map(move |field| SecretField::new(place, &field.name))
    }
}

impl Stdio {
    /// The program as it is judged.
    fn program(&self) -> Program<'_> {
        Program {
            command: &self.command,
            arguments: &self.arguments,
            environment: self.environment.iter().map(Field::variable).collect(),
            working_directory: &self.working_directory,
        }
    }
}

impl Field {
    fn variable(&self) -> Variable<'_> {
        let Self {
            name,
            prefix,
            value,
        } = self;
        let value = match value {
            FieldValue::Secret => VariableValue::Secret,
            FieldValue::Plain(value) => VariableValue::Plain(value),
        };
        Variable {
            name,
            prefix,
            value,
        }
    }
}

impl SecretField {
    /// The field of this kind and name, in its canonical spelling.
    #[must_use]
    pub fn new(place: SecretPlace, name: &str) -> Self {
        let name = match place {
            SecretPlace::Environment => name.to_owned(),
            SecretPlace::Header => name.to_ascii_lowercase(),
        };
        Self { place, name }
    }
}

impl SecretPlace {
    /// The place's name in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Environment => "ENVIRONMENT",
            Self::Header => "HEADER",
        }
    }

    /// The place with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Environment, Self::Header]
            .into_iter()
            .find(|place| place.as_str() == name)
    }
}

impl TransportKind {
    /// The kind's name in filters and in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stdio => "STDIO",
            Self::StreamableHttp => "STREAMABLE_HTTP",
            Self::Unknown => "UNKNOWN",
        }
    }

    /// The kind with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Stdio, Self::StreamableHttp]
            .into_iter()
            .find(|kind| kind.as_str() == name)
    }
}

impl Source {
    /// The source's name in filters and in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Manual => "MANUAL",
        }
    }

    /// The source with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Manual]
            .into_iter()
            .find(|source| source.as_str() == name)
    }
}

impl Spec {
    /// Whether a session made for `self` would not do for `other`: what `generation` counts.
    #[must_use]
    pub fn differs_for_sessions(&self, other: &Self) -> bool {
        self.enabled != other.enabled
            || self.transport != other.transport
            || self.timeouts != other.timeouts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> Spec {
        let token = Field {
            name: "X-Api-Key".into(),
            prefix: String::new(),
            value: FieldValue::Secret,
        };
        Spec {
            display_name: "Files".into(),
            description: String::new(),
            icon_uri: String::new(),
            labels: BTreeMap::from([("env".into(), "prod".into())]),
            enabled: true,
            transport: Transport::StreamableHttp(StreamableHttp {
                url: "https://Mcp.example/mcp".into(),
                headers: vec![token],
            }),
            timeouts: Timeouts {
                connect: Some(Duration::from_millis(1500)),
                call: None,
            },
        }
    }

    #[test]
    fn a_spec_is_stored_and_read_back() {
        let text = serde_json::to_string(&spec()).expect("JSON");
        assert_eq!(
            serde_json::from_str::<Spec>(&text).expect("the same"),
            spec()
        );
    }

    #[test]
    fn a_transport_of_a_newer_release_is_kept_apart_and_does_not_fail() {
        let text =
            r#"{"display_name":"x","enabled":true,"transport":{"type":"CARRIER_PIGEON","loft":3}}"#;
        let spec: Spec = serde_json::from_str(text).expect("readable");
        assert_eq!(spec.transport, Transport::Unknown);
        assert!(spec.transport.destination().is_err());
    }

    #[test]
    fn only_what_a_session_depends_on_makes_a_generation() {
        let mut other = spec();
        other.display_name = "Other".into();
        other.labels.clear();
        assert!(!spec().differs_for_sessions(&other));
        other.timeouts.connect = None;
        assert!(spec().differs_for_sessions(&other));
        let disabled = Spec {
            enabled: false,
            ..spec()
        };
        assert!(spec().differs_for_sessions(&disabled));
    }

    #[test]
    fn secret_headers_have_one_spelling() {
        let fields: Vec<_> = spec().transport.secret_fields().collect();
        assert_eq!(fields, [SecretField::new(SecretPlace::Header, "x-api-key")]);
    }
}
