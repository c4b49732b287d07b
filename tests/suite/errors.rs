//! Each error is one that the protos publish: reason, code, domain, and the details that fit.

use contracts::registry::v1::{
    Connector, CreateConnectorRequest, GetConnectorRequest, ListConnectorsRequest,
    ReportStatusRequest, RuntimeInstance, UpdateConnectorRequest, WatchConnectorsRequest,
};
use contracts::runtime::v1::CallToolRequest;
use integration_tests::{
    Connection, HttpServer, RawServer, State, Suite, keeps_contract, published_reasons, reason_of,
};
use tonic::Status;
use tonic_types::StatusExt as _;

#[track_caller]
fn is<T: std::fmt::Debug>(answer: Result<T, Status>, reason: &str) -> Status {
    let status = answer.unwrap_err();
    assert_eq!(reason_of(&status), reason, "{status:?}");
    keeps_contract(&status);
    status
}

fn create(id: &str, connector: Connector) -> CreateConnectorRequest {
    CreateConnectorRequest {
        parent: "users/ada".into(),
        connector_id: id.into(),
        connector: Some(connector),
        ..CreateConnectorRequest::default()
    }
}

#[test]
fn every_reason_names_its_code_and_means_the_same_everywhere() {
    for (reason, codes) in published_reasons() {
        assert_eq!(codes.len(), 1, "{reason} stands for {codes:?}");
        assert!(reason.len() <= 63, "{reason}");
    }
}

#[tokio::test]
async fn creating_says_what_is_wrong_with_which_field() {
    let suite = Suite::start().await;
    let mut client = suite.ada().connectors;
    let fine = || Connection::http("http://127.0.0.1:9/mcp").into_connector();
    let cases = [
        ("connector_id", create("Not-An-Id", fine())),
        (
            "connector",
            CreateConnectorRequest {
                connector: None,
                ..create("a", fine())
            },
        ),
        (
            "url",
            create("a", Connection::http("ftp://example.com/").into_connector()),
        ),
        (
            "request_id",
            CreateConnectorRequest {
                request_id: "x".into(),
                ..create("a", fine())
            },
        ),
    ];
    for (field, request) in cases {
        let status = is(client.create_connector(request).await, "FIELD_INVALID");
        let details = status.get_error_details();
        let violations = &details.bad_request().unwrap().field_violations;
        assert!(
            violations
                .iter()
                .any(|violation| violation.field.contains(field)),
            "{field}: {violations:?}"
        );
    }
}

#[tokio::test]
async fn a_taken_id_a_stale_etag_and_a_reused_request_id_are_told_apart() {
    let suite = Suite::start().await;
    let mut client = suite.ada().connectors;
    let fine = || Connection::http("http://127.0.0.1:9/mcp").into_connector();
    let id = uuid::Uuid::new_v4().to_string();
    let first = CreateConnectorRequest {
        request_id: id.clone(),
        ..create("taken", fine())
    };
    let made = client
        .create_connector(first.clone())
        .await
        .unwrap()
        .into_inner()
        .connector
        .unwrap();
    let again = client
        .create_connector(first)
        .await
        .unwrap()
        .into_inner()
        .connector
        .unwrap();
    assert_eq!(made.uid, again.uid, "a repeat answers as the first did");

    is(
        client.create_connector(create("taken", fine())).await,
        "CONNECTOR_EXISTS",
    );
    let other = CreateConnectorRequest {
        request_id: id,
        ..create("other", fine())
    };
    is(client.create_connector(other).await, "REQUEST_ID_REUSED");

    let stale = Connector {
        etag: "\"stale\"".into(),
        display_name: "x".into(),
        ..made
    };
    let update = UpdateConnectorRequest {
        connector: Some(stale),
        update_mask: Some(prost_types::FieldMask {
            paths: vec!["display_name".into()],
        }),
    };
    is(client.update_connector(update).await, "ETAG_MISMATCH");
}

#[tokio::test]
async fn the_eleventh_connector_of_a_user_is_over_the_quota() {
    let suite = Suite::start().await;
    let ada = suite.ada();
    for _ in 0..10 {
        ada.connect(Connection::http("http://127.0.0.1:9/mcp"))
            .await;
    }
    let over = ada
        .create("users/ada", Connection::http("http://127.0.0.1:9/mcp"))
        .await;
    is(over, "QUOTA_EXCEEDED");
}

