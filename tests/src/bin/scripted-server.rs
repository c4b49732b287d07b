//! An MCP server over standard input and output for the tests: `serve MARK TOOLS` behaves, `misbehave MARK HOW`
//! does not. The misbehaving ones speak the protocol by hand, since no library would help them to it.
#![expect(
    clippy::unwrap_used,
    reason = "a test server that cannot write may die"
)]

use std::io::{BufRead as _, Write as _};
use std::process::{Command, Stdio};
use std::thread;

use clap::Parser;
use integration_tests::{Misbehaviour, Script};
use rmcp::ServiceExt as _;
use serde_json::{Value, json};

#[derive(Parser)]
enum Arguments {
    /// Behave.
    Serve { mark: String, tools: String },
    /// Do not.
    Misbehave { mark: String, how: Misbehaviour },
}

fn main() {
    match Arguments::parse() {
        Arguments::Serve { mark: _, tools } => serve(&tools),
        Arguments::Misbehave { mark, how } => misbehave(&mark, how),
    }
}

fn serve(tools: &str) {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().build().unwrap();
    let script = Script::with_tools(tools.split(','));
    runtime.block_on(async {
        let transport = rmcp::transport::io::stdio();
        // The client hanging up is the normal end.
        if let Ok(service) = script.serve(transport).await {
            drop(service.waiting().await);
        }
    });
    // Standard input is read on a thread that cannot be stopped.
    runtime.shutdown_background();
}

fn misbehave(mark: &str, how: Misbehaviour) {
    match how {
        Misbehaviour::FloodsStderr => {
            thread::spawn(|| {
                let line = format!("{}\n", "flood ".repeat(200));
                while std::io::stderr().write_all(line.as_bytes()).is_ok() {}
            });
        }
        Misbehaviour::Garbage => {
            thread::spawn(|| {
                loop {
                    say("this is not JSON at all, and it never ends");
                    thread::park_timeout(std::time::Duration::from_millis(1));
                }
            });
        }
        Misbehaviour::Forks => have_children(mark),
        _ => {}
    }
    for line in std::io::stdin().lock().lines() {
        let Ok(line) = line else { return };
        let Ok(message) = serde_json::from_str::<Value>(&line) else {
            continue;
        };
        let Some(id) = message.get("id").filter(|id| !id.is_null()) else {
            continue;
        };
        if matches!(how, Misbehaviour::Silent | Misbehaviour::Garbage) {
            continue;
        }
        let method = message
            .get("method")
            .and_then(Value::as_str)
            .unwrap_or_default();
        say(&answer(how, id, method));
        match (how, method) {
            (Misbehaviour::Dies, "tools/list") => std::process::exit(3),
            (Misbehaviour::Deaf, "tools/list") => loop {
                thread::park();
            },
            _ => {}
        }
    }
    if how == Misbehaviour::Forks {
        // It ignores that its client has gone, as many servers do.
        loop {
            thread::park();
        }
    }
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    if out
        .write_all(line.as_bytes())
        .and_then(|()| out.write_all(b"\n"))
        .is_err()
    {
        std::process::exit(0);
    }
    drop(out.flush());
}

fn answer(how: Misbehaviour, id: &Value, method: &str) -> String {
    let tool = json!({ "name": "work", "inputSchema": { "type": "object" } });
    let result = match method {
        "initialize" => json!({
            "protocolVersion": "2025-11-25",
            "capabilities": { "tools": {} },
            "serverInfo": { "name": "misbehaving", "version": "1.0.0" },
        }),
        "ping" => json!({}),
        "tools/list" if how == Misbehaviour::RepeatsCursor => {
            json!({ "tools": [tool], "nextCursor": "again" })
        }
        "tools/list" => json!({ "tools": [tool] }),
        "tools/call" if how == Misbehaviour::HugeAnswer => {
            let text = "x".repeat(100 * 1024 * 1024);
            json!({ "content": [{ "type": "text", "text": text }] })
        }
        "tools/call" => json!({ "content": [{ "type": "text", "text": "done" }] }),
        _ => {
            let error = json!({ "code": -32601, "message": "no such method" });
            return json!({ "jsonrpc": "2.0", "id": id, "error": error }).to_string();
        }
    };
    json!({ "jsonrpc": "2.0", "id": id, "result": result }).to_string()
}

/// One child of ours in a session of its own, and one that nobody remembers: its parent is gone at once.
#[expect(clippy::zombie_processes, reason = "misbehaving is its purpose")]
fn have_children(mark: &str) {
    let ignoring = format!("trap '' TERM HUP INT QUIT; exec sleep {mark}");
    let forgotten = format!("trap '' TERM HUP INT QUIT; sleep {mark} & exit 0");
    for script in [ignoring, forgotten] {
        let mut child = Command::new("/usr/bin/setsid");
        child.args(["/bin/sh", "-c", &script]);
        child
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        child.spawn().unwrap();
    }
}
