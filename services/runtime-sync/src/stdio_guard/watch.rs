//! Starting the server, reaping everything, and ending everything.
//!
//! Invariant: phases only go forward, from running over draining and terminating to killing, and `until_all_gone`
//! returns `Ok` only when the kernel says that no child is left.

use std::{
    io,
    io::Read as _,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::{net::UnixStream, process::CommandExt as _},
    },
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    process::{Pid, PidfdFlags, Signal, WaitOptions, getpid, kill_process_group, pidfd_open, wait},
};

use super::{
    descendants,
    protocol::{Graces, Order, Report, Request, StartFailure, Streams, send_report},
};

/// How soon an adopted orphan that ended is reaped while all is well.
const REAP_TICK: Duration = Duration::from_secs(1);
/// How often the end of the descendants is looked for once they are to end.
const ENDING_TICK: Duration = Duration::from_millis(10);
/// A process that survives SIGKILL this long hangs in the kernel; nothing can be done about it.
const KILL_LIMIT: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Copy)]
enum Phase {
    Running,
    /// End of file was sent; the server may end by itself.
    Draining {
        until: Instant,
    },
    /// SIGTERM was sent.
    Terminating {
        until: Instant,
    },
    /// SIGKILL is sent again and again.
    Killing {
        until: Instant,
    },
}

/// Starts the server with its own streams, environment and process group.
pub(super) fn start(request: Request<'_>, streams: Streams) -> Result<Pid, StartFailure> {
    if !request.cwd.is_dir() {
        return Err(StartFailure::NoDirectory);
    }
    let Streams([stdin, stdout, stderr]) = streams;
    let child = Command::new(&*request.command)
        .args(request.args.iter().map(|arg| &**arg))
        .env_clear()
        .envs(request.env.iter().map(|(name, value)| (&**name, &**value)))
        .current_dir(&request.cwd)
        .stdin(Stdio::from(stdin))
        .stdout(Stdio::from(stdout))
        .stderr(Stdio::from(stderr))
        .process_group(0)
        .spawn()
        .map_err(|error| start_failure(&error))?;
    // The child is reaped with all others; dropping the handle does nothing.
    i32::try_from(child.id())
        .ok()
        .and_then(Pid::from_raw)
        .ok_or(StartFailure::NoResources)
}

fn start_failure(error: &io::Error) -> StartFailure {
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NAMETOOLONG) => {
            StartFailure::NotFound
        }
        Some(Errno::ACCESS | Errno::PERM | Errno::NOEXEC | Errno::ISDIR) => {
            StartFailure::NotExecutable
        }
        _ => StartFailure::NoResources,
    }
}

/// Reaps until no child is left, ending them all when told to, when the service is gone, or when the server ended.
pub(super) fn until_all_gone(control: &UnixStream, server: Pid, graces: Graces) -> io::Result<()> {
    // Without a descriptor of the process its end is noticed by the tick.
    let mut watch = Watch {
        control: Some(control),
        server,
        pidfd: pidfd_open(server, PidfdFlags::empty()).ok(),
        graces,
    };
    let mut phase = Phase::Running;
    loop {
        let (ended, reaped) = watch.reap(control)?;
        if ended {
            return Ok(());
        }
        if reaped && matches!(phase, Phase::Running | Phase::Draining { .. }) {
            phase = watch.terminate();
        }
        phase = watch.advance(phase);
        if let Phase::Killing { until } = phase
            && Instant::now() >= until
        {
            return Err(io::ErrorKind::TimedOut.into());
        }
        if let Some(order) = watch.wait(phase)? {
            phase = watch.obey(order, phase);
        }
    }
}

struct Watch<'a> {
    control: Option<&'a UnixStream>,
    server: Pid,
    pidfd: Option<OwnedFd>,
    graces: Graces,
}

impl Watch<'_> {
    /// Reaps what has ended. Says whether no child is left, and whether the server was among them.
    fn reap(&mut self, control: &UnixStream) -> io::Result<(bool, bool)> {
        let mut server_ended = false;
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) if pid == self.server => {
                    server_ended = true;
                    self.pidfd = None;
                    let (code, signal) = (status.exit_status(), status.terminating_signal());
                    let _service_gone = send_report(control, &Report::Exited { code, signal });
                }
                Ok(Some(_)) => {}
                Ok(None) => return Ok((false, server_ended)),
                Err(Errno::CHILD) => return Ok((true, server_ended)),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn terminate(&self) -> Phase {
        descendants::signal_all(getpid(), Signal::TERM);
        // A stopped process handles SIGTERM only once it goes on.
        descendants::signal_all(getpid(), Signal::CONT);
        Phase::Terminating {
            until: Instant::now() + self.graces.term,
        }
    }

    fn obey(&self, order: Order, phase: Phase) -> Phase {
        match (order, phase) {
            (Order::Stop, Phase::Running) => Phase::Draining {
                until: Instant::now() + self.graces.eof,
            },
            (Order::Kill, Phase::Running | Phase::Draining { .. } | Phase::Terminating { .. }) => {
                Phase::Killing {
                    until: Instant::now() + KILL_LIMIT,
                }
            }
            (Order::Stop | Order::Kill, phase) => phase,
        }
    }

    fn advance(&self, phase: Phase) -> Phase {
        let now = Instant::now();
        match phase {
            Phase::Draining { until } if now >= until => self.terminate(),
            Phase::Terminating { until } if now >= until => self.kill(now + KILL_LIMIT),
            Phase::Killing { until } => self.kill(until),
            Phase::Running | Phase::Draining { .. } | Phase::Terminating { .. } => phase,
        }
    }

    fn kill(&self, until: Instant) -> Phase {
        // There is a child, or this would be over: finding none means that there is no /proc.
        if descendants::signal_all(getpid(), Signal::KILL) == 0 {
            let _gone = kill_process_group(self.server, Signal::KILL);
        }
        Phase::Killing { until }
    }

    /// Waits for an order, the server's end, or the next tick.
    fn wait(&mut self, phase: Phase) -> io::Result<Option<Order>> {
        let tick = match phase {
            Phase::Running if self.pidfd.is_some() => REAP_TICK,
            Phase::Running
            | Phase::Draining { .. }
            | Phase::Terminating { .. }
            | Phase::Killing { .. } => ENDING_TICK,
        };
        let timeout = Timespec {
            tv_sec: tick.as_secs().cast_signed(),
            tv_nsec: tick.subsec_nanos().into(),
        };
        let mut fds = Vec::with_capacity(2);
        if let Some(control) = self.control {
            fds.push(PollFd::from_borrowed_fd(control.as_fd(), PollFlags::IN));
        }
        let orders = !fds.is_empty();
        if let Some(pidfd) = &self.pidfd {
            fds.push(PollFd::from_borrowed_fd(pidfd.as_fd(), PollFlags::IN));
        }
        match poll(&mut fds, Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        if !orders || fds[0].revents().is_empty() {
            return Ok(None);
        }
        Ok(self.read_order())
    }

    fn read_order(&mut self) -> Option<Order> {
        let mut byte = [0];
        let read = self.control.map(|mut control| control.read(&mut byte));
        match read {
            Some(Ok(1)) => Order::from_byte(byte[0]),
            Some(Err(error)) if error.kind() == io::ErrorKind::Interrupted => None,
            // End of file or a broken socket: the service is gone.
            Some(_) | None => {
                self.control = None;
                Some(Order::Stop)
            }
        }
    }
}
