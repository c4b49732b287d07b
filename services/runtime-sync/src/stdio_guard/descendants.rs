//! Finding and signalling everything below the guard.
//!
//! Invariant: a process that lost its parent hangs below the guard, because the guard is a subreaper; so walking down
//! from the guard again and again finds every one of them in the end.

use std::{fs, io, path::Path};

use rustix::process::{Pid, Signal, kill_process};

/// Sends a signal to every descendant, deepest last, and says how many there were.
pub(super) fn signal_all(guard: Pid, signal: Signal) -> usize {
    let all = below(guard);
    for pid in &all {
        // It may be gone meanwhile. One that may not be signalled cannot exist: no-new-privileges is set.
        let _gone = kill_process(*pid, signal);
    }
    all.len()
}

fn below(root: Pid) -> Vec<Pid> {
    let mut found: Vec<Pid> = children(root);
    let mut next = 0;
    while let Some(pid) = found.get(next).copied() {
        next += 1;
        for child in children(pid) {
            if !found.contains(&child) {
                found.push(child);
            }
        }
    }
    found
}

fn children(pid: Pid) -> Vec<Pid> {
    let tasks = format!("/proc/{}/task", pid.as_raw_nonzero());
    // Gone already, or no /proc at all; the group signal in `watch` is what is left then.
    children_of_tasks(Path::new(&tasks)).unwrap_or_default()
}

fn children_of_tasks(tasks: &Path) -> io::Result<Vec<Pid>> {
    let mut found = Vec::new();
    // Each thread has its own children.
    for task in fs::read_dir(tasks)? {
        let Ok(list) = fs::read_to_string(task?.path().join("children")) else {
            continue;
        };
        found.extend(
            list.split_ascii_whitespace()
                .filter_map(|pid| Pid::from_raw(pid.parse().ok()?)),
        );
    }
    Ok(found)
}
