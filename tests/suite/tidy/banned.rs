//! Calls and attributes that are banned everywhere, or in all places but a few that are listed here
//! with their reasons.

use super::finding::Finding;
use super::lexer::Token;
use super::source::Source;

/// A sequence of tokens that must not appear.
struct Ban {
    says: &'static str,
    tokens: &'static [&'static str],
    wherever: Wherever,
    /// Paths (or their beginnings) that have a reason.
    except: &'static [(&'static str, &'static str)],
}

#[derive(PartialEq)]
enum Wherever {
    Code,
    Tests,
}

const OWNERS: &str = "every task lives in its owner's task set (lifecycle::Tasks)";
const ENVIRONMENT: &str = "only config.rs reads the environment";
const SLEEP: &str = "tests wait for conditions";
const GLOB: &str = "import what you use by name";

const MAY_READ_ENVIRONMENT: &[(&str, &str)] = &[
    (
        "crates/contracts/build.rs",
        "cargo tells a build script its folders this way only",
    ),
    (
        "crates/database/src/testing.rs",
        "the one place that learns where the test server is",
    ),
    (
        "services/patchbay/src/main.rs",
        "the guard is chosen by its first argument, before anything else runs",
    ),
    (
        "services/runtime-sync/src/main.rs",
        "the guard is chosen by its first argument, before anything else runs",
    ),
    (
        "services/runtime-sync/src/stdio_guard",
        "the guard's whole input is its arguments",
    ),
];

const BANS: &[Ban] = &[
    Ban {
        says: OWNERS,
        tokens: &["tokio", "::", "spawn"],
        wherever: Wherever::Code,
        except: TASKS,
    },
    Ban {
        says: OWNERS,
        tokens: &["task", "::", "spawn", "("],
        wherever: Wherever::Code,
        except: TASKS,
    },
    Ban {
        says: OWNERS,
        tokens: &["task", "::", "spawn_local"],
        wherever: Wherever::Code,
        except: TASKS,
    },
    Ban {
        says: ENVIRONMENT,
        tokens: &["std", "::", "env"],
        wherever: Wherever::Code,
        except: MAY_READ_ENVIRONMENT,
    },
    Ban {
        says: ENVIRONMENT,
        tokens: &["env", "::", "var"],
        wherever: Wherever::Code,
        except: MAY_READ_ENVIRONMENT,
    },
    Ban {
        says: ENVIRONMENT,
        tokens: &["env", "::", "var_os"],
        wherever: Wherever::Code,
        except: MAY_READ_ENVIRONMENT,
    },
    Ban {
        says: "take the time from lifecycle::Clock, so that tests can move it",
        tokens: &["SystemTime", "::", "now"],
        wherever: Wherever::Code,
        except: &[("crates/lifecycle/src/clock.rs", "this is the clock")],
    },
    Ban {
        says: GLOB,
        tokens: &["use", "crate", "::", "*"],
        wherever: Wherever::Code,
        except: &[],
    },
    Ban {
        says: "a test runs or does not exist",
        tokens: &["#", "[", "ignore"],
        wherever: Wherever::Code,
        except: &[],
    },
    Ban {
        says: SLEEP,
        tokens: &["sleep", "("],
        wherever: Wherever::Tests,
        except: WAITING,
    },
    Ban {
        says: SLEEP,
        tokens: &["sleep_until", "("],
        wherever: Wherever::Tests,
        except: WAITING,
    },
];

const TASKS: &[(&str, &str)] = &[("crates/lifecycle/src/tasks", "this is the task set")];

/// Places whose subject is the waiting itself.
const WAITING: &[(&str, &str)] = &[(
    "crates/lifecycle/src/clock.rs",
    "shows that a sleep ends when the test moves the clock",
)];

/// Every banned call in a file.
pub(super) fn breaches(source: &Source) -> Vec<Finding> {
    let code = source.tokens();
    let tests_from = source.test_code_from();
    let applies = |ban: &&Ban| {
        let config = ban.says == ENVIRONMENT && source.file_name() == "config.rs";
        !config
            && !ban
                .except
                .iter()
                .any(|(path, _)| source.path.starts_with(path))
    };
    let mut found = Vec::new();
    for ban in BANS.iter().filter(applies) {
        for window in code.windows(ban.tokens.len()) {
            let line = window.first().map_or(1, |token| token.line);
            let here = ban.wherever == Wherever::Code || line >= tests_from;
            if here && matches(window, ban.tokens) {
                found.push(Finding::new(&source.path, line, ban.says));
            }
        }
    }
    found
}

fn matches(window: &[Token], wanted: &[&str]) -> bool {
    window
        .iter()
        .zip(wanted)
        .all(|(token, wanted)| token.is(wanted))
}

#[cfg(test)]
mod tests {
    use super::breaches;
    use crate::tidy::source::Source;

    fn count(path: &str, text: &str) -> usize {
        breaches(&Source::sample(path, text)).len()
    }

    #[test]
    fn each_banned_call_is_found() {
        let code = "crates/x/src/y.rs";
        assert_eq!(count(code, "fn f() { tokio::spawn(async {}); }"), 1);
        assert_eq!(
            count(code, "use tokio::task; fn f() { task::spawn(async {}); }"),
            1
        );
        assert_eq!(count(code, "fn f() { std::env::current_dir(); }"), 1);
        assert_eq!(
            count(
                code,
                "use std::time::SystemTime; fn f() { SystemTime::now(); }"
            ),
            1
        );
        assert_eq!(count(code, "use crate::*;"), 1);
        assert_eq!(count(code, "#[test]\n#[ignore = \"slow\"]\nfn f() {}"), 1);
    }

    #[test]
    fn a_sleep_is_found_in_tests_and_allowed_in_code() {
        let sleep = "fn f() { tokio::time::sleep(D).await; }";
        assert_eq!(count("tests/suite/y.rs", sleep), 1);
        assert_eq!(count("crates/x/tests/y.rs", sleep), 1);
        assert_eq!(count("crates/x/src/y.rs", sleep), 0);
        assert_eq!(
            count(
                "crates/x/src/y.rs",
                &format!("#[cfg(test)]\nmod tests {{ {sleep} }}")
            ),
            1
        );
    }

    #[test]
    fn places_with_a_reason_are_left_alone() {
        assert_eq!(
            count("services/x/src/config.rs", "fn f() { std::env::var(N); }"),
            0
        );
        assert_eq!(
            count(
                "crates/lifecycle/src/clock.rs",
                "fn f() { SystemTime::now(); }"
            ),
            0
        );
        assert_eq!(
            count(
                "crates/lifecycle/src/tasks.rs",
                "fn f() { tokio::spawn(x); }"
            ),
            0
        );
    }

    #[test]
    fn what_is_only_written_about_is_not_found() {
        assert_eq!(
            count(
                "tests/suite/y.rs",
                "// tokio::spawn(\nconst A: &str = \"sleep(\";"
            ),
            0
        );
    }
}
