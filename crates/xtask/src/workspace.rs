//! Where things lie: the workspace, its target folder, the tools in it. Decides nothing.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

/// The folders that every command needs.
pub(crate) struct Workspace {
    root: PathBuf,
    target: PathBuf,
}

impl Workspace {
    /// Asks cargo, since the target folder may have been moved by the environment or a configuration file.
    pub(crate) fn find() -> Result<Self> {
        let output = Command::new(env!("CARGO"))
            .args(["metadata", "--no-deps", "--format-version", "1"])
            .output()
            .context("cargo metadata does not start")?;
        ensure!(
            output.status.success(),
            "cargo metadata: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
        let metadata: serde_json::Value =
            serde_json::from_slice(&output.stdout).context("cargo metadata printed no JSON")?;
        let folder = |key: &str| {
            let path = metadata.get(key).and_then(serde_json::Value::as_str);
            path.map(PathBuf::from)
                .with_context(|| format!("cargo metadata without {key}"))
        };
        Ok(Self {
            root: folder("workspace_root")?,
            target: folder("target_directory")?,
        })
    }

    /// The folder of the top-level manifest.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Where programs from elsewhere are installed; the tests look for them here too.
    pub(crate) fn tools(&self) -> PathBuf {
        self.target.join("tools")
    }

    /// The pinned lists of those programs.
    pub(crate) fn pinned(&self) -> PathBuf {
        self.root.join("tests/fixtures/servers")
    }

    /// A command that runs in the workspace's root.
    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.root);
        command
    }

    /// The cargo that started us.
    pub(crate) fn cargo(&self, arguments: &[&str]) -> Command {
        let mut command = self.command(env!("CARGO"));
        command.args(arguments);
        command
    }
}

/// Whether a program can be started at all, with an argument that only asks for its version.
pub(crate) fn answers(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}
