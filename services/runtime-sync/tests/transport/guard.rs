//! What the guard promises: nothing that a server started is left, and how it ended is known.

use std::time::Duration;

use runtime_sync::transport::{
    FailureCode, LinkEnd, OpenError, Stage, StdioTarget, Target, WireErrorKind, open,
};
use tokio::time::Instant;

use crate::support::{
    call, close, command, ended, eventually, exists, link, options, python, raw, runs, said, shell,
    within,
};

/// Forks three grandchildren: in a session of its own, double-forked, and deaf to SIGTERM.
const FAMILY: &str = r#"
import os, signal, sys, time
ready, told = os.pipe()
def say():
    # In one write, so that no two lines mix.
    os.write(2, b"family %d\n" % os.getpid())
    os.write(told, b".")
def child(action):
    if os.fork() == 0:
        action()
        time.sleep(1000)
        os._exit(0)
def orphan():
    os.setsid()
    if os.fork() > 0:
        os._exit(0)
    say()
def deaf():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    say()
def session():
    os.setsid()
    say()
for action in (session, orphan, deaf):
    child(action)
say()
for _ in range(4):
    os.read(ready, 1)
"#;

async fn family(link: &runtime_sync::transport::Link) -> Vec<String> {
    let stderr = link.stderr.clone().expect("a stdio link");
    let mut pids: Vec<String> = Vec::new();
    eventually("four of a family", || {
        pids = stderr
            .lines()
            .iter()
            .filter_map(|line| line.text.strip_prefix("family ").map(str::to_owned))
            .collect();
        if pids.len() == 4 {
            Ok(())
        } else {
            Err(pids.clone())
        }
    })
    .await;
    pids
}

async fn all_gone(pids: &[String]) {
    eventually("nobody left", || {
        let left: Vec<&String> = pids.iter().filter(|pid| runs(pid)).collect();
        if left.is_empty() {
            Ok(())
        } else {
            Err(format!("{left:?}"))
        }
    })
    .await;
}

#[tokio::test]
async fn closing_leaves_no_descendant_whatever_it_did() {
    let script = format!("{FAMILY}\ntime.sleep(1000)");
    let link = link(&python(&script), &options()).await;
    let pids = family(&link).await;
    assert_eq!(close(link).await, LinkEnd::Closed);
    let left: Vec<&String> = pids.iter().filter(|pid| exists(pid)).collect();
    assert!(
        left.is_empty(),
        "when close returns, they are gone and reaped: {left:?}"
    );
}

#[tokio::test]
async fn dropping_a_link_is_enough_to_end_everything() {
    let script = format!("{FAMILY}\ntime.sleep(1000)");
    let link = link(&python(&script), &options()).await;
    let pids = family(&link).await;
    drop(link);
    all_gone(&pids).await;
}

#[tokio::test]
async fn descendants_do_not_outlive_a_server_that_ends_by_itself() {
    let link = link(&python(FAMILY), &options()).await;
    let pids = family(&link).await;
    assert_eq!(
        ended(&link).await,
        LinkEnd::ProcessExited {
            code: Some(0),
            signal: None
        }
    );
    all_gone(&pids).await;
}

#[tokio::test]
async fn a_server_deaf_to_eof_and_sigterm_is_killed_in_time() {
    let deaf = "import os, signal, sys, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('pid', os.getpid(), file=sys.stderr)\nwhile True: time.sleep(1)";
    let link = link(&python(deaf), &options()).await;
    let pid = said(&link, "pid ").await;
    let begun = Instant::now();
    close(link).await;
    assert!(!exists(&pid));
    assert!(
        begun.elapsed() >= Duration::from_millis(600),
        "both graces were given: {:?}",
        begun.elapsed()
    );
}

#[tokio::test]
async fn a_deadline_cuts_the_graces_short() {
    let mut options = options();
    options.limits.eof_grace = Duration::from_secs(1000);
    let link = link(
        &python(
            "import os, sys, time\nprint('pid', os.getpid(), file=sys.stderr)\ntime.sleep(1000)",
        ),
        &options,
    )
    .await;
    let pid = said(&link, "pid ").await;
    within(link.close(Instant::now() + Duration::from_millis(100))).await;
    assert!(!exists(&pid));
}

#[tokio::test]
async fn a_server_that_ends_on_eof_needs_no_signal() {
    let polite = "import os, signal, sys\nsignal.signal(signal.SIGTERM, lambda *_: os._exit(9))\nprint('ready', file=sys.stderr)\nsys.stdin.read()\nprint('bye', file=sys.stderr)";
    let mut options = options();
    options.limits.eof_grace = Duration::from_secs(20);
    let link = link(&python(polite), &options).await;
    said(&link, "ready").await;
    let stderr = link.stderr.clone().expect("a stdio link");
    close(link).await;
    assert_eq!(
        stderr
            .lines()
            .last()
            .map(|line| line.text.clone())
            .as_deref(),
        Some("bye")
    );
}

