//! Runs checks one after the other, remembers how each ended and how long it took, and prints both
//! at the end. A failed gate does not stop the others: one run should say everything that is wrong.

use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::console;

/// The checks of one run.
pub(crate) struct Gates {
    started: Instant,
    rows: Vec<Row>,
}

struct Row {
    name: String,
    end: End,
    time: Duration,
}

enum End {
    Passed,
    Failed(String),
    Skipped(String),
}

impl Gates {
    /// No check yet; the time of the whole run counts from here.
    pub(crate) fn new() -> Self {
        Self {
            started: Instant::now(),
            rows: Vec::new(),
        }
    }

    /// Runs one command as a gate; its output goes straight to the terminal.
    pub(crate) fn command(&mut self, name: &str, mut command: Command) -> bool {
        self.check(name, || {
            let program = command.get_program().to_owned();
            let status = command
                .status()
                .with_context(|| format!("{program:?} does not start"))?;
            anyhow::ensure!(status.success(), "{status}");
            Ok(())
        })
        .is_some()
    }

    /// Runs one check; its value is there if it passed.
    pub(crate) fn check<T>(&mut self, name: &str, run: impl FnOnce() -> Result<T>) -> Option<T> {
        console::step(name);
        let begun = Instant::now();
        let (end, value) = match run() {
            Ok(value) => (End::Passed, Some(value)),
            Err(error) => (End::Failed(format!("{error:#}")), None),
        };
        if let End::Failed(why) = &end {
            console::line(&format!("{name}: {why}"));
        }
        self.rows.push(Row {
            name: name.to_owned(),
            end,
            time: begun.elapsed(),
        });
        value
    }

    /// Notes a check that cannot run here, and what would make it run. Not a failure: what is skipped
    /// this way needs a program that few machines have.
    pub(crate) fn missing(&mut self, name: &str, how: &str) {
        console::step(name);
        console::line(how);
        let end = End::Skipped(how.to_owned());
        self.rows.push(Row {
            name: name.to_owned(),
            end,
            time: Duration::ZERO,
        });
    }

    /// Notes a check that an earlier failure made pointless.
    pub(crate) fn pointless(&mut self, name: &str, why: &str) {
        let end = End::Failed(format!("not run: {why}"));
        self.rows.push(Row {
            name: name.to_owned(),
            end,
            time: Duration::ZERO,
        });
    }

    /// The table of all checks, and the exit code that follows from it.
    pub(crate) fn finish(self) -> ExitCode {
        console::step("summary");
        let mut failed = 0_usize;
        for Row { name, end, time } in &self.rows {
            let (word, note) = match end {
                End::Passed => ("ok", ""),
                End::Skipped(why) => ("skipped", why.as_str()),
                End::Failed(why) => {
                    failed += 1;
                    ("FAILED", why.as_str())
                }
            };
            console::line(&format!(
                "{word:8} {name:28} {:>12}  {note}",
                console::took(*time)
            ));
        }
        let total = console::took(self.started.elapsed());
        if failed == 0 {
            console::line(&format!("all passed in {total}"));
            return ExitCode::SUCCESS;
        }
        console::line(&format!("{failed} failed, after {total}"));
        ExitCode::FAILURE
    }
}
