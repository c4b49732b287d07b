//! The real program: `patchbay up` as a process of its own, to be looked at from outside and killed.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::process::{Child, Command};

use crate::clients::{Addresses, Clients};
use crate::eventually::{LONG, eventually};
use crate::programs;

/// A running `patchbay up` over a data folder that outlives it.
pub struct Up {
    folder: PathBuf,
    child: Child,
    addresses: Addresses,
    started_in: Duration,
}

impl Up {
    /// Starts it on free ports and waits until it is ready.
    ///
    /// # Panics
    /// When it ends, or is not ready in time; its log is in the failure text.
    pub async fn start(folder: &Path) -> Self {
        Self::start_with(folder, &[]).await
    }

    /// The same with more options of `patchbay up`.
    ///
    /// # Panics
    /// When it ends, or is not ready in time; its log is in the failure text.
    pub async fn start_with(folder: &Path, options: &[&str]) -> Self {
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(folder.join("up.log"))
            .unwrap();
        let data = folder.join("data");
        let addresses_file = data.join("addresses.json");
        // What a killed process left behind says nothing about this one.
        drop(fs::remove_file(&addresses_file));
        let mut command = Command::new(programs::own("patchbay"));
        command.arg("up").arg("--data-dir").arg(&data);
        for option in ["--registry-listen", "--vault-listen", "--runtime-listen"] {
            command.args([option, "127.0.0.1:0"]);
        }
        command.args(options);
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        let begun = std::time::Instant::now();
        let mut child = command.kill_on_drop(true).spawn().unwrap();
        let addresses = eventually("patchbay up is ready", LONG, async || {
            let said = fs::read_to_string(folder.join("up.log")).unwrap_or_default();
            if let Some(status) = child.try_wait().unwrap() {
                panic!("patchbay up ended: {status}\n{said}");
            }
            let text =
                fs::read_to_string(&addresses_file).map_err(|error| format!("{error}\n{said}"))?;
            read_addresses(&text).ok_or_else(|| format!("addresses.json: {text}"))
        })
        .await;
        let started_in = begun.elapsed();
        Self {
            folder: folder.to_owned(),
            child,
            addresses,
            started_in,
        }
    }

    /// Clients with the token of a role, as the data folder has it.
    ///
    /// # Panics
    /// When there is no such token.
    #[must_use]
    pub fn clients(&self, role: &str) -> Clients {
        let token = fs::read_to_string(self.data().join("tokens").join(role)).unwrap();
        Clients::new(self.addresses, Some(token.trim()))
    }

    /// Where its services listen.
    #[must_use]
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// The data folder.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// Everything it wrote to standard output and standard error, in all its lives.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("up.log")).unwrap_or_default()
    }

    /// Its process id.
    ///
    /// # Panics
    /// When it has ended.
    #[must_use]
    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id().unwrap()).unwrap()
    }

    /// How long it took from the start of the process to its readiness.
    #[must_use]
    pub fn started_in(&self) -> Duration {
        self.started_in
    }

    /// kill -9.
    ///
    /// # Panics
    /// When it has ended already.
    pub async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// SIGTERM, and wait for a clean end.
    ///
    /// # Panics
    /// When it does not end in time, or not with success.
    pub async fn terminate(mut self) {
        let pid = rustix::process::Pid::from_raw(self.pid()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let status = tokio::time::timeout(LONG, self.child.wait()).await;
        let status =
            status.unwrap_or_else(|_| panic!("still running after SIGTERM: {}", self.log()));
        assert!(
            status.as_ref().unwrap().success(),
            "{status:?}: {}",
            self.log()
        );
    }
}

/// The addresses of the three services, whatever else the file says.
fn read_addresses(text: &str) -> Option<Addresses> {
    let value: Value = serde_json::from_str(text).ok()?;
    let address = |service: &str| value.get(service)?.as_str()?.parse::<SocketAddr>().ok();
    Some(Addresses {
        registry: address("registry")?,
        vault: address("vault")?,
        runtime: address("runtime")?,
    })
}
