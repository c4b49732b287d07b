//! Changing connectors, and switching them on and off.

use contracts::registry::v1 as pb;
use database::testing::TestDatabase;
use prost_types::FieldMask;
use tonic::Code;

use crate::harness::*;

fn update(connector: pb::Connector, paths: &[&str]) -> pb::UpdateConnectorRequest {
    let paths = paths.iter().map(|path| (*path).to_owned()).collect();
    pb::UpdateConnectorRequest {
        connector: Some(connector),
        update_mask: Some(FieldMask { paths }),
    }
}

async fn updated(client: &mut Client, connector: pb::Connector, paths: &[&str]) -> pb::Connector {
    client
        .update_connector(update(connector, paths))
        .await
        .unwrap()
        .into_inner()
        .connector
        .unwrap()
}

async fn enable(client: &mut Client, name: &str) -> pb::Connector {
    let request = pb::EnableConnectorRequest {
        name: name.into(),
        ..Default::default()
    };
    client
        .enable_connector(request)
        .await
        .unwrap()
        .into_inner()
        .connector
        .unwrap()
}

async fn disable(client: &mut Client, name: &str) -> pb::Connector {
    let request = pb::DisableConnectorRequest {
        name: name.into(),
        ..Default::default()
    };
    client
        .disable_connector(request)
        .await
        .unwrap()
        .into_inner()
        .connector
        .unwrap()
}

