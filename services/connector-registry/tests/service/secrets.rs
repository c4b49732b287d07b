//! Setting and removing the values of secrets.

use std::time::Duration;

use contracts::registry::v1 as pb;
use database::testing::TestDatabase;
use tonic::Code;

use crate::{harness::*, vault::Mode};

const ID: &str = "01932d3c-7a00-4000-8000-000000000001";

fn value(place: pb::SecretPlace, name: &str, value: &str) -> pb::SecretValue {
    pb::SecretValue {
        place: place.into(),
        name: name.into(),
        value: value.into(),
    }
}

fn header(name: &str, text: &str) -> pb::SecretValue {
    value(pb::SecretPlace::Header, name, text)
}

fn variable(name: &str, text: &str) -> pb::SecretValue {
    value(pb::SecretPlace::Environment, name, text)
}

fn unset(place: pb::SecretPlace, name: &str) -> pb::SecretReference {
    pb::SecretReference {
        place: place.into(),
        name: name.into(),
    }
}

fn change(
    of: &pb::Connector,
    values: Vec<pb::SecretValue>,
    unset: Vec<pb::SecretReference>,
) -> pb::SetConnectorSecretsRequest {
    pb::SetConnectorSecretsRequest {
        name: of.name.clone(),
        values,
        unset,
        ..Default::default()
    }
}

async fn set(client: &mut Client, request: pb::SetConnectorSecretsRequest) -> pb::Connector {
    client
        .set_connector_secrets(request)
        .await
        .unwrap()
        .into_inner()
        .connector
        .unwrap()
}

fn transport(connector: &mut pb::Connector) -> &mut pb::StdioTransport {
    match &mut connector.transport {
        Some(pb::connector::Transport::Stdio(transport)) => transport,
        other => panic!("{other:?}"),
    }
}

async fn update(client: &mut Client, connector: pb::Connector) -> pb::Connector {
    let connector = pb::Connector {
        etag: String::new(),
        ..connector
    };
    let request = pb::UpdateConnectorRequest {
        connector: Some(connector),
        update_mask: None,
    };
    let updated = client.update_connector(request).await;
    updated.unwrap().into_inner().connector.unwrap()
}

fn states(connector: &pb::Connector) -> Vec<(&str, bool)> {
    connector
        .secrets
        .iter()
        .map(|one| (one.name.as_str(), one.set))
        .collect()
}

