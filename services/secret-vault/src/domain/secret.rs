//! Secrets and their versions as the vault keeps them, and what may be said about them.

use names::{ScopeName, SecretName};
use uuid::Uuid;

use super::destination::DestinationRecord;
use super::{Invalid, Micros};

/// What a secret holds. The numbers are those of the envelope format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum FieldKind {
    /// One environment variable.
    Environment,
    /// One request header.
    Header,
    /// One query parameter.
    Query,
    /// All environment variables of a connector.
    EnvironmentBlob,
}

impl FieldKind {
    const ALL: [Self; 4] = [
        Self::Environment,
        Self::Header,
        Self::Query,
        Self::EnvironmentBlob,
    ];

    pub(crate) fn code(self) -> i16 {
        match self {
            Self::Environment => 1,
            Self::Header => 2,
            Self::Query => 3,
            Self::EnvironmentBlob => 4,
        }
    }

    pub(crate) fn from_code(code: i16) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }
}

/// What a secret is for: kind and name, checked together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Field {
    pub(crate) kind: FieldKind,
    pub(crate) name: String,
}

const MAX_NAME: usize = 256;

impl Field {
    /// The one blob of a connector's environment variables.
    pub(crate) fn blob() -> Self {
        Self {
            kind: FieldKind::EnvironmentBlob,
            name: String::new(),
        }
    }

    /// A single value.
    pub(crate) fn single(kind: FieldKind, name: String) -> Result<Self, Invalid> {
        const NAME: &str = "field_name";
        if name.is_empty() || name.len() > MAX_NAME {
            return Err(Invalid::new(NAME, "must have 1 to 256 bytes"));
        }
        match kind {
            FieldKind::Header if !name.bytes().all(is_header_byte) => {
                Err(Invalid::new(NAME, "must be a header name in lower case"))
            }
            FieldKind::Environment => {
                check_variable(&name).map_err(|rule| Invalid::new(NAME, rule))?;
                Ok(Self { kind, name })
            }
            FieldKind::Query if name.chars().any(char::is_control) => {
                Err(Invalid::new(NAME, "must not contain control characters"))
            }
            FieldKind::EnvironmentBlob => Err(Invalid::new(
                "field_kind",
                "a blob is written by PatchSecretBlob",
            )),
            FieldKind::Header | FieldKind::Query => Ok(Self { kind, name }),
        }
    }
}

/// The rule for names of environment variables. ASCII only, so that byte order is the order RFC 8785
/// demands of a blob's names.
pub(crate) fn check_variable(name: &str) -> Result<(), &'static str> {
    if name.is_empty() || name.len() > MAX_NAME {
        return Err("must have 1 to 256 bytes");
    }
    if name
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && byte != b'=')
    {
        Ok(())
    } else {
        Err("must be printable ASCII without '=' and spaces")
    }
}

/// A token of RFC 9110 without upper-case letters.
fn is_header_byte(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Whether a secret can still be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SecretState {
    Active,
    /// A tombstone.
    Deleted,
}

impl SecretState {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Deleted => "deleted",
        }
    }
}

/// The state of one version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum VersionState {
    Active,
    Superseded,
    Destroyed,
}

impl VersionState {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Superseded => "superseded",
            Self::Destroyed => "destroyed",
        }
    }
}

/// The state of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyState {
    /// Seals new values or makes new MACs.
    Active,
    /// Opens older values, checks older MACs.
    DecryptOnly,
    /// Must not be used at all.
    Retired,
}

impl KeyState {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        [Self::Active, Self::DecryptOnly, Self::Retired]
            .into_iter()
            .find(|known| known.as_str() == text)
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::DecryptOnly => "decrypt_only",
            Self::Retired => "retired",
        }
    }
}

/// A secret's row. `head_mac` binds all of it but the times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SecretRecord {
    pub(crate) id: Uuid,
    pub(crate) scope: ScopeName,
    pub(crate) connector: Uuid,
    pub(crate) field: Field,
    pub(crate) current_version: u64,
    pub(crate) destination: Uuid,
    pub(crate) state: SecretState,
    pub(crate) head_mac: Vec<u8>,
    pub(crate) create_time: Micros,
    pub(crate) update_time: Micros,
}

