//! A vault that keeps references and does what the test tells it: work, refuse, or say nothing.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    sync::Arc,
    time::Duration,
};

use contracts::vault::v1::{
    self as pb,
    secret_service_server::{SecretService, SecretServiceServer},
};
use identity::{Gate, StaticTokens};
use rpc::{Listener, Running, Server, ServerOptions, authorise};
use tokio::sync::watch;
use tonic::{Code, Request, Response, Status};
use uuid::Uuid;

/// What the vault does with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// What it is asked for.
    Working,
    /// Refuse with UNAVAILABLE.
    Down,
    /// Do this many writes, then refuse.
    DownAfter(usize),
    /// Do it, and never answer.
    Silent,
    /// Refuse for good whatever only removes variables.
    RefuseRemovals,
    /// Do it, but answer grants only when the mode is another one.
    HoldGrants,
    /// Do it, but answer writes only when the mode is another one.
    HoldWrites,
}

/// A secret as the vault has it.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) uid: String,
    pub(crate) field: String,
    pub(crate) version: u64,
    pub(crate) values: BTreeMap<String, Vec<u8>>,
    pub(crate) destination: String,
    /// Versions that were not destroyed, with the destination of each.
    pub(crate) versions: BTreeMap<u64, String>,
}

/// A secret's name and one of its versions.
type Version = (String, u64);

/// Everything the vault knows and was asked.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) secrets: BTreeMap<String, Stored>,
    pub(crate) revoked: Vec<String>,
    pub(crate) grants: Vec<pb::CreateGrantRequest>,
    requests: HashMap<String, (Vec<u8>, Option<Version>)>,
}

impl State {
    /// Fields of a connector's secrets, with their versions.
    pub(crate) fn of(&self, uid: &str) -> Vec<(String, u64)> {
        let own = self.secrets.values().filter(|secret| secret.uid == uid);
        own.map(|secret| (secret.field.clone(), secret.version))
            .collect()
    }

    /// The names in a connector's blob.
    pub(crate) fn variables(&self, uid: &str) -> BTreeSet<String> {
        let own = self
            .secrets
            .values()
            .filter(|secret| secret.uid == uid && secret.field.is_empty());
        own.flat_map(|secret| secret.values.keys().cloned())
            .collect()
    }

    /// The versions of a connector's secrets that were not destroyed, by field.
    pub(crate) fn kept(&self, uid: &str) -> BTreeMap<String, Vec<u64>> {
        let own = self.secrets.values().filter(|secret| secret.uid == uid);
        own.map(|secret| {
            (
                secret.field.clone(),
                secret.versions.keys().copied().collect(),
            )
        })
        .collect()
    }

    /// The rules for grants: every version is there and was entered for the destination.
    fn check_grant(&self, request: &pb::CreateGrantRequest) -> Result<(), Status> {
        for version in &request.secret_versions {
            let (name, number) = version.split_once("/versions/").unwrap();
            let destination = self
                .secrets
                .get(name)
                .and_then(|secret| secret.versions.get(&number.parse().unwrap()))
                .ok_or_else(|| refusal(Code::DataLoss, "SECRET_UNREADABLE"))?;
            if destination != &request.destination {
                return Err(needs_rebind());
            }
        }
        Ok(())
    }

    fn version_of(&self, name: String) -> Version {
        let version = self.secrets[&name].version;
        (name, version)
    }