database::test_on_both! {
    /// A value that was missing is set; the generation grows, and the verdict of the registry ends.
    async fn a_missing_value_is_set(database: TestDatabase) {
        let suite = Suite::start(&database).await;
        let mut ada = suite.client("ada");
        let before = create(&mut ada, "x", http(vec![declared("X-Key")])).await;
        assert_eq!(before.status.clone().unwrap().state(), pb::ConnectorState::Misconfigured);
        let after = set(&mut ada, change(&before, vec![header("X-KEY", "hunter2")], vec![])).await;
        assert_eq!(states(&after), [("x-key", true)]);
        assert_eq!((after.generation, after.status.unwrap().state()), (2, pb::ConnectorState::Pending));
        assert_ne!(after.etag, before.etag);
        assert!(after.revision > before.revision);
        assert!(after.secrets[0].update_time.is_some() && !after.secrets[0].fingerprint.is_empty());
        let again = set(&mut ada, change(&before, vec![header("x-key", "other")], vec![])).await;
        assert_eq!(again.generation, 3);
        assert_eq!(suite.vault.state().of(&before.uid), [("x-key".to_owned(), 2)]);
    }

    /// Only what the specification names can be set, and everything wrong is told at once.
    async fn only_named_secrets_are_set(database: TestDatabase) {
        let suite = Suite::start(&database).await;
        let mut ada = suite.client("ada");
        let connector = create(&mut ada, "x", http(vec![declared("X-Key"), plain("X-Plain", "p")])).await;
        let values = vec![
            header("X-Other", "v"),
            header("X-Plain", "v"),
            variable("X-Key", "v"),
            header("X-Key", "a\r\nb"),
            header("x-key", "v"),
        ];
        let refused = ada.set_connector_secrets(change(&connector, values, vec![unset(pb::SecretPlace::Header, "X-No")])).await;
        assert_eq!(
            fields(refused),
            ["values[0].name", "values[1].name", "values[2].name", "values[3].value", "values[4].name", "unset[0].name"]
        );
        assert_eq!(fields(ada.set_connector_secrets(change(&connector, vec![], vec![])).await), ["values"]);
        let nowhere = value(pb::SecretPlace::Unspecified, "X-Key", "v");
        assert_eq!(fields(ada.set_connector_secrets(change(&connector, vec![nowhere], vec![])).await), ["values[0].place"]);
        assert!(suite.vault.state().secrets.is_empty());
    }

    /// Variables are sealed together: one is set and another removed without touching the third.
    async fn variables_are_patched(database: TestDatabase) {
        let suite = Suite::start(&database).await;
        let mut ada = suite.client("ada");
        let environment = vec![secret("A", "1"), secret("B", "2"), declared("C")];
        let before = create(&mut ada, "x", stdio(environment)).await;
        let request = change(&before, vec![variable("C", "3")], vec![unset(pb::SecretPlace::Environment, "A")]);
        let after = set(&mut ada, request).await;
        assert_eq!(states(&after), [("A", false), ("B", true), ("C", true)]);
        assert_eq!(suite.vault.state().variables(&before.uid).into_iter().collect::<Vec<_>>(), ["B", "C"]);
        assert_eq!(suite.vault.state().of(&before.uid), [(String::new(), 2)]);
        let both = vec![unset(pb::SecretPlace::Environment, "B"), unset(pb::SecretPlace::Environment, "C")];
        let empty = set(&mut ada, change(&before, vec![], both)).await;
        assert_eq!(states(&empty), [("A", false), ("B", false), ("C", false)]);
        suite.vault.until("no secret", |state| state.secrets.is_empty()).await;
    }

    /// A header that is unset is destroyed.
    async fn an_unset_header_is_destroyed(database: TestDatabase) {
        let suite = Suite::start(&database).await;
        let mut ada = suite.client("ada");
        let before = create(&mut ada, "x", http(vec![secret("X-One", "1"), secret("X-Two", "2")])).await;
        let after = set(&mut ada, change(&before, vec![], vec![unset(pb::SecretPlace::Header, "X-One")])).await;
        assert_eq!(states(&after), [("x-one", false), ("x-two", true)]);
        suite.vault.until("one secret", |state| state.of(&before.uid) == [("x-two".to_owned(), 1)]).await;
    }

    /// After a change of destination all values have to be entered again, and then they are bound to the new one.
    async fn a_new_destination_needs_all_values_again(database: TestDatabase) {
        let suite = Suite::start(&database).await;
        let mut ada = suite.client("ada");
        let before = create(&mut ada, "x", stdio(vec![secret("A", "1"), secret("B", "2")])).await;
        let mut moved = before.clone();
        transport(&mut moved).arguments = vec!["--other".into()];
        let moved = update(&mut ada, moved).await;
        assert!(moved.secrets.iter().all(|one| one.set && one.needs_rebind));
        assert_eq!(moved.status.unwrap().state(), pb::ConnectorState::Misconfigured);
        suite.vault.until("leases revoked", |state| state.revoked.contains(&before.uid)).await;
        let (code, view) = refusal(ada.set_connector_secrets(change(&before, vec![variable("A", "9")], vec![])).await);
        assert_eq!((code, view.reason.as_str()), (Code::FailedPrecondition, "SECRET_NEEDS_REBIND"));
        assert_eq!(view.preconditions.len(), 2);
        // Removing alone is always possible.
        let removed = set(&mut ada, change(&before, vec![], vec![unset(pb::SecretPlace::Environment, "B")])).await;
        assert_eq!(states(&removed), [("A", true), ("B", false)]);
        let values = vec![variable("A", "9"), variable("B", "8")];
        let bound = set(&mut ada, change(&before, values, vec![])).await;
        assert!(bound.secrets.iter().all(|one| one.set && !one.needs_rebind));
        assert_eq!(bound.status.unwrap().state(), pb::ConnectorState::Pending);
    }

    /// A repeated request writes nothing more; its id cannot be used for anything else.
    async fn a_repeated_request_writes_nothing_more(database: TestDatabase) {
        let suite = Suite::start(&database).await;
        let mut ada = suite.client("ada");
        let connector = create(&mut ada, "x", http(vec![declared("X-One"), declared("X-Two")])).await;
        let request = |name| pb::SetConnectorSecretsRequest {
            request_id: ID.into(),
            ..change(&connector, vec![header(name, "1")], vec![])
        };
        let first = set(&mut ada, request("X-One")).await;
        assert_eq!(set(&mut ada, request("X-One")).await, first);
        assert_eq!(suite.vault.state().of(&connector.uid), [("x-one".to_owned(), 1)]);
        assert_eq!(reason(ada.set_connector_secrets(request("X-Two")).await), "REQUEST_ID_REUSED");
    }

    /// A stale etag, a missing connector and a missing vault change nothing.
    async fn a_refused_change_changes_nothing(database: TestDatabase) {
        let suite = Suite::start(&database).await;
        let mut ada = suite.client("ada");
        let connector = create(&mut ada, "x", http(vec![declared("X-Key")])).await;
        let with = |etag: &str| pb::SetConnectorSecretsRequest {
            etag: etag.into(),
            ..change(&connector, vec![header("X-Key", "1")], vec![])
        };
        let (code, view) = refusal(ada.set_connector_secrets(with("\"old\"")).await);
        assert_eq!((code, view.reason.as_str()), (Code::Aborted, "ETAG_MISMATCH"));
        suite.vault.set(Mode::Down);
        assert_eq!(reason(ada.set_connector_secrets(with(&connector.etag)).await), "VAULT_UNAVAILABLE");
        suite.vault.set(Mode::Working);
        assert_eq!(get(&mut ada, &connector.name).await.unwrap(), connector);
        set(&mut ada, with(&connector.etag)).await;
        delete(&mut ada, &connector.name).await.unwrap();
        assert_eq!(reason(ada.set_connector_secrets(with("")).await), "CONNECTOR_NOT_FOUND");
    }

    /// Whatever decides where a variable goes is part of the destination: readable variables, the names of secret ones,
    /// prefixes and the folder. A change of any of them asks for the secrets again and ends the leases.
    async fn what_surrounds_a_program_is_part_of_its_destination(database: TestDatabase) {
        let suite = Suite::start(&database).await;
        let mut ada = suite.client("ada");
        type Change = fn(&mut pb::StdioTransport);
        let changes: [Change; 5] = [
            |stdio| stdio.environment.push(plain("NODE_OPTIONS", "--require /tmp/x.js")),
            |stdio| stdio.environment[1] = plain("HTTPS_PROXY", "http://elsewhere"),
            |stdio| stdio.environment.push(declared("OTHER")),
            |stdio| stdio.environment[0].prefix = "Bearer ".into(),
            |stdio| stdio.working_directory = "/tmp".into(),
        ];
        for (number, elsewhere) in changes.into_iter().enumerate() {
            let environment = vec![secret("TOKEN", "hunter2"), plain("HTTPS_PROXY", "http://here")];
            let before = create(&mut ada, &format!("c{number}"), stdio(environment)).await;
            assert!(!before.secrets[0].needs_rebind);
            let mut moved = before.clone();
            transport(&mut moved).environment[0] = declared("TOKEN");
            elsewhere(transport(&mut moved));
            let moved = update(&mut ada, moved).await;
            assert!(moved.secrets[0].set && moved.secrets[0].needs_rebind, "{number}: {moved:?}");
            suite.vault.until("leases revoked", |state| state.revoked.contains(&before.uid)).await;
        }
    }

    /// A value that was sealed but never referred to leaves the one in use alone; what was replaced is destroyed when
    /// no grant can name it any more.
    async fn what_is_in_use_outlives_failed_changes(database: TestDatabase) {
        let suite = Suite::start(&database).await;
        let mut ada = suite.client("ada");
        let headers = vec![secret("X-One", "1"), secret("X-Two", "2")];
        let before = create(&mut ada, "x", http(headers)).await;
        let both = |one: &str| change(&before, vec![header("X-One", one), header("X-Two", one)], vec![]);
        for attempt in ["3", "4"] {
            suite.vault.set(Mode::DownAfter(1));
            assert_eq!(reason(ada.set_connector_secrets(both(attempt)).await), "VAULT_UNAVAILABLE");
        }
        suite.vault.set(Mode::Working);
        assert_eq!(get(&mut ada, &before.name).await.unwrap(), before);
        crate::runtime::grant(&suite, &before).await;
        set(&mut ada, both("5")).await;
        crate::runtime::grant(&suite, &before).await;
        let destroyed = suite.vault.until("the old ones destroyed", |state| {
            let kept = state.kept(&before.uid);
            kept["x-one"] == [4] && kept["x-two"] == [2]
        });
        advance_until(&suite.clock, Duration::from_secs(10), "the destruction", destroyed).await;
        crate::runtime::grant(&suite, &before).await;
    }

    /// A repeated request whose value was replaced meanwhile does not come back.
    async fn an_older_answer_replaces_nothing_newer(database: TestDatabase) {
        let suite = Suite::start(&database).await;
        let mut ada = suite.client("ada");
        let before = create(&mut ada, "x", http(vec![secret("X-One", "1"), secret("X-Two", "2")])).await;
        let first = pb::SetConnectorSecretsRequest {
            request_id: ID.into(),
            ..change(&before, vec![header("X-One", "3"), header("X-Two", "3")], vec![])
        };
        suite.vault.set(Mode::DownAfter(1));
        assert_eq!(reason(ada.set_connector_secrets(first.clone()).await), "VAULT_UNAVAILABLE");
        suite.vault.set(Mode::Working);
        set(&mut ada, change(&before, vec![header("X-One", "4")], vec![])).await;
        assert_eq!(reason(ada.set_connector_secrets(first).await), "ETAG_MISMATCH");
        crate::runtime::grant(&suite, &before).await;
    }

    /// A caller that goes away leaves a change whole.
    async fn a_change_is_ended_without_its_caller(database: TestDatabase) {
        let suite = Suite::start(&database).await;
        let mut ada = suite.client("ada");
        let before = create(&mut ada, "x", http(vec![declared("X-Key")])).await;
        suite.vault.set(Mode::HoldWrites);
        let mut other = suite.client("ada");
        tokio::select! {
            answer = other.set_connector_secrets(change(&before, vec![header("X-Key", "1")], vec![])) => panic!("{answer:?}"),
            () = suite.vault.until("a sealed value", |state| !state.of(&before.uid).is_empty()) => {}
        }
        drop(other);
        suite.vault.set(Mode::Working);
        until(&mut ada, &before.name, |connector| connector.is_ok_and(|it| it.secrets[0].set)).await;
    }

    /// A removal that the vault refuses for good does not keep values from being set.
    async fn a_hopeless_debt_blocks_nothing(database: TestDatabase) {
        let suite = Suite::start(&database).await;
        let mut ada = suite.client("ada");
        let before = create(&mut ada, "x", stdio(vec![secret("A", "1"), secret("B", "2")])).await;
        suite.vault.set(Mode::RefuseRemovals);
        set(&mut ada, change(&before, vec![], vec![unset(pb::SecretPlace::Environment, "B")])).await;
        let after = set(&mut ada, change(&before, vec![variable("A", "9")], vec![])).await;
        assert_eq!(states(&after), [("A", true), ("B", false)]);
        suite.vault.set(Mode::Working);
        let gone = suite.vault.until("B gone", |state| state.variables(&before.uid).into_iter().eq(["A"]));
        advance_until(&suite.clock, Duration::from_secs(61), "the removal", gone).await;
    }

    /// Variables leave the blob also when the connector leads elsewhere by now.
    async fn removals_need_no_destination(database: TestDatabase) {
        let suite = Suite::start(&database).await;
        let mut ada = suite.client("ada");
        let before = create(&mut ada, "x", stdio(vec![secret("A", "1"), secret("B", "2")])).await;
        let mut moved = before.clone();
        transport(&mut moved).environment = vec![declared("A")];
        transport(&mut moved).arguments = vec!["--other".into()];
        update(&mut ada, moved).await;
        suite.vault.until("A alone", |state| state.variables(&before.uid).into_iter().eq(["A"])).await;
        let bound = set(&mut ada, change(&before, vec![variable("A", "3")], vec![])).await;
        assert!(bound.secrets[0].set && !bound.secrets[0].needs_rebind);
    }

    /// A request id means the connector that it was used for, not another one of the same name.
    async fn a_request_id_means_one_connector(database: TestDatabase) {
        let suite = Suite::start(&database).await;
        let mut ada = suite.client("ada");
        let request = |of: &pb::Connector| pb::SetConnectorSecretsRequest {
            request_id: ID.into(),
            ..change(of, vec![header("X-Key", "1")], vec![])
        };
        for _ in 0..2 {
            let connector = create(&mut ada, "x", http(vec![declared("X-Key")])).await;
            assert_eq!(states(&set(&mut ada, request(&connector)).await), [("x-key", true)]);
            assert_eq!(suite.vault.state().of(&connector.uid).len(), 1);
            delete(&mut ada, &connector.name).await.unwrap();
        }
        // Nor what somebody else asked for under the same id.
        let connector = create(&mut ada, "x", http(vec![declared("X-Key")])).await;
        set(&mut ada, request(&connector)).await;
        let mut operator = suite.client("operator");
        let other = pb::SetConnectorSecretsRequest {
            request_id: ID.into(),
            ..change(&connector, vec![header("X-Key", "2")], vec![])
        };
        set(&mut operator, other).await;
        assert_eq!(suite.vault.state().of(&connector.uid), [("x-key".to_owned(), 2)]);
    }
}
