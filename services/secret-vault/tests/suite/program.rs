//! The program of its own: its exit codes, and the schema commands.

use std::process::{Command, Output};

use tempfile::TempDir;

fn vault(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_secret-vault"));
    command.env_clear().args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn a_wrong_configuration_is_told_completely_with_exit_code_64() {
    let output = vault(&["--listen=nowhere", "--lease-seconds=1"]);
    assert_eq!(output.status.code(), Some(64));
    let problems = text(&output.stderr);
    for setting in [
        "--listen",
        "--database-url",
        "--key-file",
        "--tokens-file",
        "--lease-seconds",
    ] {
        assert!(problems.contains(setting), "{setting} in {problems}");
    }
    assert_eq!(vault(&["--unknown"]).status.code(), Some(64));
}

#[test]
fn help_and_the_checked_configuration_go_to_standard_output() {
    let help = vault(&["--help"]);
    assert_eq!(help.status.code(), Some(0));
    assert!(text(&help.stdout).contains("PATCHBAY_VAULT_KEY_FILE"));
    let good = [
        "--database-url=postgres://v:hunter2@db/v",
        "--key-file=/k",
        "--tokens-file=/t",
    ];
    let checked = vault(&[&good[..], &["--check-config"]].concat());
    assert_eq!(checked.status.code(), Some(0));
    let shown = text(&checked.stdout);
    assert!(
        shown.contains("key-file = /k") && !shown.contains("hunter2"),
        "{shown}"
    );
}

#[test]
fn the_schema_goes_up_and_down_and_tells_where_it_is() {
    let folder = TempDir::new().unwrap();
    let url = format!(
        "--database-url=sqlite://{}/vault.sqlite3",
        folder.path().display()
    );
    let migrate = |words: &[&str]| {
        let output = vault(&[&["migrate"], words, &[url.as_str()]].concat());
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        text(&output.stdout)
    };
    let names = migrations::names::<migrations::Vault>();
    let count = |shown: &str, word: &str| shown.lines().filter(|l| l.starts_with(word)).count();
    assert_eq!(count(&migrate(&["status"]), "pending"), names.len());
    assert_eq!(count(&migrate(&["up"]), "applied"), names.len());
    assert_eq!(migrate(&["up"]), "nothing to do\n");
    assert_eq!(count(&migrate(&["down", "--steps=1"]), "undone"), 1);
    let shown = migrate(&["status"]);
    assert_eq!(
        (count(&shown, "applied"), count(&shown, "pending")),
        (names.len() - 1, 1)
    );
}

#[test]
fn a_vault_without_its_schema_does_not_start_and_names_the_command() {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| format!("{}/{name}", folder.path().display());
    let tokens = identity::issue_tokens(folder.path(), &identity::suite_tokens()).unwrap();
    let output = vault(&[
        "--listen=127.0.0.1:0",
        &format!("--database-url=sqlite://{}", path("vault.sqlite3")),
        &format!("--key-file={}", path("vault.key")),
        &format!("--tokens-file={}", tokens.display()),
    ]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains("secret-vault migrate up"),
        "{output:?}"
    );
    assert!(!folder.path().join("vault.key").exists(), "no key was made");
}

#[test]
fn a_health_check_of_nothing_fails() {
    let output = vault(&["healthcheck", "--listen=127.0.0.1:9"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains("does not answer"),
        "{output:?}"
    );
}
