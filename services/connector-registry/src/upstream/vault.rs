//! The secret vault, as this service uses it: values go in, references come out, and nothing is ever read back.
//!
//! Invariant: a value is held for the length of one call; no error carries one. Every write has a request id, so that
//! doing it again after a lost answer makes no second version.

use std::time::Duration;

use contracts::vault::v1::{self as pb, secret_service_client::SecretServiceClient};
use names::{ConnectorUid, ScopeName, SecretName, SecretVersionName};
use rpc::{client::Channel, error::ErrorView};
use sensitive::Text;
use tonic::{Code, Request, Status};
use uuid::Uuid;

use crate::domain::connector::SecretLocation;

/// How long one call may take; the caller's own deadline may be earlier.
pub const TIMEOUT: Duration = Duration::from_secs(20);
/// Pages of a list of secrets; far more than one connector can have.
const MAX_PAGES: usize = 64;

/// The secret vault. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Vault {
    client: SecretServiceClient<Channel>,
}

/// Whose secrets a call is about.
#[derive(Debug, Clone, Copy)]
pub struct Owner<'a> {
    /// The scope.
    pub scope: &'a ScopeName,
    /// The connector.
    pub uid: ConnectorUid,
}

/// A change of a connector's blob of variables.
#[derive(Debug)]
pub struct BlobPatch<'a> {
    /// Variables to set.
    pub set: Vec<(&'a str, &'a Text)>,
    /// Variables to remove.
    pub unset: Vec<String>,
    /// Where the values may be sent; `None` when nothing is set, and what is left stays bound where it is.
    pub destination: Option<&'a str>,
    /// Recognises the call when it is made again.
    pub request: Uuid,
}

/// The holder of a session, for whom a grant is made.
#[derive(Debug, Clone)]
pub struct Holder {
    /// The principal that redeems.
    pub subject: String,
    /// The runtime instance.
    pub instance: Uuid,
    /// Its lease epoch.
    pub epoch: i64,
}

/// Why the vault did not do what it was asked for. Its own words are not passed on.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// It cannot be reached, is sealed, or has too much to do.
    #[error("the vault is unavailable")]
    Unavailable(#[source] Status),
    /// The deadline passed; it may have done it all the same.
    #[error("the vault did not answer in time")]
    TimedOut(#[source] Status),
    /// The values were entered for another destination.
    #[error("the destination is not the one the values were entered for")]
    NeedsRebind,
    /// The same request id came with another value.
    #[error("the request id was used for another request")]
    RequestReused,
    /// Somebody else wrote the same secret.
    #[error("somebody else wrote the same secret")]
    Conflict,
    /// A secret is not there any more.
    #[error("the secret does not exist")]
    NotFound,
    /// A secret cannot be read.
    #[error("the secret cannot be read")]
    Unreadable,
    /// It refused for a reason that it should not have had.
    #[error("the vault refused the call")]
    Refused(#[source] Status),
    /// Its answer makes no sense.
    #[error("the vault's answer makes no sense")]
    Nonsense,
}

impl Error {
    /// Whether the same call may succeed later.
    #[must_use]
    pub const fn is_passing(&self) -> bool {
        match self {
            Self::Unavailable(_) | Self::TimedOut(_) | Self::Conflict => true,
            Self::NeedsRebind
            | Self::RequestReused
            | Self::NotFound
            | Self::Unreadable
            | Self::Refused(_)
            | Self::Nonsense => false,
        }
    }
}

impl Vault {
    /// Uses the vault behind this channel.
    #[must_use]
    pub fn new(channel: Channel) -> Self {
        Self {
            client: rpc::within_limits!(SecretServiceClient::new(channel)),
        }
    }

    /// Seals the value of one header.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn add_header(
        &self,
        owner: Owner<'_>,
        header: &str,
        value: &Text,
        destination: &str,
        request: Uuid,
    ) -> Result<SecretLocation, Error> {
        let request = pb::AddSecretVersionRequest {
            parent: owner.scope.to_string(),
            connector_uid: owner.uid.to_string(),
            field_kind: pb::FieldKind::Header.into(),
            field_name: header.to_owned(),
            value: value.expose().as_bytes().to_vec(),
            destinations: vec![destination.to_owned()],
            request_id: request.to_string(),
        };
        let response = self
            .client
            .clone()
            .add_secret_version(timed(request))
            .await?;
        located(response.into_inner().secret)?.ok_or(Error::Nonsense)
    }

    /// Changes a connector's blob of variables; `None` when it is empty afterwards.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn patch_blob(
        &self,
        owner: Owner<'_>,
        patch: BlobPatch<'_>,
    ) -> Result<Option<SecretLocation>, Error> {
        let BlobPatch {
            set,
            unset,
            destination,
            request,
        } = patch;
        let entry = |(name, value): (&str, &Text)| pb::BlobEntry {
            name: name.to_owned(),
            value: value.expose().as_bytes().to_vec(),
        };
        let request = pb::PatchSecretBlobRequest {
            parent: owner.scope.to_string(),
            connector_uid: owner.uid.to_string(),
            set: set.into_iter().map(entry).collect(),
            unset,
            destinations: destination.map(str::to_owned).into_iter().collect(),
            request_id: request.to_string(),
        };
        let response = self
            .client
            .clone()
            .patch_secret_blob(timed(request))
            .await?;
        located(response.into_inner().secret)
    }

    /// Deletes one secret; that it is gone already is no error.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn delete(&self, name: &SecretName) -> Result<(), Error> {
        let request = pb::DeleteSecretRequest {
            name: name.to_string(),
            allow_missing: true,
        };
        self.client.clone().delete_secret(timed(request)).await?;
        Ok(())
    }

    /// Destroys one version of a secret; that it is destroyed already is no error.
    ///
    /// # Errors
    /// [`Error::NotFound`] when the secret is gone with all its versions, and the rest of [`Error`].
    pub async fn destroy(&self, version: &SecretVersionName) -> Result<(), Error> {
        let request = pb::DestroySecretVersionRequest {
            name: version.to_string(),
        };
        self.client
            .clone()
            .destroy_secret_version(timed(request))
            .await?;
        Ok(())
    }

    /// Deletes every secret of a connector.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn delete_all(&self, owner: Owner<'_>) -> Result<(), Error> {
        // What is deleted leaves the list, so the first page is asked for again until it is empty.
        for _ in 0..MAX_PAGES {
            let request = pb::ListSecretsRequest {
                parent: owner.scope.to_string(),
                page_size: 0,
                page_token: String::new(),
                connector_uid: owner.uid.to_string(),
            };
            let page = self
                .client
                .clone()
                .list_secrets(timed(request))
                .await?
                .into_inner();
            if page.secrets.is_empty() {
                return Ok(());
            }
            for secret in page.secrets {
                let name: SecretName = secret.name.parse().map_err(|_| Error::Nonsense)?;
                self.delete(&name).await?;
            }
        }
        Err(Error::Nonsense)
    }

    /// Ends every lease and grant of a connector.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn revoke_leases(&self, owner: Owner<'_>) -> Result<(), Error> {
        let request = pb::RevokeLeasesRequest {
            parent: owner.scope.to_string(),
            connector_uid: owner.uid.to_string(),
        };
        self.client.clone().revoke_leases(timed(request)).await?;
        Ok(())
    }

    /// Makes a grant of secret versions for the holder of a session; answers with its token.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn grant(
        &self,
        owner: Owner<'_>,
        versions: &[SecretVersionName],
        destination: &str,
        holder: &Holder,
    ) -> Result<Text, Error> {
        let request = pb::CreateGrantRequest {
            parent: owner.scope.to_string(),
            connector_uid: owner.uid.to_string(),
            secret_versions: versions.iter().map(ToString::to_string).collect(),
            destination: destination.to_owned(),
            holder: Some(pb::GrantHolder {
                subject: holder.subject.clone(),
                instance_id: holder.instance.to_string(),
                lease_epoch: holder.epoch,
            }),
            ttl: None,
        };
        let response = self.client.clone().create_grant(timed(request)).await?;
        Ok(Text::new(response.into_inner().grant_token))
    }
}

