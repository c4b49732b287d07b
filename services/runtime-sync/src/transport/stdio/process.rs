//! Starting a server under the guard, with pipes that are ours.
//!
//! Invariants: the server gets exactly the environment it is given; nothing of it stands on a command line or in the
//! guard's environment; every descriptor is close-on-exec, so no other child ever inherits one. Judging the command
//! is the policy's; ending it is the guard's.

use std::{
    borrow::Cow,
    io,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::net::UnixStream as StdUnixStream,
    },
    path::PathBuf,
    process::Stdio,
};

use rustix::pipe::{PipeFlags, pipe_with};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf, pipe},
    },
    process::{Child, Command},
    time::timeout,
};

use super::super::{error::OpenError, options::OpenOptions, target::StdioTarget};
use crate::{
    domain::{FailureCode, Stage},
    stdio_guard::protocol::{Graces, ProcessLimits, Report, Request, StartFailure, send_head},
};

/// A server that runs.
pub(super) struct Process {
    pub(super) stdin: pipe::Sender,
    pub(super) stdout: pipe::Receiver,
    pub(super) stderr: pipe::Receiver,
    pub(super) guard: Child,
    pub(super) reports: BufReader<OwnedReadHalf>,
    pub(super) orders: OwnedWriteHalf,
    pub(super) pid: i32,
}

/// Judges the command, starts guard and server, and waits until the server runs.
pub(super) async fn start(
    target: &StdioTarget,
    options: &OpenOptions,
) -> Result<Process, OpenError> {
    let command = options
        .egress
        .policy()
        .check_command(options.scope, &target.command, &target.args)
        .map_err(OpenError::refused)?;
    let request = encode(&request(command, target, options)?)?;
    let pipes = Pipes::new().map_err(no_room)?;
    let (ours, theirs) = StdUnixStream::pair().map_err(no_room)?;
    let guard = Command::new(&options.guard)
        .arg("stdio-guard")
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(no_room)?;
    let started = async {
        let streams = pipes.theirs.each_ref().map(|fd| fd.as_fd());
        send_head(&ours, request.expose().len(), streams).map_err(no_guard)?;
        ours.set_nonblocking(true).map_err(no_guard)?;
        let (reports, mut orders) = UnixStream::from_std(ours).map_err(no_guard)?.into_split();
        orders.write_all(request.expose()).await.map_err(no_guard)?;
        let mut reports = BufReader::new(reports);
        let pid = match next_report(&mut reports).await.map_err(no_guard)? {
            Some(Report::Started { pid }) => pid,
            Some(Report::Failed(failure)) => return Err(not_started(failure)),
            Some(Report::Exited { .. }) | None => {
                return Err(no_guard(io::ErrorKind::UnexpectedEof.into()));
            }
        };
        Ok((reports, orders, pid))
    };
    let (reports, orders, pid) = timeout(options.limits.spawn, started)
        .await
        .map_err(|_| too_slow())??;
    // Our copies of the server's ends must go, or its output would never end.
    drop(pipes.theirs);
    let [stdin, stdout, stderr] = pipes.ours;
    Ok(Process {
        stdin: pipe::Sender::from_owned_fd(stdin).map_err(no_room)?,
        stdout: pipe::Receiver::from_owned_fd(stdout).map_err(no_room)?,
        stderr: pipe::Receiver::from_owned_fd(stderr).map_err(no_room)?,
        guard,
        reports,
        orders,
        pid,
    })
}

/// The next report of the guard; `None` when it has ended.
pub(super) async fn next_report(
    reports: &mut BufReader<OwnedReadHalf>,
) -> io::Result<Option<Report>> {
    let mut line = String::new();
    if reports.read_line(&mut line).await? == 0 {
        return Ok(None);
    }
    Ok(Some(serde_json::from_str(&line)?))
}

struct Pipes {
    ours: [OwnedFd; 3],
    theirs: [OwnedFd; 3],
}

