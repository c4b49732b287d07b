//! Figures that a test measured, for a person to read. Assertions do not depend on them.
#![expect(
    clippy::print_stderr,
    reason = "the runner shows it with the test's output"
)]

/// Writes one line to the test's output.
pub fn note(text: &str) {
    eprintln!("note: {text}");
}