#[tokio::test]
async fn tokens_of_pages_and_watches_are_not_transferable() {
    let suite = Suite::start().await;
    let mut client = suite.ada().connectors;
    let page = ListConnectorsRequest {
        parent: "users/ada".into(),
        page_token: "made-up".into(),
        ..ListConnectorsRequest::default()
    };
    is(client.list_connectors(page).await, "PAGE_TOKEN_INVALID");
    let watch = WatchConnectorsRequest {
        parents: vec!["users/ada".into()],
        resume_token: "AAAA".into(),
        ..WatchConnectorsRequest::default()
    };
    let refused = match client.watch_connectors(watch).await {
        Ok(stream) => stream.into_inner().message().await.map(|_| ()),
        Err(status) => Err(status),
    };
    let status = refused.unwrap_err();
    keeps_contract(&status);
    assert!(
        ["RESUME_TOKEN_EXPIRED", "FIELD_INVALID"].contains(&reason_of(&status).as_str()),
        "{status:?}"
    );
}

#[tokio::test]
async fn a_second_runtime_is_told_that_the_first_is_alive() {
    let suite = Suite::start().await;
    suite
        .ada()
        .connect(Connection::http("http://127.0.0.1:9/mcp"))
        .await;
    let mut client = suite.clients("runtime-sync").connectors;
    let second = RuntimeInstance {
        instance_id: uuid::Uuid::now_v7().to_string(),
        instance_name: "another-machine".into(),
        lease_epoch: 0,
    };
    let report = ReportStatusRequest {
        instance: Some(second),
        connectors: Vec::new(),
    };
    is(client.report_status(report).await, "LEASE_HELD");
}

#[tokio::test]
async fn a_missing_connector_is_named() {
    let suite = Suite::start().await;
    let name = "users/ada/connectors/nothing";
    let mut client = suite.ada().connectors;
    let request = GetConnectorRequest { name: name.into() };
    let status = is(client.get_connector(request).await, "CONNECTOR_NOT_FOUND");
    let details = status.get_error_details();
    let resource = details.resource_info().unwrap();
    assert_eq!(
        (
            resource.resource_type.as_str(),
            resource.resource_name.as_str()
        ),
        ("patchbay/Connector", name)
    );
}

#[tokio::test]
async fn calls_say_why_they_were_not_made() {
    let suite = Suite::start().await;
    let server = HttpServer::start(["echo", "hang"]);
    let ada = suite.ada();
    let connector = ada.connect(&server).await;
    ada.wait_for(&connector, State::Ready).await;

    is(
        ada.call(&connector, "nothing", "{}").await,
        "TOOL_NOT_FOUND",
    );
    is(
        ada.call(&connector, "echo", "[1]").await,
        "ARGUMENTS_INVALID",
    );
    is(ada.call(&connector, "echo", "{").await, "ARGUMENTS_INVALID");
    let changed = CallToolRequest {
        connector: connector.name.clone(),
        tool: "echo".into(),
        expected_definition_hash: "00".repeat(32),
        ..CallToolRequest::default()
    };
    is(
        ada.tools.clone().call_tool(changed).await,
        "DEFINITION_CHANGED",
    );

    ada.disable(&connector).await;
    ada.wait_for(&connector, State::Disabled).await;
    is(
        ada.call(&connector, "echo", "{}").await,
        "CONNECTOR_DISABLED",
    );
}

#[tokio::test]
async fn an_invocation_is_never_sent_twice() {
    let suite = Suite::start().await;
    let server = HttpServer::start(["echo"]);
    let ada = suite.ada();
    let connector = ada.connect(&server).await;
    ada.wait_for(&connector, State::Ready).await;
    let invocation_id = uuid::Uuid::new_v4().to_string();
    let call = |arguments_json: &str| CallToolRequest {
        connector: connector.name.clone(),
        tool: "echo".into(),
        arguments_json: arguments_json.into(),
        invocation_id: invocation_id.clone(),
        ..CallToolRequest::default()
    };
    let first = ada
        .tools
        .clone()
        .call_tool(call("{\"a\":1}"))
        .await
        .unwrap()
        .into_inner();
    let again = ada
        .tools
        .clone()
        .call_tool(call("{\"a\":1}"))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(first.result_json, again.result_json);
    assert_eq!(
        server.seen().calls(),
        ["echo"],
        "a repeat is never sent again"
    );
    is(
        ada.tools.clone().call_tool(call("{\"a\":2}")).await,
        "INVOCATION_ID_REUSED",
    );
}

#[tokio::test]
async fn a_server_that_wants_credentials_is_not_an_outage() {
    let suite = Suite::start().await;
    let answer = "HTTP/1.1 401 Unauthorized\r\nwww-authenticate: Bearer\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    let server = RawServer::once(answer).await;
    let ada = suite.ada();
    let connector = ada.connect(&server).await;
    ada.wait_for(&connector, State::AuthRequired).await;
    is(ada.call(&connector, "echo", "{}").await, "AUTH_REQUIRED");
}