fn timed<M>(message: M) -> Request<M> {
    let mut request = Request::new(message);
    request.set_timeout(TIMEOUT);
    request
}

fn located(secret: Option<pb::Secret>) -> Result<Option<SecretLocation>, Error> {
    let Some(secret) = secret else {
        return Ok(None);
    };
    let version = secret.current_version.ok_or(Error::Nonsense)?;
    let name: SecretVersionName = version.name.parse().map_err(|_| Error::Nonsense)?;
    Ok(Some(SecretLocation {
        version: name.number(),
        secret: name.secret().clone(),
        fingerprint: version.fingerprint,
    }))
}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        let reason = ErrorView::reason_of(&status).unwrap_or_default();
        match (reason.as_str(), status.code()) {
            ("SECRET_NEEDS_REBIND", _) => Self::NeedsRebind,
            ("REQUEST_ID_REUSED", _) => Self::RequestReused,
            ("CONCURRENT_WRITE", _) => Self::Conflict,
            ("SECRET_NOT_FOUND", _) => Self::NotFound,
            ("SECRET_UNREADABLE", _) | (_, Code::DataLoss) => Self::Unreadable,
            (_, Code::Unavailable | Code::ResourceExhausted) => Self::Unavailable(status),
            (_, Code::DeadlineExceeded | Code::Cancelled) => Self::TimedOut(status),
            (
                _,
                Code::Ok
                | Code::Unknown
                | Code::InvalidArgument
                | Code::NotFound
                | Code::AlreadyExists
                | Code::PermissionDenied
                | Code::FailedPrecondition
                | Code::Aborted
                | Code::OutOfRange
                | Code::Unimplemented
                | Code::Internal
                | Code::Unauthenticated,
            ) => Self::Refused(status),
        }
    }
}

#[cfg(test)]
mod tests {
    use rpc::error::RichError;

    use super::*;

    #[test]
    fn reasons_are_told_apart_and_other_words_are_not_passed_on() {
        let of = |code, reason: &'static str| {
            Error::from(RichError::new(code, reason, "hunter2").into_status())
        };
        assert!(matches!(
            of(Code::FailedPrecondition, "SECRET_NEEDS_REBIND"),
            Error::NeedsRebind
        ));
        assert!(matches!(
            of(Code::DataLoss, "SECRET_UNREADABLE"),
            Error::Unreadable
        ));
        assert!(matches!(
            of(Code::Unavailable, "SEALED"),
            Error::Unavailable(_)
        ));
        assert!(matches!(
            of(Code::ResourceExhausted, "GRANT_RATE_EXCEEDED"),
            Error::Unavailable(_)
        ));
        assert!(matches!(
            of(Code::PermissionDenied, "ROLE_NOT_ALLOWED"),
            Error::Refused(_)
        ));
        assert!(matches!(
            Error::from(Status::deadline_exceeded("x")),
            Error::TimedOut(_)
        ));
        assert!(
            !of(Code::Unavailable, "SEALED")
                .to_string()
                .contains("hunter2")
        );
    }
}
