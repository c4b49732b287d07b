//! What the guard does to itself before it starts anything, and so to everything that it starts.
//!
//! Invariant: no core dump of guard or server is ever written, and no descendant can gain privileges through a
//! set-user-id program. A sandbox is *not* here yet.

use std::io;

use rustix::process::{
    DumpableBehavior, Resource, Rlimit, getpid, getrlimit, set_child_subreaper,
    set_dumpable_behavior, setrlimit, setsid,
};

use super::protocol::ProcessLimits;

/// Own session and group, subreaper, no core dumps, no new privileges.
pub(super) fn become_guard() -> io::Result<()> {
    // A guard started by hand may already lead its group; then there is nothing to change.
    let _already_leader = setsid();
    set_child_subreaper(Some(getpid()))?;
    // The guard holds the server's environment for a moment: nobody may read its memory.
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    rustix::thread::set_no_new_privs(true)?;
    Ok(())
}

/// Resource limits, inherited by the server and its descendants.
pub(super) fn limit(limits: &ProcessLimits) -> io::Result<()> {
    setrlimit(
        Resource::Core,
        Rlimit {
            current: Some(0),
            maximum: Some(0),
        },
    )?;
    let maximum = getrlimit(Resource::Nofile).maximum;
    let files = maximum.map_or(limits.open_files, |maximum| maximum.min(limits.open_files));
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: Some(files),
            maximum: Some(files),
        },
    )?;
    Ok(())
}
