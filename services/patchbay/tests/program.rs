//! The program as a person uses it: one process runs the suite, others are its clients.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_patchbay");

/// A suite in a process of its own; killed when dropped.
struct Up {
    process: Child,
    output: BufReader<ChildStdout>,
}

impl Up {
    /// Starts it and waits until it has printed `until`.
    fn start(data: &Path, more: &[&str], until: &str) -> (Self, String) {
        let mut process = command(data)
            .args([
                "up",
                "--registry-listen=127.0.0.1:0",
                "--vault-listen=127.0.0.1:0",
            ])
            .arg("--runtime-listen=127.0.0.1:0")
            .args(more)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        let mut up = Self { process, output };
        let mut said = String::new();
        while !said.contains(until) {
            assert_ne!(
                up.output.read_line(&mut said).unwrap(),
                0,
                "ended after: {said}"
            );
        }
        (up, said)
    }

    /// Sends a signal, waits for the end, and gives the exit code with what was still said.
    fn end(mut self, signal: Signal) -> (Option<i32>, String) {
        let pid = Pid::from_raw(i32::try_from(self.process.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
        let mut rest = String::new();
        self.output.read_to_string(&mut rest).unwrap();
        (self.process.wait().unwrap().code(), rest)
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        // It may have ended already, and the test with it.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// The program, with nothing of the environment that could lead it elsewhere.
fn command(data: &Path) -> Command {
    let mut command = Command::new(PROGRAM);
    command
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .arg("--data-dir")
        .arg(data);
    command
}

fn client(data: &Path, arguments: &[&str]) -> Output {
    command(data).args(arguments).output().unwrap()
}

fn json(data: &Path, arguments: &[&str]) -> Value {
    let output = command(data)
        .arg("--output=json")
        .args(arguments)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{arguments:?}: {}",
        text(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn place() -> (TempDir, PathBuf) {
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data");
    (place, data)
}

/// A connector is added with a secret, called, disabled and deleted, all by another process.
#[test]
fn a_person_plugs_in_a_server_and_calls_its_tools() {
    let (place, data) = place();
    let (up, _) = Up::start(&data, &[], "is ready");
    let secret = place.path().join("secret");
    std::fs::File::create(&secret)
        .unwrap()
        .write_all(b"Jefe\n")
        .unwrap();
    let secret = format!("PATCHBAY_DEMO_SECRET=@{}", secret.display());
    let name = "users/ada/connectors/demo";

    let add = [
        "connector",
        "add",
        name,
        "--stdio",
        "--secret-env",
        &secret,
        "--wait",
        "--",
    ];
    let added = client(&data, &[&add[..], &[PROGRAM, "demo-server"]].concat());
    assert!(added.status.success(), "{}", text(&added.stderr));
    assert!(
        text(&added.stdout).contains("READY"),
        "{}",
        text(&added.stdout)
    );

    let nonce = r#"{"nonce":"what do ya want for nothing?"}"#;
    let proof = client(
        &data,
        &["tool", "call", name, "prove_secret", "--args", nonce],
    );
    // RFC 4231, test case 2: the secret arrived without its line end.
    let expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843\n";
    assert_eq!(text(&proof.stdout), expected);

    let session = json(&data, &["session", "get", name]);
    assert_eq!(session["session"]["state"], "SESSION_STATE_READY");
    let list = json(&data, &["connector", "list", "users/ada"]);
    assert_eq!(list["connectors"][0]["name"], name);
    assert!(!list.to_string().contains("Jefe"));

    assert!(
        client(&data, &["connector", "disable", name])
            .status
            .success()
    );
    let refused = client(&data, &["tool", "call", name, "time"]);
    assert_eq!(refused.status.code(), Some(73), "{}", text(&refused.stderr));
    assert!(text(&refused.stderr).contains("patchbay connector enable"));
    assert!(client(&data, &["connector", "rm", name]).status.success());
    let missing = client(&data, &["connector", "get", name]);
    assert_eq!(missing.status.code(), Some(69), "{}", text(&missing.stderr));

    let (code, said) = up.end(Signal::TERM);
    assert_eq!(code, Some(0), "{said}");
    let gone = client(&data, &["connector", "list", "users/ada"]);
    assert_eq!(gone.status.code(), Some(64), "{}", text(&gone.stderr));
    assert!(text(&gone.stderr).contains("patchbay up"));
}

/// The demonstration works on a new data folder, after SIGKILL, and again after a clean stop.
#[test]
fn the_demo_can_be_run_again_and_again() {
    let (_place, data) = place();
    for signal in [Signal::KILL, Signal::INT, Signal::TERM] {
        let (up, said) = Up::start(&data, &["--demo"], "Ctrl-C stops it");
        for part in [
            "READY after",
            "prove_secret",
            "the server holds it",
            "grpcurl",
            "stdio",
        ] {
            assert!(said.contains(part), "{part}: {said}");
        }
        let (code, _) = up.end(signal);
        let expected = if signal == Signal::KILL {
            None
        } else {
            Some(0)
        };
        assert_eq!(code, expected);
    }
}

/// One data folder has one suite.
#[test]
fn a_second_suite_on_the_same_folder_is_refused() {
    let (_place, data) = place();
    let (up, _) = Up::start(&data, &[], "is ready");
    let second = client(&data, &["up", "--registry-listen=127.0.0.1:0"]);
    assert_eq!(second.status.code(), Some(64));
    let said = text(&second.stderr);
    assert!(said.contains("another `patchbay up`"), "{said}");
    assert!(said.contains(&up.process.id().to_string()), "{said}");
}

/// A tool that reports an error is an answer, and the exit code tells.
#[test]
fn a_tool_that_reports_an_error_is_exit_code_3() {
    let (_place, data) = place();
    let (_up, _) = Up::start(&data, &[], "is ready");
    let name = "users/ada/connectors/demo";
    let add = [
        "connector",
        "add",
        name,
        "--stdio",
        "--wait",
        "--",
        PROGRAM,
        "demo-server",
    ];
    assert!(client(&data, &add).status.success());
    let call = [
        "tool",
        "call",
        name,
        "prove_secret",
        "--args",
        r#"{"nonce":"x"}"#,
    ];
    let answer = client(&data, &call);
    assert_eq!(answer.status.code(), Some(3), "{}", text(&answer.stderr));
    assert!(
        text(&answer.stdout).contains("no secret"),
        "{}",
        text(&answer.stdout)
    );

    let bad = "users/ada/connectors/bad";
    let add = [
        "connector",
        "add",
        bad,
        "--stdio",
        "--wait",
        "--",
        "/nonexistent/server",
    ];
    let added = client(&data, &add);
    assert_eq!(added.status.code(), Some(3), "{}", text(&added.stderr));
    assert!(
        text(&added.stdout).contains("COMMAND_NOT_FOUND"),
        "{}",
        text(&added.stdout)
    );
}

/// Programs are found where the person who typed `up` finds them.
#[test]
fn a_program_is_found_in_the_search_path_of_up() {
    let (place, data) = place();
    let folder = place.path().join("bin");
    std::fs::create_dir(&folder).unwrap();
    std::os::unix::fs::symlink(PROGRAM, folder.join("my-server")).unwrap();
    let path = format!("--stdio-path={}:/usr/bin:/bin", folder.display());
    let (_up, _) = Up::start(&data, &[&path], "is ready");
    let add = [
        "connector",
        "add",
        "users/ada/connectors/mine",
        "--stdio",
        "--wait",
        "--",
    ];
    let added = client(&data, &[&add[..], &["my-server", "demo-server"]].concat());
    assert!(
        added.status.success(),
        "{}{}",
        text(&added.stdout),
        text(&added.stderr)
    );
}