impl SecretRecord {
    pub(crate) fn name(&self) -> SecretName {
        SecretName::new(self.scope.clone(), self.id)
    }
}

/// One version's row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct VersionRecord {
    pub(crate) secret: Uuid,
    pub(crate) version: u64,
    /// These three are gone when the version is destroyed.
    pub(crate) destination: Option<Uuid>,
    pub(crate) data_key: Option<Uuid>,
    pub(crate) envelope: Option<Vec<u8>>,
    pub(crate) state: VersionState,
    pub(crate) length_bucket: u32,
    pub(crate) fingerprint: Vec<u8>,
    pub(crate) create_time: Micros,
    pub(crate) destroy_time: Option<Micros>,
}

/// Bytes of a fingerprint that are told: what stands behind the version and key term it is stored with.
pub(crate) const FINGERPRINT: usize = 8;

impl VersionRecord {
    /// The fingerprint as it is told.
    pub(crate) fn told_fingerprint(&self) -> &[u8] {
        let told = self.fingerprint.len().saturating_sub(FINGERPRINT);
        &self.fingerprint[told..]
    }
}

/// What may be told about a secret: everything but the value.
#[derive(Debug, Clone)]
pub(crate) struct SecretView {
    pub(crate) secret: SecretRecord,
    pub(crate) version: VersionRecord,
    /// None for a destroyed version.
    pub(crate) destination: Option<DestinationRecord>,
}

/// The length of a value, rounded up so that it says little.
pub(crate) fn length_bucket(length: usize) -> u32 {
    [16, 64, 256, 1024, 4096, 16_384]
        .into_iter()
        .find(|bucket| length <= *bucket as usize)
        .unwrap_or(65_536)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_told_in_buckets_only() {
        let cases = [
            (1, 16),
            (16, 16),
            (17, 64),
            (64, 64),
            (65, 256),
            (256, 256),
            (257, 1024),
        ];
        for (length, bucket) in cases {
            assert_eq!(length_bucket(length), bucket, "{length}");
        }
        let large = [
            (1025, 4096),
            (4097, 16_384),
            (16_384, 16_384),
            (16_385, 65_536),
        ];
        for (length, bucket) in large.into_iter().chain([(65_536, 65_536)]) {
            assert_eq!(length_bucket(length), bucket, "{length}");
        }
    }

    #[test]
    fn header_names_are_lower_case_tokens() {
        for good in ["authorization", "x-api-key", "x_1!"] {
            assert!(
                Field::single(FieldKind::Header, good.into()).is_ok(),
                "{good}"
            );
        }
        for bad in ["", "X-Api-Key", "x y", "x:y", "x\r\ny", "x\0", "ö"] {
            assert!(
                Field::single(FieldKind::Header, bad.into()).is_err(),
                "{bad:?}"
            );
        }
        assert!(Field::single(FieldKind::Header, "x".repeat(257)).is_err());
    }

    #[test]
    fn variable_names_cannot_break_an_environment() {
        for good in ["API_KEY", "a.b-c", "_"] {
            assert!(
                Field::single(FieldKind::Environment, good.into()).is_ok(),
                "{good}"
            );
        }
        for bad in ["", "A=B", "A B", "A\0", "A\n", "Ä"] {
            assert!(
                Field::single(FieldKind::Environment, bad.into()).is_err(),
                "{bad:?}"
            );
        }
    }

    #[test]
    fn a_blob_is_not_a_single_value() {
        assert!(Field::single(FieldKind::EnvironmentBlob, "x".into()).is_err());
        assert!(Field::single(FieldKind::Query, "a\nb".into()).is_err());
        assert!(Field::single(FieldKind::Query, "ключ".into()).is_ok());
    }

    #[test]
    fn kinds_are_read_back() {
        for kind in FieldKind::ALL {
            assert_eq!(FieldKind::from_code(kind.code()), Some(kind));
        }
        assert_eq!(FieldKind::from_code(0), None);
        assert_eq!(FieldKind::from_code(5), None);
    }
}
