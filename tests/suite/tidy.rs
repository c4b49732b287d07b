//! The house rules that no compiler checks, read from `cargo metadata` and from the sources.
//!
//! Every rule is a function from a source (or a package list) to findings, and has samples on which it
//! must find something: a rule that cannot fail is worse than none. The tables are those of ARCHITECTURE.md.

mod banned;
mod finding;
mod layers;
mod lexer;
mod packages;
mod size;
mod source;
mod wording;

use finding::Finding;
use source::Source;

/// Fails with every finding of a rule at once.
#[track_caller]
fn none(mut findings: Vec<Finding>) {
    // A group of imports is many imports on one line.
    findings.dedup();
    let text: String = findings
        .iter()
        .map(|finding| format!("{finding}\n"))
        .collect();
    assert!(findings.is_empty(), "{} findings:\n{text}", findings.len());
}

fn over_all_rust(rule: fn(&Source) -> Vec<Finding>) -> Vec<Finding> {
    let sources = source::rust_files();
    assert!(
        sources.len() > 30,
        "only {} sources found: the walk is broken",
        sources.len()
    );
    sources.iter().flat_map(rule).collect()
}

#[test]
fn crates_import_only_what_the_table_allows() {
    none(packages::breaches(&packages::of_workspace()));
}

#[test]
fn modules_import_only_what_the_table_allows() {
    none(over_all_rust(layers::breaches));
}

#[test]
fn files_and_functions_stay_small() {
    none(over_all_rust(size::breaches));
}

#[test]
fn names_say_what_a_thing_is() {
    none(over_all_rust(wording::breaches));
}

#[test]
fn nothing_banned_is_called() {
    none(over_all_rust(banned::breaches));
}

#[test]
fn nothing_refers_to_where_it_was_made() {
    none(
        source::text_files()
            .iter()
            .flat_map(wording::origins)
            .collect(),
    );
}