#[tokio::test]
async fn without_a_vault_nothing_with_a_secret_is_created() {
    let mut suite = Suite::start().await;
    suite.stop_vault().await;
    let with_secret = Connection::http("http://127.0.0.1:9/mcp").secret("x-key", "s3cret-value");
    is(
        suite.ada().create("users/ada", with_secret).await,
        "VAULT_UNAVAILABLE",
    );
    let request = ListConnectorsRequest {
        parent: "users/ada".into(),
        ..Default::default()
    };
    let listed = suite
        .ada()
        .connectors
        .list_connectors(request)
        .await
        .unwrap()
        .into_inner();
    assert!(listed.connectors.is_empty(), "{:?}", listed.connectors);
}

#[tokio::test]
async fn a_deadline_is_exceeded_and_never_cancelled() {
    let suite = Suite::start().await;
    let server = HttpServer::start(["hang"]);
    let ada = suite.ada();
    let connector = ada.connect(&server).await;
    ada.wait_for(&connector, State::Ready).await;
    let limit = std::time::Duration::from_millis(700);
    let status = ada
        .call_within(&connector, "hang", "{}", limit)
        .await
        .unwrap_err();
    // Our own client's clock may be the first to notice; then the error is its own and carries nothing.
    if status.get_error_details().error_info().is_some() {
        let reason = reason_of(&status);
        assert!(
            ["OUTCOME_UNKNOWN", "DEADLINE_EXCEEDED"].contains(&reason.as_str()),
            "{status:?}"
        );
        keeps_contract(&status);
    }
}

#[tokio::test]
async fn what_a_strict_installation_does_not_allow_is_said_when_it_is_saved() {
    let suite = Suite::start_strict().await;
    let ada = suite.ada();
    let program = integration_tests::StdioServer::with_tools(&["echo"]);
    for what in [
        Connection::from(&program),
        Connection::http("http://127.0.0.1:9/mcp"),
        Connection::http("https://127.0.0.1:9/mcp"),
        Connection::http("https://10.0.0.1/mcp"),
        Connection::http("https://[::1]/mcp"),
        Connection::http("https://169.254.169.254/latest"),
        Connection::http("http://example.com/mcp"),
    ] {
        is(ada.create("users/ada", what).await, "POLICY_DENIED");
    }
    ada.connect(Connection::http("https://mcp.example.com/mcp"))
        .await;
}

#[tokio::test]
async fn a_call_whose_outcome_nobody_knows_says_so() {
    let suite = Suite::start().await;
    let mut server = HttpServer::start(["hang", "break"]);
    let ada = suite.ada();
    let connector = ada.connect(&server).await;
    ada.wait_for(&connector, State::Ready).await;
    is(ada.call(&connector, "break", "{}").await, "UPSTREAM_ERROR");

    let seen = server.seen();
    let cut = async {
        integration_tests::eventually("the call to arrive", integration_tests::LONG, async || {
            if seen.calls().len() < 2 {
                Err("not yet".into())
            } else {
                Ok(())
            }
        })
        .await;
        server.disconnect();
    };
    let (answer, ()) = tokio::join!(ada.call(&connector, "hang", "{}"), cut);
    let status = is(answer, "OUTCOME_UNKNOWN");
    let info = status.get_details_error_info().unwrap();
    assert_eq!(
        info.metadata.get("outcome").map(String::as_str),
        Some("SENT_UNKNOWN"),
        "{info:?}"
    );
    assert!(info.metadata.contains_key("invocation_id"), "{info:?}");
}

#[tokio::test]
async fn a_runtime_that_was_taken_over_is_told_to_stop() {
    let suite = Suite::start().await;
    let connector = suite
        .ada()
        .connect(Connection::http("http://127.0.0.1:9/mcp"))
        .await;
    suite.ada().wait_for(&connector, State::Unreachable).await;
    // The same name takes over at once; the epoch of the one before is then too low.
    let mut client = suite.clients("runtime-sync").connectors;
    let report = |lease_epoch| {
        let instance = RuntimeInstance {
            instance_id: uuid::Uuid::now_v7().to_string(),
            instance_name: "the-tests-runtime".into(),
            lease_epoch,
        };
        ReportStatusRequest {
            instance: Some(instance),
            connectors: Vec::new(),
        }
    };
    let taken = client.report_status(report(0)).await.unwrap().into_inner();
    is(
        client.report_status(report(taken.lease_epoch - 1)).await,
        "LEASE_LOST",
    );
}
