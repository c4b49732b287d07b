//! A scripted vault: grants that are redeemed, leases that are renewed, refused or given back.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use contracts::vault::v1 as pb;
use pb::secret_service_server::{SecretService, SecretServiceServer};
use rpc::error::RichError;
use tokio::{net::TcpListener, task::JoinSet};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Code, Request, Response, Status};

/// How renewals go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Renewal {
    #[default]
    Granted,
    Refused,
    Unreachable,
}

/// What the vault holds and has heard.
#[derive(Default)]
pub(crate) struct State {
    /// What a grant is good for: the destination, and the secrets.
    pub(crate) grants: HashMap<String, (String, Vec<pb::ReleasedSecret>)>,
    pub(crate) lease: Duration,
    pub(crate) renewal: Renewal,
    /// No secret can be decrypted.
    pub(crate) unreadable: bool,
    pub(crate) redeemed: Vec<pb::RedeemGrantRequest>,
    pub(crate) renewed: usize,
    pub(crate) released: Vec<String>,
}

/// The server.
pub(crate) struct Vault {
    pub(crate) address: SocketAddr,
    shared: Shared,
    _serving: JoinSet<()>,
}

#[derive(Clone)]
struct Shared(Arc<Mutex<State>>);

impl Vault {
    pub(crate) async fn start() -> Self {
        let shared = Shared(Arc::new(Mutex::new(State {
            lease: Duration::from_secs(3600),
            ..State::default()
        })));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = SecretServiceServer::new(shared.clone());
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let incoming = TcpListenerStream::new(listener);
            let server = tonic::transport::Server::builder().add_service(service);
            server.serve_with_incoming(incoming).await.unwrap();
        });
        Self {
            address,
            shared,
            _serving: serving,
        }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.shared.0.lock().unwrap()
    }

    /// A grant for one secret header.
    pub(crate) fn header(&self, grant: &str, destination: &str, name: &str, value: &str) {
        let secret = pb::ReleasedSecret {
            field_kind: pb::FieldKind::Header.into(),
            field_name: name.into(),
            value: value.into(),
            ..Default::default()
        };
        let good_for = (destination.to_owned(), vec![secret]);
        self.state().grants.insert(grant.into(), good_for);
    }
}

macro_rules! scripted {
    ($($method:ident: $request:ident => $response:ident,)*) => {
        #[tonic::async_trait]
        impl SecretService for Shared {
            $(async fn $method(&self, _: Request<pb::$request>) -> Result<Response<pb::$response>, Status> {
                Err(Status::unimplemented("not scripted"))
            })*

            async fn redeem_grant(
                &self,
                request: Request<pb::RedeemGrantRequest>,
            ) -> Result<Response<pb::RedeemGrantResponse>, Status> {
                self.redeem(request.into_inner()).map(Response::new)
            }

            async fn renew_lease(
                &self,
                _: Request<pb::RenewLeaseRequest>,
            ) -> Result<Response<pb::RenewLeaseResponse>, Status> {
                self.renew().map(Response::new)
            }

            async fn release_lease(
                &self,
                request: Request<pb::ReleaseLeaseRequest>,
            ) -> Result<Response<pb::ReleaseLeaseResponse>, Status> {
                let pb::ReleaseLeaseRequest { lease_token } = request.into_inner();
                self.0.lock().unwrap().released.push(lease_token);
                Ok(Response::new(pb::ReleaseLeaseResponse {}))
            }
        }
    };
}

scripted! {
    add_secret_version: AddSecretVersionRequest => AddSecretVersionResponse,
    patch_secret_blob: PatchSecretBlobRequest => PatchSecretBlobResponse,
    get_secret: GetSecretRequest => GetSecretResponse,
    list_secrets: ListSecretsRequest => ListSecretsResponse,
    destroy_secret_version: DestroySecretVersionRequest => DestroySecretVersionResponse,
    delete_secret: DeleteSecretRequest => DeleteSecretResponse,
    create_grant: CreateGrantRequest => CreateGrantResponse,
    revoke_leases: RevokeLeasesRequest => RevokeLeasesResponse,
}

impl Shared {
    fn redeem(&self, request: pb::RedeemGrantRequest) -> Result<pb::RedeemGrantResponse, Status> {
        let mut state = self.0.lock().unwrap();
        state.redeemed.push(request.clone());
        let number = state.redeemed.len();
        if state.unreadable {
            let reason = "SECRET_UNREADABLE";
            return Err(RichError::new(Code::DataLoss, reason, "scripted").into());
        }
        let (_, secrets) = state
            .grants
            .get(&request.grant_token)
            .filter(|(destination, _)| *destination == request.destination)
            .cloned()
            .ok_or_else(|| refused("GRANT_NOT_FOUND"))?;
        Ok(pb::RedeemGrantResponse {
            secrets,
            lease_token: format!("lease-{number}"),
            lease_expire_time: Some(expire(state.lease)),
        })
    }

    fn renew(&self) -> Result<pb::RenewLeaseResponse, Status> {
        let mut state = self.0.lock().unwrap();
        state.renewed += 1;
        match state.renewal {
            Renewal::Granted => Ok(pb::RenewLeaseResponse {
                lease_expire_time: Some(expire(state.lease)),
            }),
            Renewal::Refused => Err(refused("LEASE_NOT_FOUND")),
            Renewal::Unreachable => Err(Status::unavailable("scripted")),
        }
    }
}

fn refused(reason: &'static str) -> Status {
    RichError::new(Code::NotFound, reason, "scripted").into()
}

fn expire(lease: Duration) -> prost_types::Timestamp {
    (lifecycle::Clock::system().now() + lease).into()
}
