//! Where the programs are that tests start: beside the test's own executable, in `target/<profile>`, and under
//! `target/tools`. They are built by `cargo build --workspace --all-targets`.

use std::path::{Path, PathBuf};

/// A program of this workspace: `patchbay`, `runtime-sync`, `scripted-server`, `conformance-adapter`.
///
/// # Panics
/// When it has not been built.
#[must_use]
pub fn own(name: &str) -> PathBuf {
    let path = profile_folder().join(name);
    assert!(
        path.exists(),
        "{} is missing: run `cargo build --workspace --all-targets` first",
        path.display()
    );
    path
}

/// The target folder.
#[must_use]
pub fn target() -> PathBuf {
    profile_folder()
        .parent()
        .map(Path::to_owned)
        .unwrap_or_default()
}

/// `target/debug` of `target/debug/deps/suite-0123`, and of `target/debug/conformance-adapter` as well.
fn profile_folder() -> PathBuf {
    let own = std::fs::read_link("/proc/self/exe").unwrap();
    let folder = own.parent().unwrap();
    match folder.file_name() {
        Some(name) if name == "deps" => folder.parent().unwrap().to_owned(),
        _ => folder.to_owned(),
    }
}
