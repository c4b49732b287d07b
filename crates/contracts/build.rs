//! Compiles `proto/**` without protoc: messages, clients and servers, the descriptor set for
//! reflection, Debug that hides `[debug_redact = true]` fields, and the method table from the
//! `patchbay.access.v1.rule` options. Fails when an RPC has no rule.

#[path = "build/access.rs"]
mod access;
#[path = "build/redact.rs"]
mod redact;

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::Context as _;

/// Packages that are ours; vendored ones have neither rules nor secrets.
const OWN_PACKAGES: &str = "patchbay.";

fn main() -> anyhow::Result<()> {
    let root = PathBuf::from(variable("CARGO_MANIFEST_DIR")?).join("../../proto");
    let out = PathBuf::from(variable("OUT_DIR")?);
    // Cargo watches the whole directory, so a new file triggers a build, too.
    println!("cargo:rerun-if-changed={}", root.display());
    let mut protos = Vec::new();
    collect(&root.join("patchbay"), &mut protos)?;
    protos.sort();

    let mut compiler = protox::Compiler::new([&root])?;
    compiler
        .include_imports(true)
        .include_source_info(true)
        .open_files(&protos)?;
    let descriptors = compiler.file_descriptor_set();
    // Encoded by protox, not by prost-types, which drops options it does not know. Comments stay in:
    // reflection shows them to whoever explores the API.
    fs::write(
        out.join("descriptor.bin"),
        compiler.encode_file_descriptor_set(),
    )?;

    let pool = compiler.descriptor_pool();
    let redacted = redact::Redacted::find(&pool);
    fs::write(out.join("_redacted.rs"), redacted.debug_impls())?;
    fs::write(out.join("_access.rs"), access::method_table(&pool)?)?;
    tonic_prost_build::configure()
        .skip_debug(redacted.paths())
        .include_file("_includes.rs")
        .compile_fds(descriptors)?;
    Ok(())
}

#[expect(
    clippy::disallowed_methods,
    reason = "cargo tells a build script where it is this way"
)]
fn variable(name: &str) -> anyhow::Result<String> {
    env::var(name).with_context(|| format!("{name} is set by cargo"))
}

fn collect(dir: &Path, found: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, found)?;
        } else if path
            .extension()
            .is_some_and(|extension| extension == "proto")
        {
            found.push(path);
        }
    }
    Ok(())
}