database::test_on_both! {
    /// A mask changes what it names and nothing else; what no session depends on makes no new generation.
    async fn a_mask_names_what_changes(database: TestDatabase) {
        let suite = Suite::start(&database).await;
        let mut ada = suite.client("ada");
        let before = create(&mut ada, "x", http(vec![plain("X-Key", "v")])).await;
        let wanted = pb::Connector {
            name: before.name.clone(),
            display_name: "New".into(),
            description: "ignored".into(),
            ..Default::default()
        };
        let after = updated(&mut ada, wanted.clone(), &["display_name"]).await;
        let expected = pb::Connector {
            display_name: "New".into(),
            etag: after.etag.clone(),
            revision: before.revision + 1,
            ..before.clone()
        };
        assert_eq!(after, expected);
        assert_ne!(after.etag, before.etag);
        // Without a mask, what is populated changes; the same again changes nothing.
        let request = pb::UpdateConnectorRequest { connector: Some(wanted), update_mask: None };
        let populated = ada.update_connector(request.clone()).await.unwrap().into_inner().connector.unwrap();
        assert_eq!(populated.description, "ignored");
        assert_eq!(ada.update_connector(request).await.unwrap().into_inner().connector.unwrap(), populated);
        // A star replaces everything.
        let star = pb::Connector { name: before.name.clone(), ..http(vec![]) };
        let replaced = updated(&mut ada, star, &["*"]).await;
        assert_eq!((replaced.description.as_str(), replaced.generation), ("", 2));
    }

    /// Of two writers that read the same, the second is told.
    async fn a_stale_etag_is_refused(database: TestDatabase) {
        let suite = Suite::start(&database).await;
        let mut ada = suite.client("ada");
        let read = create(&mut ada, "x", http(vec![])).await;
        let write = |name: &str| pb::Connector { display_name: name.into(), ..read.clone() };
        let first = updated(&mut ada, write("First"), &["display_name"]).await;
        let (code, view) = refusal(ada.update_connector(update(write("Second"), &["display_name"])).await);
        assert_eq!((code, view.reason.as_str()), (Code::Aborted, "ETAG_MISMATCH"));
        assert_eq!(get(&mut ada, &read.name).await.unwrap(), first);
        for etag in ["\"old\"", &read.etag] {
            let request = pb::DeleteConnectorRequest { name: read.name.clone(), etag: etag.into(), ..Default::default() };
            assert_eq!(reason(ada.delete_connector(request).await), "ETAG_MISMATCH");
            let request = pb::DisableConnectorRequest { name: read.name.clone(), etag: etag.into() };
            assert_eq!(reason(ada.disable_connector(request).await), "ETAG_MISMATCH");
        }
    }

    /// Secret values, unknown paths and `enabled` are refused here.
    async fn what_an_update_cannot_do(database: TestDatabase) {
        let suite = Suite::start(&database).await;
        let mut ada = suite.client("ada");
        let before = create(&mut ada, "x", http(vec![declared("X-Key")])).await;
        let named = |connector: pb::Connector| pb::Connector { name: before.name.clone(), ..connector };
        let with_secret = named(http(vec![secret("X-Key", "hunter2")]));
        let refused = ada.update_connector(update(with_secret, &["streamable_http"])).await;
        assert!(!format!("{refused:?}").contains("hunter2"));
        assert_eq!(fields(refused), ["connector.streamable_http.headers[0].secret"]);
        for path in ["enabled", "uid", "status.state", "streamable_http.url"] {
            let refused = ada.update_connector(update(named(http(vec![])), &[path])).await;
            assert_eq!(fields(refused), ["update_mask"], "{path}");
        }
        let refused = ada.update_connector(update(named(http(vec![])), &["stdio"])).await;
        assert_eq!(fields(refused), ["connector.stdio"]);
        assert_eq!(fields(ada.update_connector(update(http(vec![]), &[])).await), ["connector.name"]);
        assert_eq!(get(&mut ada, &before.name).await.unwrap(), before);
    }

    /// Secrets that a new specification still names stay; those it drops are destroyed in the vault.
    async fn dropped_secrets_are_destroyed(database: TestDatabase) {
        let suite = Suite::start(&database).await;
        let mut ada = suite.client("ada");
        let before = create(&mut ada, "x", http(vec![secret("X-Stays", "1"), secret("X-Goes", "2")])).await;
        let wanted = pb::Connector { name: before.name.clone(), ..http(vec![declared("X-Stays"), declared("X-New")]) };
        let after = updated(&mut ada, wanted, &["streamable_http"]).await;
        let states: Vec<_> = after.secrets.iter().map(|one| (one.name.as_str(), one.set)).collect();
        assert_eq!(states, [("x-stays", true), ("x-new", false)]);
        suite.vault.until("one secret", |state| state.of(&before.uid) == [("x-stays".to_owned(), 1)]).await;

        let before = create(&mut ada, "y", stdio(vec![secret("STAYS", "1"), secret("GOES", "2")])).await;
        let wanted = pb::Connector { name: before.name.clone(), ..stdio(vec![declared("STAYS")]) };
        updated(&mut ada, wanted, &["stdio"]).await;
        suite.vault.until("one variable", |state| state.variables(&before.uid).into_iter().eq(["STAYS"])).await;
        // Another transport needs none of them.
        let wanted = pb::Connector { name: before.name.clone(), ..http(vec![]) };
        updated(&mut ada, wanted, &["streamable_http"]).await;
        suite.vault.until("no secret", |state| state.of(&before.uid).is_empty()).await;
    }

    /// Switching is idempotent; switching off revokes the leases and settles at once.
    async fn switching_is_idempotent(database: TestDatabase) {
        let suite = Suite::start(&database).await;
        let mut ada = suite.client("ada");
        let created = create(&mut ada, "x", http(vec![])).await;
        assert_eq!(enable(&mut ada, &created.name).await, created);
        let off = disable(&mut ada, &created.name).await;
        let status = off.status.clone().unwrap();
        assert_eq!((off.enabled, off.generation), (Some(false), 2));
        assert_eq!((status.state(), status.observed_generation), (pb::ConnectorState::Disabled, 2));
        assert!(status.stale_since.is_none());
        suite.vault.until("leases revoked", |state| state.revoked.contains(&created.uid)).await;
        assert_eq!(disable(&mut ada, &created.name).await, off);
        // Whoever asks again after a lost answer has the etag of before.
        let again = pb::DisableConnectorRequest { name: created.name.clone(), etag: created.etag.clone() };
        assert_eq!(ada.disable_connector(again).await.unwrap().into_inner().connector.unwrap(), off);
        let on = enable(&mut ada, &created.name).await;
        assert_eq!((on.generation, on.status.unwrap().state()), (3, pb::ConnectorState::Pending));
    }
}