impl Pipes {
    fn new() -> io::Result<Self> {
        let (stdin_read, stdin_write) = pipe_with(PipeFlags::CLOEXEC)?;
        let (stdout_read, stdout_write) = pipe_with(PipeFlags::CLOEXEC)?;
        let (stderr_read, stderr_write) = pipe_with(PipeFlags::CLOEXEC)?;
        // Each end has flags of its own, so only ours do not block.
        for ours in [&stdin_write, &stdout_read, &stderr_read] {
            rustix::io::ioctl_fionbio(ours, true)?;
        }
        Ok(Self {
            ours: [stdin_write, stdout_read, stderr_read],
            theirs: [stdin_read, stdout_write, stderr_write],
        })
    }
}

fn request<'a>(
    command: String,
    target: &'a StdioTarget,
    options: &'a OpenOptions,
) -> Result<Request<'a>, OpenError> {
    let base = options
        .base_environment
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));
    let own = target
        .env
        .iter()
        .map(|(name, value)| (name.as_str(), value.expose()));
    let env: Vec<(Cow<'a, str>, Cow<'a, str>)> = base
        .chain(own)
        .map(|(name, value)| (Cow::Borrowed(name), Cow::Borrowed(value)))
        .collect();
    let usable = |(name, value): &(Cow<'_, str>, Cow<'_, str>)| {
        !name.is_empty() && !name.contains(['=', '\0']) && !value.contains('\0')
    };
    if !env.iter().all(usable) {
        return Err(OpenError::new(
            FailureCode::InvalidUrl,
            Stage::Policy,
            "an environment variable has a name or value that no process can have",
        ));
    }
    let limits = &options.limits;
    Ok(Request {
        command: Cow::Owned(command),
        args: target
            .args
            .iter()
            .map(|arg| Cow::Borrowed(arg.as_str()))
            .collect(),
        env,
        cwd: target.cwd.clone().unwrap_or_else(|| PathBuf::from("/")),
        limits: ProcessLimits {
            open_files: limits.open_files,
        },
        graces: Graces {
            eof: limits.eof_grace,
            term: limits.term_grace,
        },
    })
}

fn encode(request: &Request<'_>) -> Result<sensitive::Bytes, OpenError> {
    let texts = request
        .args
        .iter()
        .chain(request.env.iter().flat_map(|(name, value)| [name, value]));
    // Large enough that the buffer is not moved while it grows, which would leave secrets behind in freed memory.
    let size = 1024 + texts.map(|text| 2 * text.len() + 8).sum::<usize>();
    let mut buffer = Vec::with_capacity(size);
    serde_json::to_writer(&mut buffer, request).map_err(|error| no_guard(error.into()))?;
    Ok(sensitive::Bytes::new(buffer))
}

fn not_started(failure: StartFailure) -> OpenError {
    let (code, message) = match failure {
        StartFailure::NotFound => (FailureCode::CommandNotFound, "the command was not found"),
        StartFailure::NotExecutable => (
            FailureCode::CommandNotFound,
            "the command cannot be executed",
        ),
        StartFailure::NoDirectory => (
            FailureCode::CommandNotFound,
            "the working directory does not exist",
        ),
        StartFailure::NoResources => (
            FailureCode::ConnectionFailed,
            "the machine has no room for another process, or the command line is too long",
        ),
    };
    OpenError::new(code, Stage::Connect, message)
}

fn no_room(error: io::Error) -> OpenError {
    tracing::warn!(%error, "no pipes or process for a server");
    OpenError::new(
        FailureCode::ConnectionFailed,
        Stage::Connect,
        "the machine has no room for another process",
    )
}

fn no_guard(error: io::Error) -> OpenError {
    tracing::warn!(%error, "the guard process did not start");
    OpenError::new(
        FailureCode::ConnectionFailed,
        Stage::Connect,
        "the guard of the process could not be started",
    )
}

fn too_slow() -> OpenError {
    OpenError::new(
        FailureCode::Timeout,
        Stage::Connect,
        "the process was not started in time",
    )
}
