//! How long a file and a function may be, and that each module says what it is for.

use super::finding::Finding;
use super::lexer::Token;
use super::source::Source;

const FILE: usize = 500;
const TEST_FILE: usize = 600;
const MAIN: usize = 60;
const LIB: usize = 100;
const FUNCTION: usize = 60;

/// Too long, or without a header.
pub(super) fn breaches(source: &Source) -> Vec<Finding> {
    let mut found = Vec::new();
    let lines = source.text.lines().count();
    let limit = match source.file_name() {
        "main.rs" if source.path.contains("/src/") => MAIN,
        "lib.rs" => LIB,
        _ if source.is_test() => TEST_FILE,
        _ => FILE,
    };
    if lines > limit {
        found.push(Finding::new(
            &source.path,
            1,
            format!("{lines} lines, over {limit}"),
        ));
    }
    if !source.text.starts_with("//!") {
        found.push(Finding::new(
            &source.path,
            1,
            "does not open with `//!`: purpose, invariant, absences",
        ));
    }
    let code = source.tokens();
    for (name, from, length) in functions(&code) {
        if length > FUNCTION {
            let says = format!("fn {name} has {length} lines of code, over {FUNCTION}");
            found.push(Finding::new(&source.path, from, says));
        }
    }
    found
}

/// Name, first line, and lines with code between the braces, of every function with a body.
fn functions(code: &[Token]) -> Vec<(String, usize, usize)> {
    let mut found = Vec::new();
    for (at, token) in code.iter().enumerate() {
        // `fn(` is a type.
        let Some(name) = code
            .get(at + 1)
            .filter(|name| token.is("fn") && !name.is("("))
        else {
            continue;
        };
        if let Some(body) = body(&code[at..]) {
            let mut lines: Vec<usize> = body.iter().map(|token| token.line).collect();
            lines.dedup();
            found.push((name.text.clone(), token.line, lines.len()));
        }
    }
    found
}

/// The tokens between the braces of the function that starts here; none for one without a body.
fn body(code: &[Token]) -> Option<&[Token]> {
    let mut brackets = 0_i32;
    let mut open = None;
    for (at, token) in code.iter().enumerate() {
        match token.text.as_str() {
            "(" | "[" => brackets += 1,
            ")" | "]" => brackets -= 1,
            ";" if brackets == 0 => return None,
            "{" if brackets == 0 => {
                open = Some(at);
                break;
            }
            _ => {}
        }
    }
    let open = open?;
    let mut depth = 0_i32;
    for (at, token) in code.iter().enumerate().skip(open) {
        match token.text.as_str() {
            "{" => depth += 1,
            "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(&code[open + 1..at]);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{FILE, FUNCTION, MAIN, breaches};
    use crate::tidy::source::Source;

    fn count(path: &str, text: &str) -> usize {
        breaches(&Source::sample(path, text)).len()
    }

    #[test]
    fn a_long_file_is_found_and_a_test_file_may_be_longer() {
        let text = format!("//! Header.\n{}", "\n".repeat(FILE));
        assert_eq!(count("crates/x/src/y.rs", &text), 1);
        assert_eq!(count("tests/suite/y.rs", &text), 0);
        let text = format!("//! Header.\n{}", "\n".repeat(MAIN));
        assert_eq!(count("services/x/src/main.rs", &text), 1);
    }

    #[test]
    fn a_long_function_is_found_wherever_its_brace_is() {
        let body = "    call();\n".repeat(FUNCTION + 1);
        let text = format!(
            "//! H.\nfn f<const N: usize>(a: [u8; 3]) -> u8\nwhere\n    u8: Copy,\n{{\n{body}}}\n"
        );
        assert_eq!(count("crates/x/src/y.rs", &text), 1);
        let comments = "    // why\n".repeat(FUNCTION + 1);
        assert_eq!(
            count(
                "crates/x/src/y.rs",
                &format!("//! H.\nfn f() {{\n{comments}}}\n")
            ),
            0
        );
        assert_eq!(
            count("crates/x/src/y.rs", "//! H.\ntrait T { fn f(); }\n"),
            0
        );
    }

    #[test]
    fn a_module_without_a_header_is_found() {
        assert_eq!(count("crates/x/src/y.rs", "use a::b;\n"), 1);
    }
}
