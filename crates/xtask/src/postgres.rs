//! The PostgreSQL that the tests use: the one on this machine if it lets us in, else one of our own,
//! started from local binaries on a free port and stopped again.
//!
//! Each test makes and drops its own databases with unique names; nothing else on the server is touched.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use crate::console;

mod account;
mod probe;

/// The usual port, where a developer or CI keeps a server for tests.
const USUAL_PORT: u16 = 5432;
const START_LIMIT: Duration = Duration::from_secs(60);

/// A server that accepts the user `postgres` without a password.
pub(crate) struct Postgres {
    port: u16,
    own: Option<Own>,
}

struct Own {
    server: Child,
    binaries: PathBuf,
    // Removed with everything in it when the server is gone.
    folder: tempfile::TempDir,
}

impl Postgres {
    /// Takes what is there, else starts one.
    pub(crate) fn find_or_start() -> Result<Self> {
        if probe::lets_us_in(USUAL_PORT) {
            console::line(&format!("using the server on 127.0.0.1:{USUAL_PORT}"));
            return Ok(Self {
                port: USUAL_PORT,
                own: None,
            });
        }
        let binaries = binaries()?;
        let port = probe::free_port()?;
        let own = Own::start(binaries, port)?;
        console::line(&format!("started a server of our own on 127.0.0.1:{port}"));
        Ok(Self {
            port,
            own: Some(own),
        })
    }

    /// What the tests get: the database from which they make their own.
    pub(crate) fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// Stops a server of our own; the machine's is left alone.
    pub(crate) fn stop(self) -> Result<()> {
        match self.own {
            Some(own) => own.stop(),
            None => Ok(()),
        }
    }
}

impl Own {
    fn start(binaries: PathBuf, port: u16) -> Result<Self> {
        let folder = tempfile::tempdir().context("no temporary folder")?;
        account::give_to_postgres(folder.path())?;
        let data = folder.path().join("data");
        let mut initdb = account::as_postgres(&binaries.join("initdb"), folder.path())?;
        initdb.args([
            "--username=postgres",
            "--auth=trust",
            "--encoding=UTF8",
            "--no-sync",
        ]);
        let made = initdb
            .arg("-D")
            .arg(&data)
            .output()
            .context("initdb does not start")?;
        ensure!(
            made.status.success(),
            "initdb: {}",
            String::from_utf8_lossy(&made.stderr)
        );

        let mut postgres = account::as_postgres(&binaries.join("postgres"), folder.path())?;
        postgres.arg("-D").arg(&data).arg("-k").arg(folder.path());
        postgres.args(["-h", "127.0.0.1", "-p", &port.to_string()]);
        // The data is thrown away, so it need not survive a power cut.
        postgres.args(["-c", "fsync=off", "-c", "max_connections=300"]);
        postgres
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let server = postgres.spawn().context("postgres does not start")?;
        let mut own = Self {
            server,
            binaries,
            folder,
        };
        own.wait(port)?;
        Ok(own)
    }

    fn wait(&mut self, port: u16) -> Result<()> {
        let begun = Instant::now();
        while !probe::lets_us_in(port) {
            if let Some(status) = self.server.try_wait().context("postgres is lost")? {
                bail!("postgres ended at its start: {status}");
            }
            ensure!(
                begun.elapsed() < START_LIMIT,
                "postgres did not answer in {START_LIMIT:?}"
            );
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    fn stop(mut self) -> Result<()> {
        let mut stop = account::as_postgres(&self.binaries.join("pg_ctl"), self.folder.path())?;
        stop.args(["stop", "--mode=fast", "-D"])
            .arg(self.folder.path().join("data"));
        let stopped = stop.output().context("pg_ctl does not start")?;
        ensure!(
            stopped.status.success(),
            "pg_ctl: {}",
            String::from_utf8_lossy(&stopped.stderr)
        );
        self.server.wait().context("postgres is lost")?;
        Ok(())
    }
}

/// Only a start that went wrong comes here with a living server; `stop` has waited for its end.
impl Drop for Own {
    fn drop(&mut self) {
        if let Err(error) = self.server.kill() {
            console::line(&format!("postgres is left behind: {error}"));
        }
    }
}

/// The folder with the server's programs: Debian keeps them out of the path, newest version last.
fn binaries() -> Result<PathBuf> {
    let mut folders: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .map(|versions| {
            versions
                .flatten()
                .map(|version| version.path().join("bin"))
                .collect()
        })
        .unwrap_or_default();
    folders.sort_by_key(|folder| {
        let version = folder
            .parent()
            .and_then(|parent| parent.file_name()?.to_str()?.parse().ok());
        version.unwrap_or(0_u32)
    });
    if let Some(folder) = folders
        .into_iter()
        .rev()
        .find(|folder| folder.join("initdb").exists())
    {
        return Ok(folder);
    }
    // pg_config stands in the path where the server's own programs do, and knows their folder.
    let asked = Command::new("pg_config").arg("--bindir").output().ok();
    let folder = asked.map(|output| PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
    folder.filter(|folder| folder.join("initdb").exists()).context(
        "no PostgreSQL: install its server (Debian: `apt-get install postgresql`), or start one on \
         127.0.0.1:5432 that lets user postgres in without a password",
    )
}
