//! Creating connectors.

use std::time::Duration;

use contracts::registry::v1 as pb;
use database::testing::TestDatabase;
use futures_util::future::join_all;
use tonic::Code;

use crate::{harness::*, vault::Mode};

const ID: &str = "01932d3c-7a00-4000-8000-000000000001";

fn with_request(connector: pb::Connector, id: &str) -> pb::CreateConnectorRequest {
    pb::CreateConnectorRequest {
        request_id: id.into(),
        ..creation("users/ada", "", connector)
    }
}

database::test_on_both! {
    /// A connector appears with its secrets sealed for its destination, and shows none of their values.
    async fn secrets_are_sealed_and_never_shown(database: TestDatabase) {
        let suite = Suite::start(&database).await;
        let mut ada = suite.client("ada");
        let headers = vec![secret("X-Api-Key", "hunter2"), plain("X-Plain", "shown"), declared("X-Later")];
        let created = create(&mut ada, "", http(headers)).await;
        assert_eq!(created.name, "users/ada/connectors/my-server");
        assert!(!format!("{created:?}").contains("hunter2"));
        let states: Vec<_> = created.secrets.iter().map(|one| (one.name.as_str(), one.set, one.needs_rebind)).collect();
        assert_eq!(states, [("x-api-key", true, false), ("x-later", false, false)]);
        assert_eq!(get(&mut ada, &created.name).await.unwrap(), created);
        let vault = suite.vault.state();
        let [stored] = vault.secrets.values().collect::<Vec<_>>()[..] else { panic!("one secret: {vault:?}") };
        assert_eq!(stored.values["x-api-key"], b"hunter2");
        assert_eq!((stored.uid.as_str(), stored.destination.as_str()), (created.uid.as_str(), "https://mcp.example:443"));
        let status = created.status.unwrap();
        assert_eq!((status.state(), status.reason.as_str()), (pb::ConnectorState::Misconfigured, "SECRET_MISSING"));
    }

    /// Everything wrong is told at once; a secret among the arguments is refused with advice.
    async fn all_violations_are_told_together(database: TestDatabase) {
        let suite = Suite::start(&database).await;
        let mut ada = suite.client("ada");
        let transport = pb::StdioTransport {
            command: "./run".into(),
            arguments: vec!["--token".into(), "hunter2".into()],
            environment: vec![plain("1A", ""), secret("OK", "")],
            working_directory: "here".into(),
        };
        let connector = pb::Connector {
            icon_uri: "ftp://x".into(),
            transport: Some(pb::connector::Transport::Stdio(transport)),
            ..Default::default()
        };
        let refused = ada.create_connector(creation("users/ada", "x", connector)).await;
        let (code, view) = refusal(refused);
        assert_eq!((code, view.reason.as_str()), (Code::InvalidArgument, "FIELD_INVALID"));
        let found: Vec<_> = view.fields.iter().map(|(field, _)| field.strip_prefix("connector.").unwrap()).collect();
        assert_eq!(
            found,
            [
                "icon_uri",
                "stdio.command",
                "stdio.arguments[1]",
                "stdio.working_directory",
                "stdio.environment[0].name",
                "stdio.environment[1].secret",
            ]
        );
        assert!(view.fields[2].1.contains("put it into env"));
        for (parent, id) in [("users/-", "x"), ("nobody", "x"), ("users/ada", "Bad Id")] {
            let refused = ada.create_connector(creation(parent, id, http(vec![]))).await;
            assert!(matches!(refused.unwrap_err().code(), Code::InvalidArgument | Code::PermissionDenied), "{parent} {id}");
        }
        assert_eq!(fields(ada.create_connector(with_request(http(vec![]), "not-a-uuid")).await), ["request_id"]);
    }

    /// What the policy forbids is refused at save, for users and projects, and nothing is created.
    async fn the_policy_is_judged_at_save(database: TestDatabase) {
        let suite = Suite::start_with(&database, |_| {}).await;
        let mut operator = suite.client("operator");
        let plain_http = pb::Connector {
            transport: Some(pb::connector::Transport::StreamableHttp(pb::StreamableHttpTransport {
                url: "http://mcp.example/".into(),
                headers: vec![],
            })),
            ..http(vec![])
        };
        for (parent, connector) in [
            ("users/ada", stdio(vec![])),
            ("projects/x", stdio(vec![])),
            ("users/ada", plain_http.clone()),
            ("system", plain_http),
        ] {
            let (code, view) = refusal(operator.create_connector(creation(parent, "x", connector)).await);
            assert_eq!((code, view.reason.as_str()), (Code::FailedPrecondition, "POLICY_DENIED"), "{parent}");
            assert_eq!(view.metadata["fixable_by"], "OPERATOR");
        }
        operator.create_connector(creation("system", "x", stdio(vec![]))).await.unwrap();
        let scope = pb::GetScopeRequest { name: "users/ada".into() };
        let scope = operator.get_scope(scope).await.unwrap().into_inner().scope.unwrap();
        assert_eq!((scope.connector_count, scope.connector_quota, scope.stdio_allowed), (0, 10, false));
        assert_eq!(scope.url_schemes, ["https"]);
    }

    /// 64 creates at once never pass the quota, and the refusal says which.
    async fn concurrent_creates_never_pass_the_quota(database: TestDatabase) {
        let suite = Suite::start(&database).await;
        let client = suite.client("ada");
        let creates = (0..64).map(|number| {
            let mut client = client.clone();
            async move { client.create_connector(creation("users/ada", &format!("c{number}"), http(vec![]))).await }
        });
        let (created, refused): (Vec<_>, Vec<_>) = join_all(creates).await.into_iter().partition(Result::is_ok);
        assert_eq!((created.len(), refused.len()), (10, 54));
        for outcome in refused {
            let (code, view) = refusal(outcome);
            assert_eq!((code, view.reason.as_str()), (Code::ResourceExhausted, "QUOTA_EXCEEDED"));
            assert_eq!(view.quotas, [("users/ada".to_owned(), "at most 10 connectors".to_owned())]);
        }
    }

    /// A request that is sent again answers as the first did; its id cannot be used for anything else.
    async fn a_repeated_request_creates_nothing_more(database: TestDatabase) {
        let suite = Suite::start(&database).await;
        let mut ada = suite.client("ada");
        let request = || with_request(http(vec![secret("X-Key", "hunter2")]), ID);
        let first = ada.create_connector(request()).await.unwrap().into_inner();
        let again = ada.create_connector(request()).await.unwrap().into_inner();
        assert_eq!(again, first);
        let uid = first.connector.unwrap().uid;
        assert_eq!(suite.vault.state().of(&uid), [("x-key".to_owned(), 1)]);
        let other = with_request(http(vec![secret("X-Other", "hunter2")]), ID);
        let (code, view) = refusal(ada.create_connector(other).await);
        assert_eq!((code, view.reason.as_str()), (Code::AlreadyExists, "REQUEST_ID_REUSED"));
        // Another principal's ids are its own.
        let operators = suite.client("operator").create_connector(request()).await.unwrap().into_inner();
        assert_ne!(operators.connector.unwrap().uid, uid);
        let scope = pb::GetScopeRequest { name: "users/ada".into() };
        assert_eq!(ada.get_scope(scope).await.unwrap().into_inner().scope.unwrap().connector_count, 2);
    }

    /// An id that is taken is refused; a check alone changes nothing.
    async fn taken_ids_and_rehearsals(database: TestDatabase) {
        let suite = Suite::start(&database).await;
        let mut ada = suite.client("ada");
        let rehearsal = pb::CreateConnectorRequest {
            validate_only: true,
            ..creation("users/ada", "x", http(vec![secret("X-Key", "hunter2")]))
        };
        ada.create_connector(rehearsal.clone()).await.unwrap();
        assert_eq!(reason(get(&mut ada, "users/ada/connectors/x").await), "CONNECTOR_NOT_FOUND");
        assert!(suite.vault.state().secrets.is_empty());
        create(&mut ada, "x", http(vec![])).await;
        for request in [rehearsal, creation("users/ada", "x", http(vec![]))] {
            let (code, view) = refusal(ada.create_connector(request).await);
            assert_eq!((code, view.reason.as_str()), (Code::AlreadyExists, "CONNECTOR_EXISTS"));
        }
        assert_eq!(create(&mut ada, "", http(vec![])).await.name, "users/ada/connectors/my-server");
        assert_eq!(create(&mut ada, "", http(vec![])).await.name, "users/ada/connectors/my-server-2");
    }

    /// Without the vault nothing appears, what was sealed is cleared away, and the id stays free.
    async fn a_creation_that_cannot_be_sealed_leaves_nothing(database: TestDatabase) {
        let suite = Suite::start(&database).await;
        let mut ada = suite.client("ada");
        let connector = || http(vec![secret("X-One", "1"), secret("X-Two", "2")]);
        suite.vault.set(Mode::DownAfter(1));
        let (code, view) = refusal(ada.create_connector(creation("users/ada", "x", connector())).await);
        assert_eq!((code, view.reason.as_str()), (Code::Unavailable, "VAULT_UNAVAILABLE"));
        assert!(view.retry_after.is_some());
        assert_eq!(suite.vault.state().secrets.len(), 1);
        assert_eq!(reason(get(&mut ada, "users/ada/connectors/x").await), "CONNECTOR_NOT_FOUND");
        suite.vault.set(Mode::Working);
        let created = create(&mut ada, "x", connector()).await;
        let rest = suite.vault.until("only the created one's secrets", |state| {
            state.secrets.len() == 2 && state.of(&created.uid).len() == 2
        });
        advance_until(&suite.clock, Duration::from_secs(31), "the sweeper", rest).await;
    }

    /// A request with an id goes on where it stopped: same connector, one version of each secret.
    async fn a_repeated_request_goes_on_where_it_stopped(database: TestDatabase) {
        let suite = Suite::start(&database).await;
        let mut ada = suite.client("ada");
        let request = || with_request(http(vec![secret("X-One", "1"), secret("X-Two", "2")]), ID);
        suite.vault.set(Mode::DownAfter(1));
        assert_eq!(reason(ada.create_connector(request()).await), "VAULT_UNAVAILABLE");
        let uid = suite.vault.state().secrets.values().next().unwrap().uid.clone();
        suite.vault.set(Mode::Working);
        let suite = suite.restart().await;
        let created = suite.client("ada").create_connector(request()).await.unwrap().into_inner().connector.unwrap();
        assert_eq!(created.uid, uid);
        let mut stored = suite.vault.state().of(&uid);
        stored.sort();
        assert_eq!(stored, [("x-one".to_owned(), 1), ("x-two".to_owned(), 1)]);
    }

    /// A creation that died on the way holds its place until the sweeper comes, which takes the secrets first.
    async fn a_creation_that_died_is_swept(database: TestDatabase) {
        let suite = Suite::start_with(&database, |config| {
            config.policy = policy::Policy::local();
            config.user_quota = 1;
        })
        .await;
        suite.vault.set(Mode::Silent);
        let mut client = suite.client("ada");
        let call = client.create_connector(creation("users/ada", "x", http(vec![secret("X-Key", "hunter2")])));
        tokio::select! {
            answer = call => panic!("{answer:?}"),
            () = suite.vault.until("a sealed secret", |state| state.secrets.len() == 1) => {}
        }
        suite.vault.set(Mode::Working);
        // The process died with it: nothing but the row tells of the secret.
        let suite = suite.restart().await;
        let mut ada = suite.client("ada");
        assert_eq!(reason(get(&mut ada, "users/ada/connectors/x").await), "CONNECTOR_NOT_FOUND");
        assert_eq!(reason(ada.create_connector(creation("users/ada", "y", http(vec![]))).await), "QUOTA_EXCEEDED");
        let swept = suite.vault.until("no secret", |state| state.secrets.is_empty());
        advance_until(&suite.clock, Duration::from_secs(5 * 60 + 1), "the sweeper", swept).await;
        let other = create(&mut ada, "x", http(vec![])).await;
        assert_eq!(get(&mut ada, &other.name).await.unwrap().uid, other.uid);
    }

    /// A caller that goes away leaves a whole connector behind, not a taken id.
    async fn a_creation_is_ended_without_its_caller(database: TestDatabase) {
        let suite = Suite::start(&database).await;
        suite.vault.set(Mode::HoldWrites);
        let mut gone = suite.client("ada");
        let call = gone.create_connector(creation("users/ada", "x", http(vec![secret("X-Key", "hunter2")])));
        tokio::select! {
            answer = call => panic!("{answer:?}"),
            () = suite.vault.until("a sealed secret", |state| state.secrets.len() == 1) => {}
        }
        drop(gone);
        suite.vault.set(Mode::Working);
        until(&mut suite.client("ada"), "users/ada/connectors/x", |connector| connector.is_ok()).await;
    }

    /// A creation that is given up while the vault is at work leaves nothing there, not even what is sealed late.
    async fn a_creation_given_up_leaves_nothing_sealed_late(database: TestDatabase) {
        let suite = Suite::start(&database).await;
        suite.vault.set(Mode::DownAfter(1));
        let mut ada = suite.client("ada");
        let headers = vec![secret("X-One", "1"), secret("X-Two", "2")];
        assert_eq!(reason(ada.create_connector(creation("users/ada", "x", http(headers))).await), "VAULT_UNAVAILABLE");
        suite.vault.set(Mode::Working);
        // The id is free at once; what was sealed goes when no call can be under way any more.
        create(&mut ada, "x", http(vec![])).await;
        suite.clock.advance(Duration::from_secs(20));
        create(&mut ada, "y", http(vec![])).await;
        assert_eq!(suite.vault.state().secrets.len(), 1);
        let gone = suite.vault.until("no secret", |state| state.secrets.is_empty());
        advance_until(&suite.clock, Duration::from_secs(11), "the deletion", gone).await;
    }
}
