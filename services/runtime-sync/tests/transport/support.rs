//! What the tests of links share: options, targets, calls, and waiting for a condition.

use std::{future::Future, path::PathBuf, time::Duration};

use bytes::Bytes;
use egress::{Egress, Timeouts};
use policy::{Policy, ScopeKind};
use runtime_sync::transport::{
    Era, Link, LinkEnd, OpenOptions, RawCall, RawReply, StdioTarget, Target, WireError, open,
};
use tokio::time::{Instant, interval, timeout};
use tokio_util::sync::CancellationToken;

/// Longer than anything here takes, so that only a hang meets it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn options_with(policy: Policy) -> OpenOptions {
    let timeouts = Timeouts {
        connect: Duration::from_secs(5),
        ..Timeouts::default()
    };
    let mut options = OpenOptions::new(
        Egress::new(policy, timeouts).expect("egress"),
        ScopeKind::User,
    );
    options.guard = PathBuf::from(env!("CARGO_BIN_EXE_runtime-sync"));
    options.limits.eof_grace = Duration::from_millis(300);
    options.limits.term_grace = Duration::from_millis(300);
    // The python here may be a shim that needs the tester's own PATH and HOME.
    options.base_environment = [("PATH", option_env!("PATH")), ("HOME", option_env!("HOME"))]
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())))
        .collect();
    options
}

pub(crate) fn options() -> OpenOptions {
    options_with(Policy::local())
}

pub(crate) fn command(command: &str, args: &[&str]) -> Target {
    Target::Stdio(StdioTarget {
        command: command.to_owned(),
        args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        env: Vec::new(),
        cwd: None,
    })
}

pub(crate) fn shell(script: &str) -> Target {
    command("sh", &["-c", script])
}

pub(crate) fn python(script: &str) -> Target {
    command("python3", &["-u", "-c", script])
}

pub(crate) async fn link(target: &Target, options: &OpenOptions) -> Link {
    within(open(target, options)).await.expect("the link opens")
}

pub(crate) fn raw(params: &str) -> RawCall {
    RawCall {
        method: "tools/call",
        name: Some("tool".to_owned()),
        params: Bytes::copy_from_slice(params.as_bytes()),
        era: Era::Legacy,
        protocol_version: "2025-11-25".to_owned(),
        param_headers: Vec::new(),
        max_reply: usize::MAX,
    }
}

pub(crate) fn modern(params: &str) -> RawCall {
    RawCall {
        era: Era::Modern,
        protocol_version: "2026-07-28".to_owned(),
        ..raw(params)
    }
}

pub(crate) async fn call(link: &Link, call: RawCall) -> Result<RawReply, WireError> {
    within(
        link.calls
            .call(call, Instant::now() + PATIENCE, CancellationToken::new()),
    )
    .await
}

pub(crate) async fn call_for(
    link: &Link,
    call: RawCall,
    time: Duration,
) -> Result<RawReply, WireError> {
    within(
        link.calls
            .call(call, Instant::now() + time, CancellationToken::new()),
    )
    .await
}

pub(crate) fn result(text: &str) -> Result<RawReply, WireError> {
    Ok(RawReply::Result(Bytes::copy_from_slice(text.as_bytes())))
}

pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("no hang")
}

pub(crate) async fn ended(link: &Link) -> LinkEnd {
    let mut ended = link.ended.clone();
    let end = within(ended.wait_for(Option::is_some))
        .await
        .expect("a link ends before it is gone");
    end.clone().expect("just checked")
}

pub(crate) async fn close(link: Link) -> LinkEnd {
    within(link.close(Instant::now() + Duration::from_secs(20))).await
}

/// Polls a condition; the last state is in the failure text.
pub(crate) async fn eventually<T: std::fmt::Debug>(
    what: &str,
    mut look: impl FnMut() -> Result<(), T>,
) {
    let deadline = Instant::now() + PATIENCE;
    let mut again = interval(Duration::from_millis(10));
    while let Err(state) = look() {
        assert!(Instant::now() < deadline, "{what}: still {state:?}");
        again.tick().await;
    }
}

/// Waits for a line of standard error that begins so, and gives the rest of it.
pub(crate) async fn said(link: &Link, beginning: &str) -> String {
    let stderr = link.stderr.clone().expect("a stdio link");
    let mut found = None;
    eventually(beginning, || {
        let lines = stderr.lines();
        found = lines
            .iter()
            .find_map(|line| line.text.strip_prefix(beginning).map(str::to_owned));
        found.as_ref().map(|_| ()).ok_or(lines)
    })
    .await;
    found.expect("just found")
}

/// Whether a process runs: a zombie does not.
pub(crate) fn runs(pid: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        !stat
            .rsplit(") ")
            .next()
            .unwrap_or_default()
            .starts_with(['Z', 'X'])
    })
}

pub(crate) fn exists(pid: &str) -> bool {
    std::path::Path::new(&format!("/proc/{pid}")).exists()
}

/// An HTTP endpoint with a secret header.
pub(crate) fn endpoint(url: &str) -> Target {
    Target::Http(runtime_sync::transport::HttpTarget {
        url: url.parse().expect("a URL"),
        headers: vec![(
            "x-api-key".parse().expect("a name"),
            sensitive::Text::new("s3cret".to_owned()),
        )],
    })
}
