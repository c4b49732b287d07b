//! The handlers of `patchbay.vault.v1.SecretService`.

use contracts::vault::v1 as pb;
use contracts::vault::v1::secret_service_server::SecretService;
use names::{ScopeName, SecretName, SecretVersionName};
use prost::Message as _;
use rpc::paging::{MAX_PAGE_BYTES, Pager, page_size};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::convert::{released, secret, timestamp, version};
use super::request::{add_version, connector, new_grant, parse, patch_blob, redemption, token};
use super::status::status;
use crate::vault::{Caller, Error, Listing, Page, Vault};

/// The service's state.
pub(crate) struct Handlers {
    vault: Vault,
    pager: Pager,
}

impl Handlers {
    pub(super) fn new(vault: Vault) -> Self {
        Self {
            vault,
            pager: Pager::for_process(),
        }
    }
}

type Answer<T> = Result<Response<T>, Status>;

/// Who calls, as the vault and its audit know it.
fn caller(caller: &rpc::Caller) -> Caller {
    Caller {
        subject: caller.principal.subject.clone(),
        acting_user: caller.principal.acting_user.clone(),
    }
}

#[tonic::async_trait]
impl SecretService for Handlers {
    async fn add_secret_version(
        &self,
        request: Request<pb::AddSecretVersionRequest>,
    ) -> Answer<pb::AddSecretVersionResponse> {
        let (by, message) = rpc::authorise(request)?;
        let name = format!("{}/secrets/-", message.parent);
        let request = add_version(message)?;
        let view = self.vault.add_version(&caller(&by), request).await;
        let view = view.map_err(|error| status(error, &name))?;
        Ok(Response::new(pb::AddSecretVersionResponse {
            secret: Some(secret(view)),
        }))
    }

    async fn patch_secret_blob(
        &self,
        request: Request<pb::PatchSecretBlobRequest>,
    ) -> Answer<pb::PatchSecretBlobResponse> {
        let (by, message) = rpc::authorise(request)?;
        let name = format!("{}/secrets/-", message.parent);
        let request = patch_blob(message)?;
        let view = self.vault.patch_blob(&caller(&by), request).await;
        let view = view.map_err(|error| status(error, &name))?;
        Ok(Response::new(pb::PatchSecretBlobResponse {
            secret: view.map(secret),
        }))
    }

    async fn get_secret(
        &self,
        request: Request<pb::GetSecretRequest>,
    ) -> Answer<pb::GetSecretResponse> {
        let (_, pb::GetSecretRequest { name }) = rpc::authorise(request)?;
        let parsed: SecretName = parse("name", &name)?;
        let view = self.vault.get_secret(&parsed).await;
        let view = view.map_err(|error| status(error, &name))?;
        Ok(Response::new(pb::GetSecretResponse {
            secret: Some(secret(view)),
        }))
    }

    async fn list_secrets(
        &self,
        request: Request<pb::ListSecretsRequest>,
    ) -> Answer<pb::ListSecretsResponse> {
        let (_, message) = rpc::authorise(request)?;
        let pb::ListSecretsRequest {
            parent,
            page_size: size,
            page_token,
            connector_uid,
        } = message;
        let scope: ScopeName = parse("parent", &parent)?;
        let limit = page_size(size, 100, 1000)?;
        let bound_to = ["ListSecrets", parent.as_str(), connector_uid.as_str()];
        let after = self.pager.position(&bound_to, &page_token)?;
        let listing = Listing {
            scope,
            connector: match connector_uid.as_str() {
                "" => None,
                uid => Some(connector(uid)?),
            },
            after: after.and_then(|position| Uuid::from_slice(&position).ok()),
            limit: usize::try_from(limit).unwrap_or(usize::MAX),
        };
        let page = self.vault.list_secrets(&listing).await;
        let (secrets, next) = fit(page.map_err(|error| status(error, &parent))?);
        let token = next.map(|next| self.pager.token(&bound_to, next.as_bytes()));
        let next_page_token = token.unwrap_or_default();
        Ok(Response::new(pb::ListSecretsResponse {
            secrets,
            next_page_token,
        }))
    }

    async fn destroy_secret_version(
        &self,
        request: Request<pb::DestroySecretVersionRequest>,
    ) -> Answer<pb::DestroySecretVersionResponse> {
        let (by, pb::DestroySecretVersionRequest { name }) = rpc::authorise(request)?;
        let parsed: SecretVersionName = parse("name", &name)?;
        let view = self.vault.destroy_version(&caller(&by), &parsed).await;
        let view = view.map_err(|error| status(error, &name))?;
        Ok(Response::new(pb::DestroySecretVersionResponse {
            version: Some(version(&view)),
        }))
    }

