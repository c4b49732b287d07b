//! A secret reaches the server it was entered for, and no other place: not a file, not a log, not an answer.

use std::fs;
use std::path::Path;

use contracts::registry::v1::connector::Transport;
use contracts::registry::v1::{
    Connector, ListConnectorsRequest, SecretPlace, SecretValue, SetConnectorSecretsRequest,
    StreamableHttpTransport, UpdateConnectorRequest,
};
use integration_tests::{
    Clients, Connected, Connection, HttpServer, State, StdioServer, Suite, Up, sha256_hex,
};

const CANARY: &str = "canary-4b1d0f7e55c2-in-the-mine";

/// Every file below a folder that contains the canary, in any of the ways it might be written.
fn files_with_canary(folder: &Path) -> Vec<String> {
    let hex: String = CANARY.bytes().map(|byte| format!("{byte:02x}")).collect();
    let spellings = [
        CANARY.as_bytes().to_vec(),
        base64_of(CANARY.as_bytes()),
        hex.into_bytes(),
    ];
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let content = fs::read(&path).unwrap_or_default();
            let has = |spelling: &Vec<u8>| {
                content
                    .windows(spelling.len())
                    .any(|window| window == spelling.as_slice())
            };
            if spellings.iter().any(has) {
                found.push(path.display().to_string());
            }
        }
    }
    found
}

/// Base64 of the middle, whatever comes before it: the first and last characters depend on their neighbours.
fn base64_of(value: &[u8]) -> Vec<u8> {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(value);
    text.as_bytes()[..text.len() - 4].to_vec()
}

#[tokio::test]
async fn a_secret_reaches_its_server_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let up = Up::start(folder.path()).await;
    let caller = up.clients("caller");
    let http = HttpServer::start(["prove"]);
    let over_http = caller
        .connect(Connection::from(&http).secret("x-api-key", CANARY))
        .await;
    let stdio = StdioServer::with_tools(&["prove"]);
    let over_stdio = caller
        .connect(Connection::from(&stdio).secret("API_KEY", CANARY))
        .await;

    let proof = sha256_hex(CANARY.as_bytes());
    for (connector, name) in [(&over_http, "x-api-key"), (&over_stdio, "API_KEY")] {
        let ready = caller.wait_for(connector, State::Ready).await;
        assert!(
            ready
                .secrets
                .iter()
                .all(|secret| secret.set && secret.name == name),
            "{ready:?}"
        );
        assert!(!format!("{ready:?}").contains(CANARY));
        let arguments = format!("{{\"name\":\"{name}\"}}");
        let answer = caller.call(connector, "prove", &arguments).await.unwrap();
        assert!(
            answer.result_json.contains(&proof),
            "{name}: {}",
            answer.result_json
        );
    }

    let request = ListConnectorsRequest {
        parent: "users/ada".into(),
        ..Default::default()
    };
    let listed = caller
        .connectors
        .clone()
        .list_connectors(request)
        .await
        .unwrap()
        .into_inner();
    assert!(
        !prost::Message::encode_to_vec(&listed)
            .windows(CANARY.len())
            .any(|w| w == CANARY.as_bytes())
    );
    assert_eq!(files_with_canary(folder.path()), Vec::<String>::new());
    up.terminate().await;
    assert_eq!(
        files_with_canary(folder.path()),
        Vec::<String>::new(),
        "after a clean stop"
    );
}

#[test]
fn the_scan_finds_a_canary_however_it_is_written() {
    use base64::Engine as _;
    let folder = tempfile::tempdir().unwrap();
    let base64 = base64::engine::general_purpose::STANDARD.encode(CANARY);
    for (at, text) in [CANARY.to_owned(), format!("{{\"v\":\"{base64}\"}}")]
        .iter()
        .enumerate()
    {
        fs::write(folder.path().join(format!("{at}.log")), text).unwrap();
    }
    assert_eq!(files_with_canary(folder.path()).len(), 2);
}

#[tokio::test]
async fn a_connector_that_is_turned_to_another_server_does_not_take_its_secret_along() {
    let suite = Suite::start().await;
    let ada = suite.ada();
    let (honest, other) = (HttpServer::start(["prove"]), HttpServer::start(["prove"]));
    let connector = ada
        .connect(Connection::from(&honest).secret("x-api-key", CANARY))
        .await;
    ada.wait_for(&connector, State::Ready).await;

    turn_to(&ada, &connector, &other.url()).await;
    let stuck = ada.wait_for(&connector, State::Misconfigured).await;
    assert_eq!(
        stuck.status.map(|status| status.reason).as_deref(),
        Some("SECRET_NEEDS_REBIND")
    );
    assert!(
        stuck.secrets.iter().all(|secret| secret.needs_rebind),
        "{:?}",
        stuck.secrets
    );
    assert!(other.seen().calls().is_empty());

    // Entering the value again confirms the new destination.
    enter_again(&ada, &connector, "for-the-other").await;
    ada.wait_for(&connector, State::Ready).await;
    let answer = ada
        .call(&connector, "prove", "{\"name\":\"x-api-key\"}")
        .await
        .unwrap();
    assert!(
        answer.result_json.contains(&sha256_hex(b"for-the-other")),
        "{}",
        answer.result_json
    );
    assert!(honest.seen().calls().is_empty() && other.seen().calls().len() == 1);
}

async fn turn_to(clients: &Clients, connector: &Connected, url: &str) {
    let found = clients.get(connector).await.unwrap();
    let Some(Transport::StreamableHttp(http)) = found.transport else {
        panic!("another transport")
    };
    let moved = StreamableHttpTransport {
        url: url.to_owned(),
        ..http
    };
    let request = UpdateConnectorRequest {
        connector: Some(Connector {
            name: connector.name.clone(),
            transport: Some(Transport::StreamableHttp(moved)),
            ..Connector::default()
        }),
        update_mask: Some(prost_types::FieldMask {
            paths: vec!["streamable_http".into()],
        }),
    };
    clients
        .connectors
        .clone()
        .update_connector(request)
        .await
        .unwrap();
}

async fn enter_again(clients: &Clients, connector: &Connected, value: &str) {
    let value = SecretValue {
        place: SecretPlace::Header.into(),
        name: "x-api-key".into(),
        value: value.to_owned(),
    };
    let request = SetConnectorSecretsRequest {
        name: connector.name.clone(),
        values: vec![value],
        ..SetConnectorSecretsRequest::default()
    };
    clients
        .connectors
        .clone()
        .set_connector_secrets(request)
        .await
        .unwrap();
}
