//! Names of secrets and of their versions.

use std::{fmt, str::FromStr};

use uuid::Uuid;

use crate::{id::InvalidName, scope::ScopeName};

const SHAPE: InvalidName = InvalidName("a secret is named '{scope}/secrets/{uuid}'");

/// `{scope}/secrets/{secret}`; the id is a UUID made by the vault.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SecretName {
    scope: ScopeName,
    id: Uuid,
}

impl SecretName {
    /// The secret `id` of `scope`.
    #[must_use]
    pub fn new(scope: ScopeName, id: Uuid) -> Self {
        Self { scope, id }
    }

    /// The scope that owns the secret.
    #[must_use]
    pub fn scope(&self) -> &ScopeName {
        &self.scope
    }

    /// The id inside the vault.
    #[must_use]
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// The name of this secret's version `number`.
    #[must_use]
    pub fn version(self, number: u64) -> SecretVersionName {
        SecretVersionName {
            secret: self,
            number,
        }
    }
}

impl fmt::Display for SecretName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/secrets/{}", self.scope, self.id.hyphenated())
    }
}

impl FromStr for SecretName {
    type Err = InvalidName;

    fn from_str(name: &str) -> Result<Self, InvalidName> {
        let (scope, id) = name.rsplit_once("/secrets/").ok_or(SHAPE)?;
        let uuid = Uuid::try_parse(id).map_err(|_| SHAPE)?;
        if uuid.hyphenated().to_string() != id {
            return Err(SHAPE);
        }
        Ok(Self {
            scope: scope.parse()?,
            id: uuid,
        })
    }
}

/// `{scope}/secrets/{secret}/versions/{n}`; versions count from 1.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SecretVersionName {
    secret: SecretName,
    number: u64,
}

impl SecretVersionName {
    /// The secret this is a version of.
    #[must_use]
    pub fn secret(&self) -> &SecretName {
        &self.secret
    }

    /// The version's number, counting from 1.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }
}

impl fmt::Display for SecretVersionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/versions/{}", self.secret, self.number)
    }
}

impl FromStr for SecretVersionName {
    type Err = InvalidName;

    fn from_str(name: &str) -> Result<Self, InvalidName> {
        const SHAPE: InvalidName =
            InvalidName("a secret version is named '{scope}/secrets/{uuid}/versions/{n}'");
        let (secret, number) = name.rsplit_once("/versions/").ok_or(SHAPE)?;
        let parsed: u64 = number.parse().map_err(|_| SHAPE)?;
        if parsed == 0 || parsed.to_string() != number {
            return Err(SHAPE);
        }
        Ok(Self {
            secret: secret.parse()?,
            number: parsed,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_may_be_called_like_a_collection() {
        for scope in ["users/secrets", "projects/versions"] {
            let scope: ScopeName = scope.parse().expect(scope);
            let name = SecretName::new(scope, Uuid::nil()).version(7);
            assert_eq!(name.to_string().parse(), Ok(name));
        }
    }

    #[test]
    fn secret_names_have_one_spelling() {
        let name = "users/ada/secrets/01932d3c-7a00-7000-8000-000000000001/versions/3";
        assert_eq!(
            name.parse::<SecretVersionName>().expect(name).to_string(),
            name
        );
        for other in [
            "users/ada/secrets/01932D3C-7A00-7000-8000-000000000001/versions/3",
            "users/ada/secrets/01932d3c-7a00-7000-8000-000000000001/versions/0",
            "users/ada/secrets/01932d3c-7a00-7000-8000-000000000001/versions/03",
            "users/ada/secrets/01932d3c7a0070008000000000000001/versions/3",
        ] {
            assert!(
                other.parse::<SecretVersionName>().is_err(),
                "{other} must be refused"
            );
        }
    }
}
