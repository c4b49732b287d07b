//! The program: its exit codes, and what it says.

use std::process::{Command, Output};

use tempfile::TempDir;

fn run(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_connector-registry"));
    command.env_clear().args(arguments).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn a_wrong_configuration_ends_with_64_and_names_everything() {
    for arguments in [&["--check-config"][..], &[], &["migrate", "up"]] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(64), "{arguments:?}");
        let problems = String::from_utf8(output.stderr).unwrap();
        assert!(
            problems.contains("--database-url: is required"),
            "{problems}"
        );
    }
    assert_eq!(run(&["--no-such-setting"]).status.code(), Some(64));
    assert_eq!(run(&["--help"]).status.code(), Some(0));
}

#[test]
fn the_effective_configuration_is_printed_without_secrets() {
    let output = run(&[
        "--check-config",
        "--database-url=postgres://registry:hunter2@db:5432/registry",
        "--tokens-file=/t",
        "--token-file=/o",
    ]);
    assert_eq!(output.status.code(), Some(0));
    let text = said(&output);
    assert!(
        text.contains("listen = 127.0.0.1:7401") && text.contains("policy = default"),
        "{text}"
    );
    assert!(!text.contains("hunter2"));
}

#[test]
fn the_schema_goes_up_and_down() {
    let folder = TempDir::with_prefix("registry-program-").unwrap();
    let url = format!(
        "--database-url=sqlite://{}",
        folder.path().join("r.sqlite3").display()
    );
    let step = |arguments: &[&str]| {
        let output = run(&[&["migrate"], arguments, &[url.as_str()]].concat());
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        said(&output)
    };
    assert!(
        step(&["status"])
            .lines()
            .all(|line| line.starts_with("pending"))
    );
    assert_eq!(step(&["up"]).lines().count(), 2);
    assert_eq!(step(&["up"]), "nothing to do\n");
    assert!(
        step(&["status"])
            .lines()
            .all(|line| line.starts_with("applied"))
    );
    assert_eq!(step(&["down", "--steps", "2"]).lines().count(), 2);
}

#[test]
fn nobody_at_the_address_is_not_healthy() {
    // Port 1 is reserved, and nobody listens there.
    assert_eq!(
        run(&["healthcheck", "--listen=127.0.0.1:1"]).status.code(),
        Some(1)
    );
}
