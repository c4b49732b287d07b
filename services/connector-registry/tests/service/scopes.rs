//! Other people's scopes: what a caller learns of them, which is nothing.

use contracts::registry::v1 as pb;
use database::testing::TestDatabase;
use tonic::{Code, Status};

use crate::harness::*;

const NAME: &str = "users/ada/connectors/x";

/// Every method that names a connector, called with `name`.
async fn by_name(client: &mut Client, name: &str) -> Vec<(&'static str, Status)> {
    let connector = pb::Connector {
        name: name.into(),
        display_name: "New".into(),
        ..Default::default()
    };
    let value = pb::SecretValue {
        place: pb::SecretPlace::Header.into(),
        name: "X-Key".into(),
        value: "v".into(),
    };
    let update = pb::UpdateConnectorRequest {
        connector: Some(connector),
        update_mask: None,
    };
    let secrets = pb::SetConnectorSecretsRequest {
        name: name.into(),
        values: vec![value],
        ..Default::default()
    };
    let get = pb::GetConnectorRequest { name: name.into() };
    let delete = pb::DeleteConnectorRequest {
        name: name.into(),
        ..Default::default()
    };
    let (name, etag) = (name.to_owned(), String::new());
    let enable = pb::EnableConnectorRequest {
        name: name.clone(),
        etag: etag.clone(),
    };
    let disable = pb::DisableConnectorRequest {
        name: name.clone(),
        etag,
    };
    let wait = pb::WaitConnectorRequest {
        name,
        ..Default::default()
    };
    vec![
        ("get", client.get_connector(get).await.unwrap_err()),
        ("update", client.update_connector(update).await.unwrap_err()),
        ("delete", client.delete_connector(delete).await.unwrap_err()),
        (
            "secrets",
            client.set_connector_secrets(secrets).await.unwrap_err(),
        ),
        ("enable", client.enable_connector(enable).await.unwrap_err()),
        (
            "disable",
            client.disable_connector(disable).await.unwrap_err(),
        ),
        ("wait", client.wait_connector(wait).await.unwrap_err()),
    ]
}

/// Everything a caller can see of a refusal.
fn visible(status: &Status) -> (Code, String, Vec<u8>) {
    (
        status.code(),
        status.message().to_owned(),
        status.details().to_vec(),
    )
}

database::test_on_both! {
    /// A connector of another scope looks exactly like a missing one: code, text, and every detail.
    async fn a_foreign_connector_looks_exactly_like_a_missing_one(database: TestDatabase) {
        let suite = Suite::start(&database).await;
        let mut bob = suite.client("bob");
        let missing = by_name(&mut bob, NAME).await;
        let mut ada = suite.client("ada");
        let owners_missing = by_name(&mut ada, NAME).await;
        let created = create(&mut ada, "x", http(vec![secret("X-Key", "hunter2")])).await;
        let foreign = by_name(&mut bob, NAME).await;
        for (((method, missing), (_, owners)), (_, foreign)) in missing.iter().zip(&owners_missing).zip(&foreign) {
            assert_eq!(foreign.code(), Code::NotFound, "{method}: {foreign:?}");
            assert_eq!(visible(foreign), visible(missing), "{method}");
            // The details come in a map, whose order is not ours; so they are compared as read.
            let read = |status: &Status| (status.message().to_owned(), refusal::<()>(Err(status.clone())));
            assert_eq!(read(foreign), read(owners), "{method}: as the owner sees a missing one");
        }
        assert_eq!(get(&mut ada, NAME).await.unwrap(), created);
    }

    /// A foreign parent is refused before anything is looked up, whether it has connectors or not.
    async fn a_foreign_parent_is_refused(database: TestDatabase) {
        let suite = Suite::start(&database).await;
        let mut bob = suite.client("bob");
        for parent in ["users/ada", "users/nobody", "users/-", "projects/-", "system"] {
            let list = pb::ListConnectorsRequest { parent: parent.into(), ..Default::default() };
            let watch = pb::WatchConnectorsRequest { parents: vec![parent.into()], ..Default::default() };
            let tools = pb::ListToolsRequest { parent: format!("{parent}/connectors/-"), ..Default::default() };
            let outcomes = [
                bob.create_connector(creation(parent, "x", http(vec![]))).await.err(),
                bob.list_connectors(list).await.err(),
                bob.watch_connectors(watch).await.err(),
                bob.list_tools(tools).await.err(),
                bob.get_scope(pb::GetScopeRequest { name: parent.into() }).await.err(),
            ];
            for status in outcomes {
                let (code, view) = refusal::<()>(Err(status.unwrap()));
                assert_eq!((code, view.reason.as_str()), (Code::PermissionDenied, "SCOPE_NOT_ALLOWED"), "{parent}");
            }
        }
        // Asking for everything needs a role that may.
        let refused = bob.watch_connectors(pb::WatchConnectorsRequest::default()).await;
        assert_eq!(refused.err().unwrap().code(), Code::PermissionDenied);
    }

    /// Who may only read cannot write, and learns why.
    async fn reading_does_not_allow_writing(database: TestDatabase) {
        let suite = Suite::start(&database).await;
        create(&mut suite.client("ada"), "x", http(vec![])).await;
        let mut reader = suite.client("reader");
        get(&mut reader, NAME).await.unwrap();
        let refused = reader.create_connector(creation("users/ada", "y", http(vec![]))).await;
        let (code, view) = refusal(refused);
        assert_eq!((code, view.reason.as_str()), (Code::PermissionDenied, "VERB_NOT_ALLOWED"));
        let (code, _) = refusal(delete(&mut reader, NAME).await);
        assert_eq!(code, Code::PermissionDenied);
    }

    /// The runtime's methods are the runtime's, and it has no others.
    async fn roles_are_apart(database: TestDatabase) {
        let suite = Suite::start(&database).await;
        let mut ada = suite.client("ada");
        let report = pb::ReportStatusRequest::default();
        assert_eq!(reason(ada.report_status(report).await), "ROLE_NOT_ALLOWED");
        assert_eq!(reason(ada.resolve_connectors(pb::ResolveConnectorsRequest::default()).await), "ROLE_NOT_ALLOWED");
        let mut runtime = suite.client("runtime-sync");
        assert_eq!(reason(get(&mut runtime, NAME).await), "ROLE_NOT_ALLOWED");
        let mut vault = suite.client("secret-vault");
        assert_eq!(reason(get(&mut vault, NAME).await), "ROLE_NOT_ALLOWED");
    }
}
