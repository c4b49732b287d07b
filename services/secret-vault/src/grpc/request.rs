//! From messages to checked requests. Every message is taken apart completely, so that a new field does not
//! compile until somebody decides what it means.

use std::str::FromStr;
use std::time::Duration;

use contracts::vault::v1 as pb;
use names::{ConnectorUid, InvalidName, ScopeName, SecretVersionName};
use sensitive::{Bytes, Text};
use tonic::Status;
use uuid::Uuid;

use super::status::invalid;
use crate::domain::{
    Destinations, Field, FieldKind, Invalid, MAX_SECRETS, VersionRef, holder, one_destination, ttl,
};
use crate::vault::{AddVersion, NewGrant, PatchBlob, Redemption};

/// The longest token worth a look.
const MAX_TOKEN: usize = 256;

/// Parses a name in `field`.
pub(super) fn parse<T: FromStr<Err = InvalidName>>(
    field: &'static str,
    text: &str,
) -> Result<T, Status> {
    text.parse()
        .map_err(|InvalidName(rule)| invalid(Invalid::new(field, rule)))
}

pub(super) fn connector(text: &str) -> Result<Uuid, Status> {
    let uid: ConnectorUid = parse("connector_uid", text)?;
    Ok(uid.as_uuid())
}

/// A token as it came. One of another form is one that does not exist.
pub(super) fn token(field: &'static str, token: String) -> Result<Text, Status> {
    let token = Text::new(token);
    match token.expose().len() {
        1..=MAX_TOKEN => Ok(token),
        _ => Err(invalid(Invalid::new(field, "must have 1 to 256 bytes"))),
    }
}

fn request_id(text: &str) -> Result<Uuid, Status> {
    Uuid::try_parse(text).map_err(|_| invalid(Invalid::new("request_id", "must be a UUID")))
}

fn field_kind(number: i32) -> Result<FieldKind, Status> {
    let wrong = || invalid(Invalid::new("field_kind", "is not known"));
    match pb::FieldKind::try_from(number).map_err(|_| wrong())? {
        pb::FieldKind::Unspecified => Err(wrong()),
        pb::FieldKind::Environment => Ok(FieldKind::Environment),
        pb::FieldKind::Header => Ok(FieldKind::Header),
        pb::FieldKind::Query => Ok(FieldKind::Query),
        pb::FieldKind::EnvironmentBlob => Ok(FieldKind::EnvironmentBlob),
    }
}

pub(super) fn add_version(message: pb::AddSecretVersionRequest) -> Result<AddVersion, Status> {
    let pb::AddSecretVersionRequest {
        parent,
        connector_uid,
        field_kind: kind,
        field_name,
        value,
        destinations,
        request_id: id,
    } = message;
    // First of all into a buffer that wipes itself, whatever else is wrong.
    let value = Bytes::new(value);
    Ok(AddVersion {
        scope: parse("parent", &parent)?,
        connector: connector(&connector_uid)?,
        field: Field::single(field_kind(kind)?, field_name).map_err(invalid)?,
        value,
        destinations: Destinations::new(destinations).map_err(invalid)?,
        request_id: request_id(&id)?,
    })
}

pub(super) fn patch_blob(message: pb::PatchSecretBlobRequest) -> Result<PatchBlob, Status> {
    let pb::PatchSecretBlobRequest {
        parent,
        connector_uid,
        set,
        unset,
        destinations,
        request_id: id,
    } = message;
    let set: Vec<(String, Bytes)> = set
        .into_iter()
        .map(|pb::BlobEntry { name, value }| (name, Bytes::new(value)))
        .collect();
    let destinations = if set.is_empty() && destinations.is_empty() {
        Destinations::nowhere()
    } else {
        Destinations::new(destinations).map_err(invalid)?
    };
    Ok(PatchBlob {
        scope: parse("parent", &parent)?,
        connector: connector(&connector_uid)?,
        set,
        unset,
        destinations,
        request_id: request_id(&id)?,
    })
}

pub(super) fn new_grant(message: pb::CreateGrantRequest) -> Result<NewGrant, Status> {
    let pb::CreateGrantRequest {
        parent,
        connector_uid,
        secret_versions,
        destination,
        holder: by,
        ttl: time,
    } = message;
    let scope: ScopeName = parse("parent", &parent)?;
    let by = by.ok_or_else(|| invalid(Invalid::new("holder", "is required")))?;
    let pb::GrantHolder {
        subject,
        instance_id,
        lease_epoch,
    } = by;
    let time = time
        .map(|time| Duration::try_from(time).map_err(|_| Invalid::new("ttl", "must be positive")));
    let time = time.transpose().map_err(invalid)?;
    Ok(NewGrant {
        secrets: versions(&scope, &secret_versions)?,
        scope,
        connector: connector(&connector_uid)?,
        destination: one_destination(destination).map_err(invalid)?,
        holder: holder(subject, instance_id, lease_epoch).map_err(invalid)?,
        ttl: ttl(time).map_err(invalid)?,
    })
}

/// The versions a grant names: of its own scope, none twice.
fn versions(scope: &ScopeName, names: &[String]) -> Result<Vec<VersionRef>, Status> {
    let wrong = |rule| invalid(Invalid::new("secret_versions", rule));
    if names.is_empty() || names.len() > MAX_SECRETS {
        return Err(wrong("1 to 64 secret versions"));
    }
    let mut versions: Vec<VersionRef> = Vec::with_capacity(names.len());
    for name in names {
        let name: SecretVersionName = parse("secret_versions", name)?;
        if name.secret().scope() != scope {
            return Err(wrong("every secret version must be of the parent's scope"));
        }
        let version = VersionRef {
            secret: name.secret().id(),
            version: name.number(),
        };
        if versions.iter().any(|known| known.secret == version.secret) {
            return Err(wrong("no secret may be named twice"));
        }
        versions.push(version);
    }
    Ok(versions)
}

pub(super) fn redemption(message: pb::RedeemGrantRequest) -> Result<Redemption, Status> {
    let pb::RedeemGrantRequest {
        grant_token,
        destination,
        instance_id,
        lease_epoch,
    } = message;
    Ok(Redemption {
        token: token("grant_token", grant_token)?,
        destination: one_destination(destination).map_err(invalid)?,
        instance_id,
        lease_epoch,
    })
}