#[tokio::test]
async fn a_server_that_exits_at_once_says_how_and_what_it_printed() {
    let link = link(&shell("echo oh no >&2; exit 3"), &options()).await;
    assert_eq!(
        ended(&link).await,
        LinkEnd::ProcessExited {
            code: Some(3),
            signal: None
        }
    );
    assert_eq!(said(&link, "oh ").await, "no");
}

#[tokio::test]
async fn a_server_killed_by_a_signal_says_by_which() {
    let link = link(&shell("kill -9 $$"), &options()).await;
    assert_eq!(
        ended(&link).await,
        LinkEnd::ProcessExited {
            code: None,
            signal: Some(9)
        }
    );
}

#[tokio::test]
async fn a_lost_guard_ends_the_link_and_its_server() {
    let link = link(&python("import os, sys, time\nprint('pids', os.getpid(), os.getppid(), file=sys.stderr)\ntime.sleep(1000)"), &options()).await;
    let pids = said(&link, "pids ").await;
    let (server, guard) = pids.split_once(' ').expect("two pids");
    let killed = std::process::Command::new("kill")
        .args(["-9", guard])
        .status()
        .expect("kill runs");
    assert!(killed.success());
    assert_eq!(ended(&link).await, LinkEnd::GuardLost);
    eventually("the server is gone", || {
        if runs(server) { Err("running") } else { Ok(()) }
    })
    .await;
}

#[tokio::test]
async fn an_orphan_that_ends_is_reaped_while_the_server_lives() {
    let script = "import os, sys, time\npid = os.fork()\nif pid == 0:\n    child = os.fork()\n    if child > 0:\n        print('orphan', child, file=sys.stderr)\n    os._exit(0)\nos.waitpid(pid, 0)\ntime.sleep(1000)";
    let link = link(&python(script), &options()).await;
    let orphan = said(&link, "orphan ").await;
    eventually("no zombie", || {
        if exists(&orphan) {
            Err("a zombie")
        } else {
            Ok(())
        }
    })
    .await;
    close(link).await;
}

#[tokio::test]
async fn a_server_gets_its_own_environment_and_nothing_of_ours() {
    let mut target = shell("env | sort | sed 's/^/env /' >&2; echo done >&2; cat");
    if let Target::Stdio(StdioTarget { env, .. }) = &mut target {
        env.push((
            "API_KEY".to_owned(),
            sensitive::Text::new("s3cret".to_owned()),
        ));
    }
    let mut options = options();
    options.base_environment = vec![
        ("PATH".into(), "/usr/bin:/bin".into()),
        ("LANG".into(), "C.UTF-8".into()),
    ];
    let link = link(&target, &options).await;
    said(&link, "done").await;
    let lines = link.stderr.as_ref().expect("a stdio link").lines();
    let names: Vec<&str> = lines
        .iter()
        .filter_map(|line| line.text.strip_prefix("env ")?.split_once('='))
        .map(|(name, _)| name)
        .filter(|name| !matches!(*name, "PWD" | "SHLVL" | "_" | "OLDPWD"))
        .collect();
    assert_eq!(names, ["API_KEY", "LANG", "PATH"], "{lines:?}");
    close(link).await;
}

