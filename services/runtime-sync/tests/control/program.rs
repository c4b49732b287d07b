//! Promises about the program itself: its exit codes and what it says.

use std::process::{Command, Output};

use crate::world::World;

fn run(arguments: &[&str]) -> Output {
    let mut program = Command::new(env!("CARGO_BIN_EXE_runtime-sync"));
    program.args(arguments).env_clear();
    program.output().unwrap()
}

#[test]
fn a_bad_configuration_is_refused_with_all_its_problems_at_once() {
    let output = run(&[
        "--registry-address",
        "localhost",
        "--tokens-file",
        "/nonexistent",
        "--instance-name",
        "",
    ]);
    assert_eq!(output.status.code(), Some(64));
    let said = String::from_utf8(output.stderr).unwrap();
    for problem in [
        "--registry-address",
        "--tokens-file",
        "--token-file",
        "--instance-name",
    ] {
        assert!(said.contains(problem), "{said}");
    }
    assert_eq!(run(&["--connect-timeout", "10"]).status.code(), Some(64));
    assert_eq!(run(&["--help"]).status.code(), Some(0));
}

#[tokio::test]
async fn a_good_configuration_is_shown_and_a_serving_runtime_is_healthy() {
    let world = World::start().await;
    let path = |name: &str| world.folder.path().join(name).display().to_string();
    let (tokens, token) = (path("tokens.json"), path("tokens/runtime-sync"));
    let arguments = [
        "--check-config",
        "--tokens-file",
        &tokens,
        "--token-file",
        &token,
    ];
    let output = run(&arguments);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(shown.contains("stale_after: 300s"), "{shown}");
    let secret = std::fs::read_to_string(&token).unwrap();
    assert!(!shown.contains(secret.trim()));
    let address = world.app.address().to_string();
    let healthcheck = move || run(&["healthcheck", "--listen", &address]);
    let healthy = tokio::task::spawn_blocking(healthcheck.clone())
        .await
        .unwrap();
    assert_eq!(healthy.status.code(), Some(0), "{healthy:?}");
    world.app.stop().await;
    let gone = tokio::task::spawn_blocking(healthcheck).await.unwrap();
    assert_eq!(gone.status.code(), Some(1), "{gone:?}");
}
