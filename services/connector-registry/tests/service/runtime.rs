//! The runtime's methods: reports, leases, definitions, grants; and what waits for them.

use std::time::Duration;

use canonical_json::Canonical;
use contracts::registry::v1::{self as pb, resolved_connector::Outcome};
use database::testing::TestDatabase;
use futures_util::{StreamExt as _, stream::FuturesUnordered};
use tonic::{Code, Status};

use crate::{harness::*, vault::Mode};

const ID: &str = "01932d3c-7a00-7000-8000-000000000001";

fn instance(name: &str, lease_epoch: i64) -> Option<pb::RuntimeInstance> {
    Some(pb::RuntimeInstance {
        instance_id: ID.into(),
        instance_name: name.into(),
        lease_epoch,
    })
}

fn observed(
    of: &pb::Connector,
    state: pb::ConnectorState,
    tools: Option<Vec<pb::ObservedTool>>,
) -> pb::ObservedConnector {
    let status = pb::ConnectorStatus {
        state: state.into(),
        protocol_version: "2025-11-25".into(),
        ..Default::default()
    };
    pb::ObservedConnector {
        uid: of.uid.clone(),
        generation: of.generation,
        status: Some(status),
        tools: tools.map(|tools| pb::ObservedTools { tools }),
    }
}

async fn report(
    client: &mut Client,
    name: &str,
    epoch: i64,
    connectors: Vec<pb::ObservedConnector>,
) -> Result<pb::ReportStatusResponse, Status> {
    let request = pb::ReportStatusRequest {
        instance: instance(name, epoch),
        connectors,
    };
    Ok(client.report_status(request).await?.into_inner())
}

/// Reports a connector as ready, under a new epoch.
pub(crate) async fn report_ready(client: &mut Client, connector: &pb::Connector) {
    let ready = observed(connector, pb::ConnectorState::Ready, None);
    report(client, "main", 0, vec![ready]).await.unwrap();
}

async fn resolve(client: &mut Client, epoch: i64, names: &[&str]) -> Result<Vec<Outcome>, Status> {
    let names = names.iter().map(|name| (*name).to_owned()).collect();
    let request = pb::ResolveConnectorsRequest {
        instance: instance("main", epoch),
        names,
    };
    let resolved = client
        .resolve_connectors(request)
        .await?
        .into_inner()
        .connectors;
    Ok(resolved
        .into_iter()
        .map(|one| one.outcome.unwrap())
        .collect())
}

/// Resolves a connector, whose secrets the vault has to have as the registry says.
pub(crate) async fn grant(suite: &Suite, connector: &pb::Connector) {
    let mut runtime = suite.client("runtime-sync");
    let epoch = report(&mut runtime, "main", 0, vec![]).await.unwrap();
    let outcomes = resolve(&mut runtime, epoch.lease_epoch, &[&connector.name]).await;
    match &outcomes.unwrap()[0] {
        Outcome::Effective(effective) => assert!(!effective.grant_token.is_empty()),
        Outcome::Unresolved(unresolved) => panic!("{unresolved:?}"),
    }
}

fn unresolved(outcome: &Outcome) -> &str {
    match outcome {
        Outcome::Unresolved(unresolved) => &unresolved.reason,
        Outcome::Effective(effective) => panic!("{effective:?}"),
    }
}

fn wait(name: &str, min_revision: i64, millis: i32) -> pb::WaitConnectorRequest {
    let timeout = prost_types::Duration {
        seconds: (millis / 1_000).into(),
        nanos: millis % 1_000 * 1_000_000,
    };
    pb::WaitConnectorRequest {
        name: name.into(),
        min_revision,
        timeout: Some(timeout),
    }
}

fn hash(json: &str) -> String {
    Canonical::of(json.as_bytes()).unwrap().sha256_hex()
}

fn upload(json: &str) -> pb::UploadDefinitionsRequest {
    pb::UploadDefinitionsRequest {
        definition_hash: hash(json),
        definition_json: json.into(),
    }
}

fn tool(json: &str, name: &str) -> pb::ObservedTool {
    pb::ObservedTool {
        name: name.into(),
        definition_hash: hash(json),
    }
}

