//! The process between the service and a stdio server: `<this program> stdio-guard`.
//!
//! Invariant: when the guard has ended by itself, nothing that the server ever started is left, whether it made its
//! own session, forked twice, or ignores every signal it can. The guard is the group leader and child subreaper of
//! all of them; it hears of the service's death by the end of its control socket, so that even `kill -9` of the
//! service leaves nothing behind. It is single-threaded, touches none of the server's data (the pipes are the
//! service's own), and makes safe calls only. Restarting is *not* here.
//!
//! (A parent-death signal would not do: it fires when a *thread* ends and spares grandchildren. `pre_exec` would be
//! unsafe, and a subreaper in the service would steal the exit statuses of the service's own children.)

mod confine;
mod descendants;
pub(crate) mod protocol;
mod watch;

use std::{
    io,
    os::{fd::AsFd as _, unix::net::UnixStream},
    process::ExitCode,
};

/// The guard's whole life. Call it before anything else in `main`: no runtime, no other thread, no logging.
///
/// Standard input is the control socket; see [`protocol`](self).
#[must_use]
pub fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        // There is nobody to tell: the service sees the control socket close without a report.
        Err(_) => ExitCode::FAILURE,
    }
}

fn run() -> io::Result<()> {
    let control = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    confine::become_guard()?;
    let (request, streams) = protocol::receive_request(&control)?;
    confine::limit(&request.limits)?;
    let graces = request.graces;
    let server = match watch::start(request, streams) {
        Ok(server) => server,
        Err(failure) => return protocol::send_report(&control, &protocol::Report::Failed(failure)),
    };
    let started = protocol::Report::Started {
        pid: server.as_raw_nonzero().get(),
    };
    // If the service is gone already, the watch below finds the closed socket and cleans up.
    let _told = protocol::send_report(&control, &started);
    watch::until_all_gone(&control, server, graces)
}
