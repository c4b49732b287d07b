//! The checks that need no test run: clippy, the protos, the compose file, the dependency rules.

use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::Result;

use crate::gates::Gates;
use crate::servers;
use crate::workspace::{Workspace, answers};

/// Everything of this module, formatting included.
pub(crate) fn run(workspace: &Workspace) -> Result<ExitCode> {
    let mut gates = Gates::new();
    gates.command("format", workspace.cargo(&["fmt", "--all", "--check"]));
    gates.check("real servers", || servers::install(workspace));
    after_build(workspace, &mut gates);
    Ok(gates.finish())
}

/// What comes after the tests: none of it can change what they found.
pub(crate) fn after_build(workspace: &Workspace, gates: &mut Gates) {
    let mut clippy = workspace.cargo(&["clippy", "--workspace", "--all-targets", "--locked"]);
    clippy.args(["--", "-D", "warnings"]);
    gates.command("clippy", clippy);
    buf(workspace, gates);
    compose(workspace, gates);
    deny(workspace, gates);
}

fn buf(workspace: &Workspace, gates: &mut Gates) {
    let program = servers::buf(workspace);
    let protos = workspace.root().join("proto");
    for (name, arguments) in [
        ("buf lint", &["lint"][..]),
        ("buf format", &["format", "--diff", "--exit-code"]),
    ] {
        let mut command = Command::new(&program);
        command.current_dir(&protos).args(arguments);
        gates.command(name, command);
    }
}

fn compose(workspace: &Workspace, gates: &mut Gates) {
    let file = workspace.root().join("docker-compose.yml");
    let Some(mut command) = compose_command(workspace.root()) else {
        let how = "neither docker-compose (version 2) nor `docker compose` is installed";
        return gates.missing("compose file", how);
    };
    command.arg("-f").arg(file).args(["config", "--quiet"]);
    gates.command("compose file", command);
}

/// Version 1 reads another language, so a bare `docker-compose` has to say that it is newer.
fn compose_command(root: &Path) -> Option<Command> {
    let build = |words: &[&str]| {
        let (program, rest) = words.split_first()?;
        let mut command = Command::new(program);
        command.current_dir(root).args(rest);
        Some(command)
    };
    let plugin: &[&str] = &["docker", "compose"];
    [plugin, &["docker-compose"]].into_iter().find_map(|words| {
        let mut question = build(words)?;
        let answer = question.args(["version", "--short"]).output().ok()?;
        let newer = answer.status.success() && !answer.stdout.starts_with(b"1.");
        if newer { build(words) } else { None }
    })
}

fn deny(workspace: &Workspace, gates: &mut Gates) {
    if !answers(&mut workspace.cargo(&["deny", "--version"])) {
        let how = "cargo-deny is not installed: licences and bans are unchecked";
        return gates.missing("dependencies", how);
    }
    let words = ["deny", "check", "bans", "licenses", "sources"];
    gates.command("dependencies", workspace.cargo(&words));
}
