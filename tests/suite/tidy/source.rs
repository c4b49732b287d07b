//! The files that the rules read. Paths are relative to the workspace, with `/`.

use std::fs;
use std::path::{Path, PathBuf};

use super::lexer::{self, Token};

/// One file.
pub(super) struct Source {
    pub(super) path: String,
    pub(super) text: String,
}

impl Source {
    /// A sample that exists only in a test.
    pub(super) fn sample(path: &str, text: &str) -> Self {
        Self {
            path: path.to_owned(),
            text: text.to_owned(),
        }
    }

    pub(super) fn tokens(&self) -> Vec<Token> {
        lexer::tokens(&self.text)
    }

    /// `clock.rs` of `crates/lifecycle/src/clock.rs`.
    pub(super) fn file_name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }

    /// Whether the whole file is test code: the suite, its harness, and a crate's own `tests`.
    pub(super) fn is_test(&self) -> bool {
        self.path.starts_with("tests/")
            || self.path.contains("/tests/")
            || matches!(self.file_name(), "tests.rs" | "testing.rs")
    }

    /// The line on which a `#[cfg(test)]` module begins, at the end of a file of code.
    pub(super) fn test_code_from(&self) -> usize {
        let marked = self
            .text
            .lines()
            .position(|line| line.trim() == "#[cfg(test)]");
        let begins = if self.is_test() { Some(0) } else { marked };
        begins.map_or(usize::MAX, |line| line + 1)
    }
}

/// The folder of the top-level manifest.
pub(super) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .map(Path::to_owned)
        .unwrap_or_default()
}

/// Every Rust file of the workspace.
pub(super) fn rust_files() -> Vec<Source> {
    files(|path| path.ends_with(".rs"))
}

/// Every file that a person might read, but for lock files.
pub(super) fn text_files() -> Vec<Source> {
    let kinds = [
        ".rs", ".md", ".toml", ".proto", ".yml", ".yaml", ".json", ".txt", ".sql", ".sh",
    ];
    files(|path| {
        let named = ["Dockerfile", ".ci/run", ".gitignore"];
        let known = kinds.iter().any(|kind| path.ends_with(kind)) || named.contains(&path);
        known && !path.ends_with("package-lock.json")
    })
}

fn files(wanted: impl Fn(&str) -> bool) -> Vec<Source> {
    let root = root();
    let mut folders = vec![root.clone()];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap().flatten() {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            if path.is_dir() {
                if !["target", ".git", "node_modules", "patchbay-data"].contains(&name.as_str()) {
                    folders.push(path);
                }
                continue;
            }
            let relative = path
                .strip_prefix(&root)
                .unwrap()
                .to_string_lossy()
                .into_owned();
            if wanted(&relative) {
                found.push(Source {
                    text: fs::read_to_string(&path).unwrap(),
                    path: relative,
                });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}