    async fn delete_secret(
        &self,
        request: Request<pb::DeleteSecretRequest>,
    ) -> Answer<pb::DeleteSecretResponse> {
        let (
            by,
            pb::DeleteSecretRequest {
                name,
                allow_missing,
            },
        ) = rpc::authorise(request)?;
        let parsed: SecretName = parse("name", &name)?;
        match self.vault.delete_secret(&caller(&by), &parsed).await {
            Ok(()) => Ok(Response::new(pb::DeleteSecretResponse {})),
            Err(Error::SecretNotFound) if allow_missing => {
                Ok(Response::new(pb::DeleteSecretResponse {}))
            }
            Err(error) => Err(status(error, &name)),
        }
    }

    async fn create_grant(
        &self,
        request: Request<pb::CreateGrantRequest>,
    ) -> Answer<pb::CreateGrantResponse> {
        let (by, message) = rpc::authorise(request)?;
        let name = format!("{}/secrets/-", message.parent);
        let request = new_grant(message)?;
        let granted = self.vault.create_grant(&caller(&by), request).await;
        let granted = granted.map_err(|error| status(error, &name))?;
        Ok(Response::new(pb::CreateGrantResponse {
            grant_token: granted.token.expose().to_owned(),
            expire_time: Some(timestamp(granted.expire_time)),
        }))
    }

    async fn redeem_grant(
        &self,
        request: Request<pb::RedeemGrantRequest>,
    ) -> Answer<pb::RedeemGrantResponse> {
        let (by, message) = rpc::authorise(request)?;
        let request = redemption(message)?;
        let outcome = self.vault.redeem(&caller(&by), request).await;
        Ok(Response::new(released(
            outcome.map_err(|error| status(error, "the grant"))?,
        )))
    }

    async fn renew_lease(
        &self,
        request: Request<pb::RenewLeaseRequest>,
    ) -> Answer<pb::RenewLeaseResponse> {
        let (by, pb::RenewLeaseRequest { lease_token }) = rpc::authorise(request)?;
        let lease = token("lease_token", lease_token)?;
        let until = self.vault.renew_lease(&caller(&by), lease).await;
        let until = until.map_err(|error| status(error, "the lease"))?;
        Ok(Response::new(pb::RenewLeaseResponse {
            lease_expire_time: Some(timestamp(until)),
        }))
    }

    async fn release_lease(
        &self,
        request: Request<pb::ReleaseLeaseRequest>,
    ) -> Answer<pb::ReleaseLeaseResponse> {
        let (by, pb::ReleaseLeaseRequest { lease_token }) = rpc::authorise(request)?;
        let lease = token("lease_token", lease_token)?;
        let ended = self.vault.release_lease(&caller(&by), lease).await;
        ended.map_err(|error| status(error, "the lease"))?;
        Ok(Response::new(pb::ReleaseLeaseResponse {}))
    }

    async fn revoke_leases(
        &self,
        request: Request<pb::RevokeLeasesRequest>,
    ) -> Answer<pb::RevokeLeasesResponse> {
        let (
            by,
            pb::RevokeLeasesRequest {
                parent,
                connector_uid,
            },
        ) = rpc::authorise(request)?;
        let scope: ScopeName = parse("parent", &parent)?;
        let uid = connector(&connector_uid)?;
        let count = self.vault.revoke_leases(&caller(&by), &scope, uid).await;
        let count = count.map_err(|error| status(error, &parent))?;
        let revoked_count = u32::try_from(count).unwrap_or(u32::MAX);
        Ok(Response::new(pb::RevokeLeasesResponse { revoked_count }))
    }
}

/// As much of a page as fits a message, and where the next one begins.
fn fit(page: Page) -> (Vec<pb::Secret>, Option<Uuid>) {
    let Page {
        secrets: views,
        next,
    } = page;
    let mut secrets = Vec::with_capacity(views.len());
    let (mut bytes, mut last) = (0, None);
    for view in views {
        let id = view.secret.id;
        let secret = secret(view);
        bytes += secret.encoded_len();
        if bytes > MAX_PAGE_BYTES && !secrets.is_empty() {
            return (secrets, last);
        }
        secrets.push(secret);
        last = Some(id);
    }
    (secrets, next)
}
