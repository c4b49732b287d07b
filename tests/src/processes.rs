//! Looks at the processes of this machine through /proc: who is whose child, and who is left over.

use std::collections::BTreeMap;
use std::fs;

/// One living process. Zombies count: a zombie is a process that nobody buried.
#[derive(Debug, Clone)]
pub struct Process {
    /// Its id.
    pub pid: i32,
    /// Its parent's id.
    pub parent: i32,
    /// One letter: `R`, `S`, `Z` …
    pub state: char,
    /// Its arguments.
    pub arguments: Vec<String>,
}

/// Processes whose arguments contain a mark; tests give their servers unique ones.
#[must_use]
pub fn marked(mark: &str) -> Vec<Process> {
    let has_mark = |process: &Process| process.arguments.iter().any(|word| word.contains(mark));
    all().into_values().filter(has_mark).collect()
}

/// A process's children, their children, and so on.
#[must_use]
pub fn pids_below(pid: i32) -> Vec<i32> {
    let processes = all();
    let mut found = vec![pid];
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        next += 1;
        found.extend(
            processes
                .values()
                .filter(|one| one.parent == parent)
                .map(|one| one.pid),
        );
    }
    found.split_off(1)
}

/// A process's resident memory in kB.
///
/// # Panics
/// When there is no such process.
#[must_use]
pub fn resident(pid: i32) -> usize {
    number(pid, "status", "VmRSS:")
}

/// How many bytes a process has written so far, into whatever.
///
/// # Panics
/// When there is no such process.
#[must_use]
pub fn written(pid: i32) -> usize {
    number(pid, "io", "wchar:")
}

fn number(pid: i32, file: &str, key: &str) -> usize {
    let text = fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(key))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn all() -> BTreeMap<i32, Process> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter_map(|pid| Some((pid, read(pid)?))).collect()
}

/// None when the process ended meanwhile.
fn read(pid: i32) -> Option<Process> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may contain anything.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?.chars().next()?;
    let parent = fields.next()?.parse().ok()?;
    let words = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let words = words
        .split(|byte| *byte == 0)
        .filter(|word| !word.is_empty());
    let arguments = words
        .map(|word| String::from_utf8_lossy(word).into_owned())
        .collect();
    Some(Process {
        pid,
        parent,
        state,
        arguments,
    })
}

#[cfg(test)]
mod tests {
    use super::{marked, pids_below};

    #[test]
    fn a_child_is_found_by_its_mark_and_by_its_parent() {
        let mark = "88888.8881";
        let mut child = std::process::Command::new("sleep")
            .arg(mark)
            .spawn()
            .unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let found = marked(mark);
        let below = pids_below(i32::try_from(std::process::id()).unwrap());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(found.iter().any(|process| process.pid == pid), "{found:?}");
        assert!(below.contains(&pid), "{below:?}");
        assert!(marked(mark).is_empty());
    }
}
