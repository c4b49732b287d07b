//! The associated data of a secret version: where its value belongs.
//!
//! `ctx = "SVCTX1" | lp(deployment) | scope 16 | connector 16 | destination 16 | secret 16 |
//! version u64 BE | field kind u8 | lp(field name)`. The ids come from the authenticated request and
//! the row looked up for it; nothing is ever parsed out of an envelope. The encoding is injective:
//! the fixed parts have fixed places and both variable ones carry their length.

use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::{Error, bytes};

/// The longest field name in bytes.
pub const MAX_FIELD_NAME: usize = 1024;

/// Which installation a ciphertext belongs to; made once with the root key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeploymentId(pub Uuid);

/// The 16 bytes that stand for a scope in contexts: the beginning of
/// `SHA-256("patchbay/scope/v1" 00 scope name)`. Computed from the name, never stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ScopeHash([u8; 16]);

impl ScopeHash {
    /// The hash of a scope's full name, such as `users/ada`.
    #[must_use]
    pub fn of(scope: &str) -> Self {
        let digest = Sha256::new()
            .chain_update(b"patchbay/scope/v1\0")
            .chain_update(scope.as_bytes())
            .finalize();
        let mut hash = [0; 16];
        hash.copy_from_slice(&digest[..16]);
        Self(hash)
    }

    /// The bytes as they stand in a context.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// What a value is used for. The numbers are part of the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum FieldKind {
    /// One environment variable.
    Env = 1,
    /// One request header.
    Header = 2,
    /// One query parameter.
    Query = 3,
    /// All environment variables of a connector: the RFC 8785 form of an object of strings.
    EnvBlob = 4,
    /// An OAuth client secret.
    OauthClientSecret = 5,
    /// An OAuth refresh token.
    RefreshToken = 6,
    /// An OAuth access token.
    AccessToken = 7,
    /// A private key.
    PrivateKey = 8,
    /// A URL that is secret as a whole.
    Url = 9,
}

impl FieldKind {
    /// Every kind, in the order of their numbers.
    pub const ALL: [Self; 9] = [
        Self::Env,
        Self::Header,
        Self::Query,
        Self::EnvBlob,
        Self::OauthClientSecret,
        Self::RefreshToken,
        Self::AccessToken,
        Self::PrivateKey,
        Self::Url,
    ];

    /// The number in the format.
    #[must_use]
    pub fn code(self) -> u8 {
        self as u8
    }

    /// The kind with that number.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }
}

/// Everything an envelope is bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Context<'a> {
    /// The installation.
    pub deployment: DeploymentId,
    /// The owner.
    pub scope: ScopeHash,
    /// The connector's uid.
    pub connector: Uuid,
    /// The id of the secret's destination record.
    pub destination: Uuid,
    /// The secret.
    pub secret: Uuid,
    /// The version of the secret, from 1.
    pub version: u64,
    /// What the value is used for.
    pub field: FieldKind,
    /// The variable's, header's or parameter's name; empty for a blob.
    pub field_name: &'a str,
}

impl Context<'_> {
    /// The bytes that go behind the header in the associated data.
    ///
    /// # Errors
    /// [`Error::Input`] for a field name longer than [`MAX_FIELD_NAME`].
    pub fn encode(&self) -> Result<Vec<u8>, Error> {
        let Self {
            deployment,
            scope,
            connector,
            destination,
            secret,
            version,
            field,
            field_name,
        } = self;
        if field_name.len() > MAX_FIELD_NAME {
            return Err(Error::Input);
        }
        let mut out = Vec::with_capacity(6 + 4 + 16 + 64 + 8 + 1 + 4 + field_name.len());
        out.extend_from_slice(b"SVCTX1");
        bytes::put(&mut out, deployment.0.as_bytes());
        out.extend_from_slice(scope.as_bytes());
        out.extend_from_slice(connector.as_bytes());
        out.extend_from_slice(destination.as_bytes());
        out.extend_from_slice(secret.as_bytes());
        out.extend_from_slice(&version.to_be_bytes());
        out.push(field.code());
        bytes::put(&mut out, field_name.as_bytes());
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn field_kinds_keep_their_numbers() {
        let codes: Vec<u8> = FieldKind::ALL.into_iter().map(FieldKind::code).collect();
        assert_eq!(codes, [1, 2, 3, 4, 5, 6, 7, 8, 9]);
        for code in 0..=u8::MAX {
            let kind = FieldKind::from_code(code);
            assert_eq!(
                kind.map(FieldKind::code),
                (1..=9).contains(&code).then_some(code)
            );
        }
    }

    #[test]
    fn scope_hashes_follow_the_documented_formula() {
        // printf 'patchbay/scope/v1\0users/ada' | sha256sum | cut -c1-32
        let hex: String = ScopeHash::of("users/ada")
            .as_bytes()
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        assert_eq!(hex, "9be9f9df8a41466949114225fbb6ea6c");
        assert_ne!(ScopeHash::of("users/ada"), ScopeHash::of("users/adb"));
    }

    #[test]
    fn an_over_long_field_name_is_refused() {
        let name = "n".repeat(MAX_FIELD_NAME + 1);
        let context = |field_name| Context {
            deployment: DeploymentId(Uuid::nil()),
            scope: ScopeHash::of("system"),
            connector: Uuid::nil(),
            destination: Uuid::nil(),
            secret: Uuid::nil(),
            version: 1,
            field: FieldKind::Env,
            field_name,
        };
        assert_eq!(context(&name).encode(), Err(Error::Input));
        assert!(context(&name[1..]).encode().is_ok());
    }
}