database::test_on_both! {
    /// One runtime reports; another is held off while it is alive and takes over when it is not.
    async fn epochs_are_fenced(database: TestDatabase) {
        let suite = Suite::start(&database).await;
        let mut runtime = suite.client("runtime-sync");
        let connector = create(&mut suite.client("ada"), "a", http(vec![])).await;
        let first = report(&mut runtime, "main", 0, vec![]).await.unwrap();
        assert_eq!(first.lease_epoch, 1);
        assert!(first.presence_expire_time.is_some());
        let (code, view) = refusal(report(&mut runtime, "other", 0, vec![]).await);
        assert_eq!((code, view.reason.as_str()), (Code::FailedPrecondition, "LEASE_HELD"));
        // The same name takes over at once; the epoch before is refused.
        assert_eq!(report(&mut runtime, "main", 0, vec![]).await.unwrap().lease_epoch, 2);
        let old = vec![observed(&connector, pb::ConnectorState::Ready, None)];
        let (code, view) = refusal(report(&mut runtime, "main", 1, old).await);
        assert_eq!((code, view.reason.as_str()), (Code::FailedPrecondition, "LEASE_LOST"));
        assert_eq!(reason(resolve(&mut runtime, 1, &[&connector.name]).await), "LEASE_LOST");
        let status = get(&mut suite.client("ada"), &connector.name).await.unwrap().status.unwrap();
        assert_eq!(status.state(), pb::ConnectorState::Pending);
        suite.clock.advance(Duration::from_secs(31));
        assert_eq!(reason(resolve(&mut runtime, 2, &[&connector.name]).await), "LEASE_LOST");
        assert_eq!(report(&mut runtime, "other", 0, vec![]).await.unwrap().lease_epoch, 3);
    }

    /// A report is shown; one of another generation is ignored and named; silence makes it stale.
    async fn reports_are_shown_until_they_are_stale(database: TestDatabase) {
        let suite = Suite::start(&database).await;
        let mut runtime = suite.client("runtime-sync");
        let mut ada = suite.client("ada");
        let connector = create(&mut ada, "a", http(vec![])).await;
        report_ready(&mut runtime, &connector).await;
        let shown = get(&mut ada, &connector.name).await.unwrap();
        let status = shown.status.unwrap();
        assert_eq!((status.state(), status.condition()), (pb::ConnectorState::Ready, pb::Condition::Connected));
        assert_eq!((status.protocol_version.as_str(), status.reason.as_str()), ("2025-11-25", ""));
        assert_eq!((shown.etag, shown.status_revision), (connector.etag.clone(), 1));
        let mut stale = observed(&connector, pb::ConnectorState::Unreachable, None);
        stale.generation = 0;
        let gone = pb::ObservedConnector { uid: ID.into(), ..stale.clone() };
        let answer = report(&mut runtime, "main", 1, vec![stale, gone]).await.unwrap();
        let mut ignored = vec![connector.uid.clone(), ID.to_owned()];
        ignored.sort();
        assert_eq!(answer.ignored_uids, ignored);
        suite.clock.advance(Duration::from_secs(31));
        let status = get(&mut ada, &connector.name).await.unwrap().status.unwrap();
        assert_eq!((status.state(), status.reason.as_str()), (pb::ConnectorState::Ready, "RUNTIME_UNREACHABLE"));
        assert!(status.stale_since.is_some() && !status.message.is_empty());
    }

    /// A wait ends when the change is observed and settled, or with its timeout.
    async fn a_wait_ends_when_settled(database: TestDatabase) {
        let suite = Suite::start(&database).await;
        let mut runtime = suite.client("runtime-sync");
        let mut ada = suite.client("ada");
        let connector = create(&mut ada, "a", http(vec![])).await;
        let timed_out = ada.wait_connector(wait(&connector.name, 0, 50)).await.unwrap().into_inner();
        assert!(!timed_out.settled);
        let mut waiter = ada.clone();
        let waiting = waiter.wait_connector(wait(&connector.name, connector.revision, 20_000));
        let reporting = async {
            let connecting = observed(&connector, pb::ConnectorState::Connecting, None);
            report(&mut runtime, "main", 0, vec![connecting]).await.unwrap();
            let ready = observed(&connector, pb::ConnectorState::Ready, None);
            report(&mut runtime, "main", 1, vec![ready]).await.unwrap();
        };
        let (waited, ()) = tokio::join!(waiting, reporting);
        let waited = waited.unwrap().into_inner();
        assert!(waited.settled);
        assert_eq!(waited.connector.unwrap().status.unwrap().state(), pb::ConnectorState::Ready);
        // What is settled answers at once; a revision that never came does not.
        assert!(ada.wait_connector(wait(&connector.name, 0, 20_000)).await.unwrap().into_inner().settled);
        assert!(!ada.wait_connector(wait(&connector.name, 999_999, 50)).await.unwrap().into_inner().settled);
        // A new generation is waited for anew; a verdict of the registry's own is settled without any runtime.
        let wanted = pb::Connector { name: connector.name.clone(), ..http(vec![declared("X-Key")]) };
        let request = pb::UpdateConnectorRequest { connector: Some(wanted), update_mask: None };
        let changed = ada.update_connector(request).await.unwrap().into_inner().connector.unwrap();
        let blocked = ada.wait_connector(wait(&connector.name, changed.revision, 20_000)).await.unwrap().into_inner();
        assert!(blocked.settled);
        assert_eq!(blocked.connector.unwrap().status.unwrap().reason, "SECRET_MISSING");
        assert_eq!(reason(ada.wait_connector(wait("users/ada/connectors/no", 0, 50)).await), "CONNECTOR_NOT_FOUND");
        let negative = pb::WaitConnectorRequest {
            timeout: Some(prost_types::Duration { seconds: -1, nanos: 0 }),
            ..wait(&connector.name, 0, 0)
        };
        assert_eq!(fields(ada.wait_connector(negative).await), ["timeout"]);
    }

    /// The holder gets a grant for exactly the connector's versions and destination; others get a reason.
    async fn the_holder_gets_a_grant(database: TestDatabase) {
        let suite = Suite::start(&database).await;
        let mut ada = suite.client("ada");
        let mut runtime = suite.client("runtime-sync");
        let headers = http(vec![secret("X-One", "1"), secret("X-Two", "2"), plain("X-Three", "3")]);
        let a = create(&mut ada, "a", headers).await;
        let b = create(&mut ada, "b", stdio(vec![secret("A", "1"), secret("B", "2")])).await;
        create(&mut ada, "open", http(vec![])).await;
        create(&mut ada, "missing", http(vec![declared("X-Key")])).await;
        create(&mut ada, "off", pb::Connector { enabled: Some(false), ..http(vec![]) }).await;
        let names: Vec<String> =
            ["a", "b", "open", "missing", "off", "no"].iter().map(|id| format!("users/ada/connectors/{id}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        assert_eq!(reason(resolve(&mut runtime, 1, &names).await), "LEASE_LOST");
        report(&mut runtime, "main", 0, vec![]).await.unwrap();
        let outcomes = resolve(&mut runtime, 1, &names).await.unwrap();
        let [Outcome::Effective(first), Outcome::Effective(second), Outcome::Effective(open), rest @ ..] = &outcomes[..]
        else {
            panic!("{outcomes:?}")
        };
        assert_eq!(first.connector.as_ref().unwrap().uid, a.uid);
        assert_eq!((first.destination.as_str(), first.secrets.len()), ("https://mcp.example:443", 2));
        assert!(first.secrets.iter().any(|one| one.field_name == "x-one" && one.place() == pb::SecretPlace::Header));
        assert!(!format!("{first:?}").contains("grant-"), "a token is not printed");
        assert_eq!(second.connector.as_ref().unwrap().uid, b.uid);
        assert!(second.destination.starts_with(r#"stdio:["npx"]#"#), "{}", second.destination);
        assert_eq!(second.secrets.len(), 1);
        assert!(open.grant_token.is_empty() && open.secrets.is_empty());
        let reasons: Vec<_> = rest.iter().map(unresolved).collect();
        assert_eq!(reasons, ["SECRET_MISSING", "CONNECTOR_DISABLED", "CONNECTOR_NOT_FOUND"]);
        let vault = suite.vault.state();
        let grant = vault.grants.iter().find(|grant| grant.connector_uid == a.uid).unwrap();
        let holder = grant.holder.clone().unwrap();
        assert_eq!((holder.subject.as_str(), holder.instance_id.as_str(), holder.lease_epoch), ("runtime-sync", ID, 1));
        assert_eq!((grant.secret_versions.len(), grant.destination.as_str()), (2, "https://mcp.example:443"));
        assert_eq!(vault.grants.len(), 2);
    }

    /// A vault that is down is a reason, not an error; too many names are refused.
    async fn a_missing_vault_is_a_reason(database: TestDatabase) {
        let suite = Suite::start(&database).await;
        let mut runtime = suite.client("runtime-sync");
        let connector = create(&mut suite.client("ada"), "a", http(vec![secret("X-One", "1")])).await;
        report(&mut runtime, "main", 0, vec![]).await.unwrap();
        suite.vault.set(Mode::Down);
        let outcomes = resolve(&mut runtime, 1, &[&connector.name]).await.unwrap();
        assert_eq!(unresolved(&outcomes[0]), "VAULT_UNAVAILABLE");
        assert_eq!(fields(resolve(&mut runtime, 1, &[connector.name.as_str(); 17]).await), ["names"]);
        assert_eq!(fields(resolve(&mut runtime, 1, &["x"]).await), ["names[0]"]);
        assert_eq!(fields(report(&mut runtime, "", -1, vec![]).await), ["instance.instance_name", "instance.lease_epoch"]);
    }

    /// Definitions are asked for, checked against their hash, and listed as received.
    async fn tools_are_listed_as_received(database: TestDatabase) {
        let suite = Suite::start(&database).await;
        let mut ada = suite.client("ada");
        let mut runtime = suite.client("runtime-sync");
        let connector = create(&mut ada, "a", http(vec![])).await;
        let read = r#"{ "name":"read/file", "title":"Read", "description":"Reads", "x":1.0 }"#;
        let write = r#"{"name":"write"}"#;
        let tools = vec![tool(write, "write"), tool(read, "read/file")];
        let ready = observed(&connector, pb::ConnectorState::Ready, Some(tools.clone()));
        let answer = report(&mut runtime, "main", 0, vec![ready.clone()]).await.unwrap();
        let mut missing = vec![hash(read), hash(write)];
        missing.sort();
        assert_eq!(answer.missing_hashes, missing);
        let wrong = pb::UploadDefinitionsRequest { definition_json: "{}".into(), ..upload(read) };
        assert_eq!(fields(runtime.upload_definitions(tokio_stream::iter([wrong])).await), ["definition_hash"]);
        let large = upload(&format!(r#"{{"x":"{}"}}"#, "x".repeat(256 * 1024)));
        assert_eq!(fields(runtime.upload_definitions(tokio_stream::iter([large])).await), ["definition_json"]);
        let uploads = [upload(read), upload(write), upload(r#"{"name":"unused"}"#)];
        let stored = runtime.upload_definitions(tokio_stream::iter(uploads)).await.unwrap().into_inner();
        assert_eq!(stored.stored_count, 2);
        assert!(report(&mut runtime, "main", 1, vec![ready]).await.unwrap().missing_hashes.is_empty());
        let list = |parent: &str, view: pb::ToolView, page_token: &str| pb::ListToolsRequest {
            parent: parent.into(),
            page_size: 1,
            page_token: page_token.into(),
            view: view.into(),
        };
        let full = ada.list_tools(list(&connector.name, pb::ToolView::Full, "")).await.unwrap().into_inner();
        assert_eq!(full.tools[0].definition_json, write);
        let rest = list(&connector.name, pb::ToolView::Full, &full.next_page_token);
        let rest = ada.list_tools(rest).await.unwrap().into_inner();
        assert_eq!(rest.tools[0].name, "users/ada/connectors/a/tools/read%2Ffile");
        assert_eq!((rest.tools[0].definition_json.as_str(), rest.tools[0].tool_name.as_str()), (read, "read/file"));
        assert!(rest.next_page_token.is_empty());
        let all = ada.list_tools(list("users/ada/connectors/-", pb::ToolView::Basic, "")).await.unwrap().into_inner();
        assert_eq!((all.tools.len(), all.tools[0].definition_json.as_str()), (1, ""));
        let basic = pb::ListToolsRequest { page_size: 0, ..list(&connector.name, pb::ToolView::Basic, "") };
        let basic = ada.list_tools(basic).await.unwrap().into_inner().tools;
        assert_eq!((basic[1].title.as_str(), basic[1].description.as_str()), ("Read", "Reads"));
        assert!(basic.iter().all(|one| one.definition_json.is_empty()));
        let other_view = list("users/ada/connectors/-", pb::ToolView::Full, &all.next_page_token);
        assert_eq!(reason(ada.list_tools(other_view).await), "PAGE_TOKEN_INVALID");
        let missing = list("users/ada/connectors/no", pb::ToolView::Basic, "");
        assert_eq!(reason(ada.list_tools(missing).await), "CONNECTOR_NOT_FOUND");
        assert_eq!(get(&mut ada, &connector.name).await.unwrap().status.unwrap().tool_count, 2);
    }

    /// A grant that was made while its connector was switched off is not handed out.
    async fn a_grant_that_came_too_late_is_not_handed_out(database: TestDatabase) {
        let suite = Suite::start(&database).await;
        let mut ada = suite.client("ada");
        let mut runtime = suite.client("runtime-sync");
        let connector = create(&mut ada, "a", http(vec![secret("X-One", "1")])).await;
        report(&mut runtime, "main", 0, vec![]).await.unwrap();
        suite.vault.set(Mode::HoldGrants);
        let names = [connector.name.as_str()];
        let resolving = resolve(&mut runtime, 1, &names);
        let switching = async {
            suite.vault.until("a grant", |state| state.grants.len() == 1).await;
            let request = pb::DisableConnectorRequest { name: connector.name.clone(), ..Default::default() };
            ada.disable_connector(request).await.unwrap();
            suite.vault.set(Mode::Working);
        };
        let (outcomes, ()) = tokio::join!(resolving, switching);
        assert_eq!(unresolved(&outcomes.unwrap()[0]), "CONNECTOR_DISABLED");
    }

    /// Nor is one that was made while another runtime took the sessions over.
    async fn a_grant_for_a_former_holder_is_not_handed_out(database: TestDatabase) {
        let suite = Suite::start(&database).await;
        let mut runtime = suite.client("runtime-sync");
        let connector = create(&mut suite.client("ada"), "a", http(vec![secret("X-One", "1")])).await;
        report(&mut runtime, "main", 0, vec![]).await.unwrap();
        suite.vault.set(Mode::HoldGrants);
        let mut other = suite.client("runtime-sync");
        let names = [connector.name.as_str()];
        let resolving = resolve(&mut runtime, 1, &names);
        let taking_over = async {
            suite.vault.until("a grant", |state| state.grants.len() == 1).await;
            assert_eq!(report(&mut other, "main", 0, vec![]).await.unwrap().lease_epoch, 2);
            suite.vault.set(Mode::Working);
        };
        let (outcomes, ()) = tokio::join!(resolving, taking_over);
        assert_eq!(reason(outcomes), "LEASE_LOST");
    }

    /// Waiting callers leave room for others, and are told when the service stops.
    async fn waits_are_bounded_and_end_with_the_service(database: TestDatabase) {
        let suite = Suite::start(&database).await;
        let connector = create(&mut suite.client("ada"), "a", http(vec![])).await;
        let clients: Vec<Client> = (0..129).map(|_| suite.client("ada")).collect();
        let mut waits: FuturesUnordered<_> = clients
            .into_iter()
            .map(|mut client| {
                let request = wait(&connector.name, 0, 60_000);
                async move { client.wait_connector(request).await }
            })
            .collect();
        let (code, view) = refusal(waits.next().await.unwrap());
        assert_eq!((code, view.reason.as_str()), (Code::ResourceExhausted, "OVERLOADED"));
        let (ended, ()) = tokio::join!(waits.next(), suite.stop());
        assert_eq!(reason(ended.unwrap()), "SHUTTING_DOWN");
    }
}
