//! What a request id stands for: a digest of the request without secret values.
//!
//! Invariant: values of secrets never enter a digest that is stored, since a short one could be guessed from it.

use names::{ConnectorId, ConnectorName, ScopeName};
use sha2::{Digest, Sha256};

use super::spec::{SecretField, Spec};

/// SHA-256 of a request without its secret values.
pub type RequestHash = [u8; 32];

/// The digest of a creation.
#[must_use]
pub fn of_creation(
    parent: &ScopeName,
    id: Option<&ConnectorId>,
    spec: &Spec,
    secrets: &[&SecretField],
) -> RequestHash {
    let mut digest = Parts::new("create");
    digest.add(&parent.to_string());
    digest.add(id.map_or("", ConnectorId::as_str));
    // A spec is plain data; it always serialises.
    digest.add(&serde_json::to_string(spec).unwrap_or_default());
    digest.fields(secrets);
    digest.finish()
}

/// The digest of a change of secrets.
#[must_use]
pub fn of_secrets(
    name: &ConnectorName,
    set: &[&SecretField],
    unset: &[&SecretField],
    etag: Option<&str>,
) -> RequestHash {
    let mut digest = Parts::new("secrets");
    digest.add(&name.to_string());
    digest.fields(set);
    digest.fields(unset);
    digest.add(etag.unwrap_or_default());
    digest.finish()
}

/// Length-prefixed parts, so that no two lists of parts look alike.
struct Parts(Sha256);

impl Parts {
    fn new(kind: &str) -> Self {
        let mut parts = Self(Sha256::new());
        parts.add(kind);
        parts
    }

    fn add(&mut self, part: &str) {
        self.0.update(part.len().to_be_bytes());
        self.0.update(part.as_bytes());
    }

    fn fields(&mut self, fields: &[&SecretField]) {
        self.add(&fields.len().to_string());
        let mut fields = fields.to_vec();
        fields.sort();
        for field in fields {
            self.add(field.place.as_str());
            self.add(&field.name);
        }
    }

    fn finish(self) -> RequestHash {
        self.0.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::spec::SecretPlace;

    fn field(name: &str) -> SecretField {
        SecretField::new(SecretPlace::Environment, name)
    }

    #[test]
    fn a_digest_tells_requests_apart_but_not_the_order_of_secrets() {
        let name: ConnectorName = "users/ada/connectors/x".parse().expect("name");
        let (a, b) = (field("A"), field("B"));
        let hash =
            |set: &[&SecretField], unset: &[&SecretField]| of_secrets(&name, set, unset, None);
        assert_eq!(hash(&[&a, &b], &[]), hash(&[&b, &a], &[]));
        assert_ne!(hash(&[&a], &[&b]), hash(&[&a, &b], &[]));
        assert_ne!(hash(&[&a], &[]), hash(&[&b], &[]));
        assert_ne!(
            hash(&[&a], &[]),
            of_secrets(&name, &[&a], &[], Some("\"e\""))
        );
    }
}