    fn message(&self, (name, version): &Version) -> pb::Secret {
        let stored = &self.secrets[name];
        pb::Secret {
            name: name.clone(),
            connector_uid: stored.uid.clone(),
            field_name: stored.field.clone(),
            current_version: Some(pb::SecretVersion {
                name: format!("{name}/versions/{version}"),
                fingerprint: "00ff00ff00ff00ff".into(),
                destinations: vec![stored.destination.clone()],
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    fn find(&self, uid: &str, field: &str) -> Option<String> {
        let mut own = self
            .secrets
            .iter()
            .filter(|(_, secret)| secret.uid == uid && secret.field == field);
        own.next().map(|(name, _)| name.clone())
    }
}

/// The scripted vault. Dropping it ends it.
pub(crate) struct Vault {
    server: Running,
    script: Arc<Script>,
}

struct Script {
    mode: watch::Sender<Mode>,
    state: watch::Sender<State>,
}

impl Vault {
    pub(crate) fn start(tokens_file: &Path) -> Self {
        let script = Arc::new(Script {
            mode: watch::Sender::new(Mode::Working),
            state: watch::Sender::new(State::default()),
        });
        let gate = Gate::new(
            StaticTokens::read(tokens_file).unwrap(),
            contracts::method_rules(),
        );
        let listener = Listener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let service = SecretServiceServer::new(Service(Arc::clone(&script)));
        let server = Server::new(ServerOptions::default(), gate)
            .add(service)
            .start(listener)
            .unwrap();
        server.set_ready(true);
        Self { server, script }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.server.address()
    }

    pub(crate) fn set(&self, mode: Mode) {
        self.script.mode.send_replace(mode);
    }

    pub(crate) fn state(&self) -> watch::Ref<'_, State> {
        self.script.state.borrow()
    }

    /// Waits until the vault's state is as the test expects.
    pub(crate) async fn until(&self, what: &str, is: impl Fn(&State) -> bool) {
        let mut changes = self.script.state.subscribe();
        let reached =
            tokio::time::timeout(Duration::from_secs(20), changes.wait_for(|state| is(state)))
                .await;
        assert!(
            reached.is_ok(),
            "{what} never came: {:?}",
            self.script.state.borrow()
        );
    }
}

struct Service(Arc<Script>);

impl Service {
    /// Does `work` if the script lets it, and answers if the script lets it.
    async fn play<T>(
        &self,
        is_write: bool,
        work: impl FnOnce(&mut State) -> Result<T, Status>,
    ) -> Result<Response<T>, Status> {
        let mode = *self.0.mode.borrow();
        match mode {
            Mode::Down | Mode::DownAfter(0) => return Err(Status::unavailable("scripted")),
            Mode::DownAfter(left) if is_write => {
                self.0.mode.send_replace(Mode::DownAfter(left - 1));
            }
            Mode::DownAfter(_)
            | Mode::Working
            | Mode::Silent
            | Mode::RefuseRemovals
            | Mode::HoldGrants
            | Mode::HoldWrites => {}
        }
        let mut outcome = None;
        self.0
            .state
            .send_modify(|state| outcome = Some(work(state)));
        if mode == Mode::Silent {
            std::future::pending::<()>().await;
        }
        if mode == Mode::HoldWrites && is_write {
            self.held(Mode::HoldWrites).await;
        }
        outcome.unwrap().map(Response::new)
    }

    /// Waits while the mode is this one.
    async fn held(&self, while_in: Mode) {
        let mut modes = self.0.mode.subscribe();
        modes.wait_for(|mode| *mode != while_in).await.unwrap();
    }

    fn repeat(state: &State, id: &str, body: &[u8]) -> Option<Result<Option<Version>, Status>> {
        let (known, name) = state.requests.get(id)?;
        let reused = || refusal(Code::AlreadyExists, "REQUEST_ID_REUSED");
        Some(if known == body {
            Ok(name.clone())
        } else {
            Err(reused())
        })
    }
}

fn needs_rebind() -> Status {
    refusal(Code::FailedPrecondition, "SECRET_NEEDS_REBIND")
}

fn refusal(code: Code, reason: &'static str) -> Status {
    rpc::error::RichError::new(code, reason, "scripted").into()
}

#[tonic::async_trait]
impl SecretService for Service {
    async fn add_secret_version(
        &self,
        request: Request<pb::AddSecretVersionRequest>,
    ) -> Result<Response<pb::AddSecretVersionResponse>, Status> {
        let (_, message) = authorise(request)?;
        self.play(true, |state| {
            let body = prost::Message::encode_to_vec(&message);
            let name = match Self::repeat(state, &message.request_id, &body) {
                Some(name) => name?.unwrap(),
                None => {
                    let found = state.find(&message.connector_uid, &message.field_name);
                    let name = found.unwrap_or_else(|| {
                        format!("{}/secrets/{}", message.parent, Uuid::now_v7())
                    });
                    let stored = state.secrets.entry(name.clone()).or_insert_with(|| Stored {
                        uid: message.connector_uid.clone(),
                        field: message.field_name.clone(),
                        version: 0,
                        values: BTreeMap::new(),
                        destination: String::new(),
                        versions: BTreeMap::new(),
                    });
                    stored.values = BTreeMap::from([(message.field_name.clone(), message.value)]);
                    stored.destination = message.destinations[0].clone();
                    stored.add_version();
                    let made = state.version_of(name);
                    state
                        .requests
                        .insert(message.request_id, (body, Some(made.clone())));
                    made
                }
            };
            Ok(pb::AddSecretVersionResponse {
                secret: Some(state.message(&name)),
            })
        })
        .await
    }

    async fn patch_secret_blob(
        &self,
        request: Request<pb::PatchSecretBlobRequest>,
    ) -> Result<Response<pb::PatchSecretBlobResponse>, Status> {
        let (_, message) = authorise(request)?;
        if *self.0.mode.borrow() == Mode::RefuseRemovals && message.set.is_empty() {
            return Err(needs_rebind());
        }
        self.play(true, |state| {
            let body = prost::Message::encode_to_vec(&message);
            let name = match Self::repeat(state, &message.request_id, &body) {
                Some(name) => name?,
                None => {
                    let id = message.request_id.clone();
                    let name = patch(state, message)?;
                    let made = name.map(|name| state.version_of(name));
                    state.requests.insert(id, (body, made.clone()));
                    made
                }
            };
            let name = name.filter(|(name, _)| state.secrets.contains_key(name));
            Ok(pb::PatchSecretBlobResponse {
                secret: name.map(|name| state.message(&name)),
            })
        })
        .await
    }

    async fn list_secrets(
        &self,
        request: Request<pb::ListSecretsRequest>,
    ) -> Result<Response<pb::ListSecretsResponse>, Status> {
        let (_, message) = authorise(request)?;
        self.play(false, |state| {
            let own = state
                .secrets
                .iter()
                .filter(|(_, secret)| secret.uid == message.connector_uid);
            let secrets = own
                .map(|(name, secret)| state.message(&(name.clone(), secret.version)))
                .collect();
            Ok(pb::ListSecretsResponse {
                secrets,
                next_page_token: String::new(),
            })
        })
        .await
    }

    async fn delete_secret(
        &self,
        request: Request<pb::DeleteSecretRequest>,
    ) -> Result<Response<pb::DeleteSecretResponse>, Status> {
        let (_, message) = authorise(request)?;
        self.play(false, |state| {
            state.secrets.remove(&message.name);
            Ok(pb::DeleteSecretResponse {})
        })
        .await
    }

    async fn create_grant(
        &self,
        request: Request<pb::CreateGrantRequest>,
    ) -> Result<Response<pb::CreateGrantResponse>, Status> {
        let (_, message) = authorise(request)?;
        let answer = self
            .play(false, |state| {
                state.check_grant(&message)?;
                state.grants.push(message);
                let grant_token = format!("grant-{}", state.grants.len());
                Ok(pb::CreateGrantResponse {
                    grant_token,
                    expire_time: None,
                })
            })
            .await;
        self.held(Mode::HoldGrants).await;
        answer
    }

    async fn revoke_leases(
        &self,
        request: Request<pb::RevokeLeasesRequest>,
    ) -> Result<Response<pb::RevokeLeasesResponse>, Status> {
        let (_, message) = authorise(request)?;
        self.play(false, |state| {
            state.revoked.push(message.connector_uid);
            Ok(pb::RevokeLeasesResponse { revoked_count: 1 })
        })
        .await
    }

    async fn get_secret(
        &self,
        _: Request<pb::GetSecretRequest>,
    ) -> Result<Response<pb::GetSecretResponse>, Status> {
        Err(Status::unimplemented("not in the script"))
    }

    async fn destroy_secret_version(
        &self,
        request: Request<pb::DestroySecretVersionRequest>,
    ) -> Result<Response<pb::DestroySecretVersionResponse>, Status> {
        let (_, message) = authorise(request)?;
        self.play(false, |state| {
            let (name, number) = message.name.split_once("/versions/").unwrap();
            let secret = state.secrets.get_mut(name);
            let secret = secret.ok_or_else(|| refusal(Code::NotFound, "SECRET_NOT_FOUND"))?;
            secret.versions.remove(&number.parse().unwrap());
            Ok(pb::DestroySecretVersionResponse { version: None })
        })
        .await
    }

    async fn redeem_grant(
        &self,
        _: Request<pb::RedeemGrantRequest>,
    ) -> Result<Response<pb::RedeemGrantResponse>, Status> {
        Err(Status::unimplemented("not in the script"))
    }

    async fn renew_lease(
        &self,
        _: Request<pb::RenewLeaseRequest>,
    ) -> Result<Response<pb::RenewLeaseResponse>, Status> {
        Err(Status::unimplemented("not in the script"))
    }

    async fn release_lease(
        &self,
        _: Request<pb::ReleaseLeaseRequest>,
    ) -> Result<Response<pb::ReleaseLeaseResponse>, Status> {
        Err(Status::unimplemented("not in the script"))
    }
}

impl Stored {
    fn add_version(&mut self) {
        self.version += 1;
        self.versions.insert(self.version, self.destination.clone());
    }
}

/// The vault's rules for blobs, as its proto states them.
fn patch(state: &mut State, message: pb::PatchSecretBlobRequest) -> Result<Option<String>, Status> {
    let found = state.find(&message.connector_uid, "");
    if found.is_none() && message.set.is_empty() {
        return Ok(None);
    }
    let name = found.unwrap_or_else(|| format!("{}/secrets/{}", message.parent, Uuid::now_v7()));
    let stored = state.secrets.entry(name.clone()).or_insert_with(|| Stored {
        uid: message.connector_uid.clone(),
        field: String::new(),
        version: 0,
        values: BTreeMap::new(),
        destination: message.destinations[0].clone(),
        versions: BTreeMap::new(),
    });
    let touched = |name: &String| {
        message.unset.contains(name) || message.set.iter().any(|entry| &entry.name == name)
    };
    // Whoever only removes names no destination: what is left stays bound where it is.
    if !message.set.is_empty() {
        if stored.destination != message.destinations[0] && !stored.values.keys().all(touched) {
            return Err(needs_rebind());
        }
        stored.destination = message.destinations[0].clone();
    }
    stored
        .values
        .retain(|name, _| !message.unset.contains(name));
    stored.values.extend(
        message
            .set
            .into_iter()
            .map(|entry| (entry.name, entry.value)),
    );
    if stored.values.is_empty() {
        state.secrets.remove(&name);
        return Ok(None);
    }
    stored.add_version();
    Ok(Some(name))
}