#[tokio::test]
async fn a_bare_name_is_looked_up_in_the_servers_path_and_not_in_ours() {
    let folder = tempfile::tempdir().expect("a folder");
    let program = folder.path().join("only-here");
    std::fs::write(&program, "#!/bin/sh\necho found >&2\n").expect("a script");
    std::fs::set_permissions(
        &program,
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .expect("mode");
    let mut options = options();
    options.base_environment = vec![(
        "PATH".into(),
        folder.path().to_str().expect("text").to_owned(),
    )];
    let link = link(&command("only-here", &[]), &options).await;
    assert_eq!(said(&link, "found").await, "");
    assert!(
        within(open(&command("sh", &[]), &options)).await.is_err(),
        "sh is in our PATH only"
    );
}

#[tokio::test]
async fn a_value_of_the_environment_is_redacted_in_what_the_server_prints() {
    let mut target = shell("echo key=$API_KEY. >&2");
    if let Target::Stdio(StdioTarget { env, .. }) = &mut target {
        env.push((
            "API_KEY".to_owned(),
            sensitive::Text::new("s3cret-value".to_owned()),
        ));
    }
    let link = link(&target, &options()).await;
    assert_eq!(said(&link, "key=").await, "[redacted].");
}

#[tokio::test]
async fn secrets_stand_on_no_command_line_and_the_server_is_confined() {
    let script = "import os, sys, time\nstatus = open('/proc/self/status').read()\nlimits = open('/proc/self/limits').read()\nprint('nnp', status.split('NoNewPrivs:')[1].split()[0], file=sys.stderr)\nprint('core', limits.split('Max core file size')[1].split()[0], file=sys.stderr)\nprint('files', limits.split('Max open files')[1].split()[0], file=sys.stderr)\nprint('group', os.getpgid(0) == os.getpid(), file=sys.stderr)\nprint('fds', sorted(int(fd) for fd in os.listdir('/proc/self/fd'))[:4], file=sys.stderr)\nprint('guard', os.getppid(), file=sys.stderr)\ntime.sleep(1000)";
    let mut target = python(script);
    if let Target::Stdio(StdioTarget { env, .. }) = &mut target {
        env.push((
            "API_KEY".to_owned(),
            sensitive::Text::new("s3cret".to_owned()),
        ));
    }
    let link = link(&target, &options()).await;
    assert_eq!(said(&link, "nnp ").await, "1");
    assert_eq!(said(&link, "core ").await, "0");
    assert_eq!(said(&link, "files ").await, "4096");
    assert_eq!(said(&link, "group ").await, "True");
    assert_eq!(
        said(&link, "fds ").await,
        "[0, 1, 2, 3]",
        "three streams, and the listing's own descriptor"
    );
    let guard = said(&link, "guard ").await;
    let command_line =
        std::fs::read_to_string(format!("/proc/{guard}/cmdline")).expect("a command line");
    assert!(
        command_line.ends_with("stdio-guard\0") && !command_line.contains("API_KEY"),
        "{command_line:?}"
    );
    let environment = std::fs::read_to_string(format!("/proc/{guard}/environ")).unwrap_or_default();
    assert!(!environment.contains("s3cret"));
    close(link).await;
}

#[tokio::test]
async fn what_cannot_be_started_says_why() {
    let mut plain = options();
    // A folder that may not be searched would make a missing program look like a forbidden one.
    plain.base_environment = vec![("PATH".into(), "/usr/bin:/bin".into())];
    let refused = async |target: Target| {
        within(open(&target, &plain))
            .await
            .map(drop)
            .expect_err("no start")
    };
    for (target, message) in [
        (
            command("/nonexistent/server", &[]),
            "the command was not found",
        ),
        (
            command("no-such-command-anywhere", &[]),
            "the command was not found",
        ),
        (
            command("/etc/passwd", &[]),
            "the command cannot be executed",
        ),
        (command("/etc", &[]), "the command cannot be executed"),
    ] {
        let expected = (FailureCode::CommandNotFound, Stage::Connect, message);
        let OpenError {
            code,
            stage,
            message,
        } = refused(target).await;
        assert_eq!((code, stage, message), expected);
    }
    let mut nowhere = command("cat", &[]);
    if let Target::Stdio(StdioTarget { cwd, .. }) = &mut nowhere {
        *cwd = Some("/nonexistent".into());
    }
    assert_eq!(
        refused(nowhere).await.message,
        "the working directory does not exist"
    );
    assert_eq!(
        refused(command("./relative", &[])).await.code,
        FailureCode::InvalidUrl
    );
    let huge = "x".repeat(4 << 20);
    assert_eq!(
        refused(command("cat", &[&huge])).await.code,
        FailureCode::ConnectionFailed
    );
    let mut unnameable = command("cat", &[]);
    if let Target::Stdio(StdioTarget { env, .. }) = &mut unnameable {
        env.push(("A=B".to_owned(), sensitive::Text::new(String::new())));
    }
    assert_eq!(refused(unnameable).await.stage, Stage::Policy);
}

#[tokio::test]
async fn by_default_a_user_may_start_nothing() {
    let options = crate::support::options_with(policy::Policy::default());
    let error = within(open(&command("cat", &[]), &options))
        .await
        .map(drop)
        .expect_err("refused");
    assert_eq!(
        (error.code, error.stage),
        (FailureCode::PolicyDenied, Stage::Policy)
    );
}

#[tokio::test]
async fn a_guard_that_cannot_be_run_is_a_failed_connection() {
    let mut options = options();
    options.guard = "/nonexistent/guard".into();
    let error = within(open(&command("cat", &[]), &options))
        .await
        .map(drop)
        .expect_err("no guard");
    assert_eq!(error.code, FailureCode::ConnectionFailed);
    options.guard = "/bin/true".into();
    let error = within(open(&command("cat", &[]), &options))
        .await
        .map(drop)
        .expect_err("no guard");
    assert_eq!(error.code, FailureCode::ConnectionFailed);
    options.guard = "/bin/sleep".into();
    options.limits.spawn = Duration::from_millis(200);
    assert!(within(open(&command("cat", &[]), &options)).await.is_err());
}

#[tokio::test]
async fn a_call_after_the_end_was_not_sent() {
    let link = link(&shell("exit 0"), &options()).await;
    ended(&link).await;
    let error = call(&link, raw("{}"))
        .await
        .expect_err("the link has ended");
    assert_eq!(error.sent, runtime_sync::transport::Sent::NotSent);
    assert!(matches!(
        error.kind,
        WireErrorKind::LinkEnded(LinkEnd::ProcessExited { code: Some(0), .. })
    ));
}
