//! A stop is bounded: neither an open watch nor a connection that says nothing holds it up.

use std::time::{Duration, Instant};

use contracts::registry::v1::WatchConnectorsRequest;
use integration_tests::{HttpServer, State, Up, note};
use tokio::net::TcpStream;
use tonic::Code;

/// Well below the patience of anything that sends SIGTERM (systemd 90 s, Kubernetes 30 s, Docker 10 s).
const BOUND: Duration = Duration::from_secs(9);

#[tokio::test]
async fn a_stop_waits_for_no_watcher_and_no_silent_connection() {
    let folder = tempfile::tempdir().unwrap();
    let up = Up::start(folder.path()).await;
    let caller = up.clients("caller");
    let server = HttpServer::start(["echo"]);
    let connector = caller.connect(&server).await;
    caller.wait_for(&connector, State::Ready).await;

    let request = WatchConnectorsRequest {
        parents: vec!["users/ada".into()],
        ..Default::default()
    };
    let mut watch = caller
        .connectors
        .clone()
        .watch_connectors(request)
        .await
        .unwrap()
        .into_inner();
    assert!(
        watch.message().await.unwrap().is_some(),
        "the snapshot begins"
    );
    let addresses = up.addresses();
    let mut silent = Vec::new();
    for address in addresses.all() {
        silent.push(TcpStream::connect(address).await.unwrap());
    }

    let begun = Instant::now();
    let ends = async {
        loop {
            match watch.message().await {
                Ok(Some(_)) => {}
                Ok(None) => break None,
                Err(status) => break Some(status),
            }
        }
    };
    let ((), end) = tokio::join!(up.terminate(), ends);
    let took = begun.elapsed();
    note(&format!(
        "stopped after {took:?}; the watch ended with {end:?}"
    ));
    assert!(took < BOUND, "it took {took:?}");
    if let Some(status) = end {
        assert_eq!(
            status.code(),
            Code::Unavailable,
            "so that clients connect again: {status:?}"
        );
    }
    drop(silent);
}
