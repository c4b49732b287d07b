//! A secret reaches the server it was entered for, and no other place: not a file, not a log, not an answer.

use std::fs;
use std::path::Path;

use contracts::registry::v1::ListConnectorsRequest;
use integration_tests::{Connection, HttpServer, State, StdioServer, Up, sha256_hex};

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
