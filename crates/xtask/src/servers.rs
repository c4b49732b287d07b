//! Programs that nobody here wrote, fetched once into `target/tools` at pinned versions: MCP servers,
//! both generations of the official conformance suite, a Node new enough for it, and buf.
//!
//! The lists and their locks lie under tests/fixtures/servers. A copy of them beside what was installed
//! tells whether it is still the right thing, so that the second run costs nothing and needs no network.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, ensure};

use crate::console;
use crate::workspace::Workspace;

/// `cargo xtask real-servers`.
pub(crate) fn run(workspace: &Workspace) -> Result<ExitCode> {
    install(workspace)?;
    console::line(&format!("installed under {}", workspace.tools().display()));
    Ok(ExitCode::SUCCESS)
}

/// Brings both package trees to their locks.
pub(crate) fn install(workspace: &Workspace) -> Result<()> {
    node_packages(workspace)?;
    python_packages(workspace)
}

/// Where buf lies once [`install`] has run.
pub(crate) fn buf(workspace: &Workspace) -> PathBuf {
    workspace
        .tools()
        .join("npm/node_modules/@bufbuild/buf-linux-x64/bin/buf")
}

fn node_packages(workspace: &Workspace) -> Result<()> {
    let folder = workspace.tools().join("npm");
    let lists = ["package.json", "package-lock.json"];
    if is_current(workspace, &folder, &lists) {
        return Ok(());
    }
    start_again(workspace, &folder, &lists)?;
    // None of the packages needs its install script; not running them is one thing less to trust.
    let mut npm = Command::new("npm");
    npm.args([
        "ci",
        "--ignore-scripts",
        "--no-audit",
        "--no-fund",
        "--loglevel",
        "error",
    ]);
    finish(&mut npm, &folder, "npm (install Node.js 20 or newer)")
}

fn python_packages(workspace: &Workspace) -> Result<()> {
    let folder = workspace.tools().join("python");
    let lists = ["requirements.txt"];
    if is_current(workspace, &folder, &lists) {
        return Ok(());
    }
    start_again(workspace, &folder, &lists)?;
    let mut venv = Command::new("python3");
    venv.args(["-m", "venv", "venv"]);
    checked(
        &mut venv,
        &folder,
        "python3 with venv (install Python 3.11 or newer)",
    )?;
    let mut pip = Command::new(folder.join("venv/bin/pip"));
    pip.args([
        "install",
        "--quiet",
        "--require-hashes",
        "-r",
        "requirements.txt",
    ]);
    finish(&mut pip, &folder, "pip")
}

/// The mark is written last, so that an installation that was cut off does not count.
const MARK: &str = "installed";

fn is_current(workspace: &Workspace, folder: &Path, lists: &[&str]) -> bool {
    let same = |list: &&str| match (
        fs::read(workspace.pinned().join(list)),
        fs::read(folder.join(list)),
    ) {
        (Ok(wanted), Ok(installed)) => wanted == installed,
        _ => false,
    };
    folder.join(MARK).exists() && lists.iter().all(same)
}

fn start_again(workspace: &Workspace, folder: &Path, lists: &[&str]) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder)
            .with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    for list in lists {
        let from = workspace.pinned().join(list);
        fs::copy(&from, folder.join(list))
            .with_context(|| format!("cannot copy {}", from.display()))?;
    }
    Ok(())
}

fn finish(command: &mut Command, folder: &Path, needs: &str) -> Result<()> {
    checked(command, folder, needs)?;
    fs::write(folder.join(MARK), "").context("cannot write the mark")
}

/// The output is kept back and shown on failure only: cargo writes at the same time.
fn checked(command: &mut Command, folder: &Path, needs: &str) -> Result<()> {
    let output = command
        .current_dir(folder)
        .output()
        .with_context(|| format!("needs {needs}"))?;
    ensure!(
        output.status.success(),
        "{needs}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}
