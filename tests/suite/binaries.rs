//! The three services as programs of their own, on PostgreSQL: migrated, checked, healthy, and one suite together.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::Stdio;

use database::Engine;
use database::testing::TestDatabase;
use integration_tests::{
    Addresses, Clients, Connection, HttpServer, LONG, State, eventually, own, sha256_hex,
};
use tokio::process::{Child, Command};

/// A program with its settings in the environment, as a container has them.
struct Program {
    name: &'static str,
    settings: Vec<(String, String)>,
}

impl Program {
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(own(self.name));
        command.args(arguments).envs(self.settings.iter().cloned());
        command.stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    /// Runs to its end and returns what it printed.
    async fn succeeds(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().await.unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let complained = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "{} {arguments:?}: {said}{complained}",
            self.name
        );
        said
    }

    async fn start(&self) -> Child {
        let child = self.command(&[]).spawn().unwrap();
        eventually(&format!("{} is healthy", self.name), LONG, async || {
            let asked = self.command(&["healthcheck"]).output().await.unwrap();
            let said = String::from_utf8_lossy(&asked.stderr).into_owned();
            if asked.status.success() {
                Ok(())
            } else {
                Err(said)
            }
        })
        .await;
        child
    }
}

fn free() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .unwrap()
        .local_addr()
        .unwrap()
}

fn programs(addresses: Addresses, databases: &[TestDatabase; 2], folder: &Path) -> [Program; 3] {
    let in_folder = |name: &str| folder.join(name).display().to_string();
    let url = |address: SocketAddr| format!("http://{address}");
    let program = |name, prefix: &str, settings: Vec<(&str, String)>| {
        let setting = |(key, value): (&str, String)| (format!("PATCHBAY_{prefix}_{key}"), value);
        Program {
            name,
            settings: settings.into_iter().map(setting).collect(),
        }
    };
    let vault = vec![
        ("LISTEN", addresses.vault.to_string()),
        ("DATABASE_URL", databases[0].url_text()),
        ("KEY_FILE", in_folder("vault.key")),
        ("TOKENS_FILE", in_folder("tokens.json")),
    ];
    let registry = vec![
        ("LISTEN", addresses.registry.to_string()),
        ("DATABASE_URL", databases[1].url_text()),
        ("TOKENS_FILE", in_folder("tokens.json")),
        ("TOKEN_FILE", in_folder("tokens/connector-registry")),
        ("VAULT_ADDRESS", url(addresses.vault)),
        ("POLICY", "local".to_owned()),
    ];
    let runtime = vec![
        ("LISTEN", addresses.runtime.to_string()),
        ("TOKENS_FILE", in_folder("tokens.json")),
        ("TOKEN_FILE", in_folder("tokens/runtime-sync")),
        ("REGISTRY_ADDRESS", url(addresses.registry)),
        ("VAULT_ADDRESS", url(addresses.vault)),
        ("POLICY", "local".to_owned()),
    ];
    [
        program("secret-vault", "VAULT", vault),
        program("connector-registry", "REGISTRY", registry),
        program("runtime-sync", "RUNTIME", runtime),
    ]
}

#[tokio::test]
async fn three_programs_on_postgresql_are_one_suite() {
    let folder = tempfile::tempdir().unwrap();
    identity::issue_tokens(folder.path(), &identity::suite_tokens()).unwrap();
    let databases = [
        TestDatabase::new(Engine::Postgres).await,
        TestDatabase::new(Engine::Postgres).await,
    ];
    let addresses = Addresses {
        registry: free(),
        vault: free(),
        runtime: free(),
    };
    let programs = programs(addresses, &databases, folder.path());

    for program in &programs {
        let help = program.succeeds(&["--help"]).await;
        assert!(
            help.contains("_LISTEN") && help.contains("--check-config"),
            "{help}"
        );
        let shown = program.succeeds(&["--check-config"]).await;
        assert!(shown.contains("tokens"), "{shown}");
    }
    for program in &programs[..2] {
        let before = program.command(&[]).output();
        let before = tokio::time::timeout(LONG, before).await.unwrap().unwrap();
        assert!(
            !before.status.success(),
            "{} starts without a schema",
            program.name
        );
        program.succeeds(&["migrate", "up"]).await;
        program.succeeds(&["migrate", "status"]).await;
    }
    let mut running = Vec::new();
    for program in &programs {
        running.push(program.start().await);
    }

    work_together(addresses, folder.path()).await;
    for child in &mut running {
        let pid = rustix::process::Pid::from_raw(child.id().unwrap().cast_signed()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let status = tokio::time::timeout(LONG, child.wait())
            .await
            .unwrap()
            .unwrap();
        assert!(status.success(), "{status}");
    }
}

/// A connector with a secret, over all three.
async fn work_together(addresses: Addresses, folder: &Path) {
    let token = identity::read_token(&folder.join("tokens/caller")).unwrap();
    let caller = Clients::new(addresses, Some(token.expose()));
    let server = HttpServer::start(["prove"]);
    let connector = caller
        .connect(Connection::from(&server).secret("x-api-key", "k-1234"))
        .await;
    caller.wait_for(&connector, State::Ready).await;
    let answer = caller
        .call(&connector, "prove", r#"{"name":"x-api-key"}"#)
        .await
        .unwrap();
    assert!(
        answer.result_json.contains(&sha256_hex(b"k-1234")),
        "{}",
        answer.result_json
    );
}

#[tokio::test]
async fn a_wrong_configuration_ends_with_64_and_names_every_problem() {
    for name in ["secret-vault", "connector-registry", "runtime-sync"] {
        let mut command = Command::new(own(name));
        command.env_clear().current_dir("/").stdin(Stdio::null());
        command.args(["--tokens-file", "/nowhere/tokens.json", "--check-config"]);
        let output = command.output().await.unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(64), "{name}: {said}");
        assert!(!said.is_empty(), "{name}");
    }
}
