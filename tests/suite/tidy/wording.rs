//! Names that say nothing, and words that belong to another place than this repository.

use super::finding::Finding;
use super::lexer::Token;
use super::source::Source;

const EMPTY_NAMES: [&str; 11] = [
    "utils", "util", "helpers", "helper", "common", "core", "shared", "types", "prelude", "misc",
    "mod",
];
const EMPTY_SUFFIXES: [&str; 4] = ["Manager", "Helper", "Processor", "Impl"];

/// File, module and type names.
pub(super) fn breaches(source: &Source) -> Vec<Finding> {
    let mut found = Vec::new();
    for part in source.path.split('/') {
        let name = part.strip_suffix(".rs").unwrap_or(part);
        if EMPTY_NAMES.contains(&name) {
            found.push(Finding::new(
                &source.path,
                1,
                format!("a file or folder called `{name}`"),
            ));
        }
    }
    let code = source.tokens();
    for pair in code.windows(2) {
        let [keyword, name] = pair else { continue };
        let says = match keyword.text.as_str() {
            "mod" if EMPTY_NAMES.contains(&name.text.as_str()) => "a module",
            "struct" | "enum" | "trait" | "type" if ends_empty(name) => "a type",
            _ => continue,
        };
        let says = format!("{says} called `{}`", name.text);
        found.push(Finding::new(&source.path, name.line, says));
    }
    found
}

fn ends_empty(name: &Token) -> bool {
    EMPTY_SUFFIXES
        .iter()
        .any(|suffix| name.text.ends_with(suffix))
}

/// What would only make sense on the machine or among the papers where this was written. Put together from
/// pieces, so that this file does not find itself.
const ORIGINS: [&str; 9] = [
    concat!("../", "shared"),
    concat!("/work/", "main"),
    concat!("/tmp/", "book"),
    concat!("registry.npmjs", ".org"),
    concat!("pypi", ".org"),
    concat!("pythonhosted", ".org"),
    concat!("index.crates", ".io"),
    concat!("static.crates", ".io"),
    concat!("deb.debian", ".org"),
];

/// References to another place, in any text.
pub(super) fn origins(source: &Source) -> Vec<Finding> {
    let mut found = Vec::new();
    for (at, line) in source.text.lines().enumerate() {
        for word in ORIGINS.iter().filter(|word| line.contains(**word)) {
            found.push(Finding::new(
                &source.path,
                at + 1,
                format!("names `{word}`"),
            ));
        }
        if let Some(number) = line
            .split(|c: char| !c.is_ascii_alphanumeric())
            .find(|w| is_number(w))
        {
            let says = format!("refers to `{number}`, a number of a list that is not here");
            found.push(Finding::new(&source.path, at + 1, says));
        }
    }
    found
}

/// `R` and one or two digits.
fn is_number(word: &str) -> bool {
    word.strip_prefix('R').is_some_and(|digits| {
        matches!(digits.len(), 1 | 2) && digits.bytes().all(|byte| byte.is_ascii_digit())
    })
}

#[cfg(test)]
mod tests {
    use super::{ORIGINS, breaches, origins};
    use crate::tidy::source::Source;

    fn named(path: &str, text: &str) -> usize {
        breaches(&Source::sample(path, text)).len()
    }

    #[test]
    fn empty_names_are_found() {
        assert_eq!(named("crates/x/src/utils.rs", ""), 1);
        assert_eq!(named("crates/x/src/net/mod.rs", ""), 1);
        assert_eq!(named("crates/common/src/lib.rs", ""), 1);
        assert_eq!(named("crates/x/src/lib.rs", "mod helpers { }"), 1);
        assert_eq!(
            named("crates/x/src/lib.rs", "pub struct SessionManager;"),
            1
        );
        assert_eq!(named("crates/x/src/lib.rs", "enum StoreImpl {}"), 1);
    }

    #[test]
    fn honest_names_are_not() {
        let text =
            "pub struct Manager2;\nimpl Display for X {}\n// struct FooManager\nmod session;";
        assert_eq!(named("crates/x/src/session.rs", text), 0);
    }

    #[test]
    fn references_to_elsewhere_are_found() {
        for word in ORIGINS {
            assert_eq!(
                origins(&Source::sample("README.md", &format!("see {word}."))).len(),
                1
            );
        }
        assert_eq!(
            origins(&Source::sample("a.rs", concat!("// as R", "12 says"))).len(),
            1
        );
        assert_eq!(
            origins(&Source::sample("a.rs", "// an R2D2, a CR1, an Rx")).len(),
            0
        );
    }
}
