//! Reads secret values and tool arguments from files and standard input.
//!
//! A secret goes from its file into the one request that carries it, and nowhere else.

use std::fs::File;
use std::io::{self, Read};

use sensitive::Text;

use crate::cli::{SecretAssignment, SecretSource};
use crate::failure::Failure;

/// The longest value the vault takes.
const LONGEST_SECRET: u64 = 64 * 1024;
/// The longest request a service takes.
const LONGEST_ARGUMENTS: u64 = 4 * 1024 * 1024;

/// Authentication schemes that are no secret when they stand before one.
const SCHEMES: [&str; 3] = ["Bearer ", "Basic ", "Token "];

/// A secret, with the clear text that stands before it.
#[derive(Debug)]
pub(crate) struct SecretValue {
    pub(crate) name: String,
    pub(crate) prefix: String,
    pub(crate) value: Text,
}

/// Where a secret is to go: a scheme is only looked for in headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Environment,
    Header,
}

/// Reads every secret. Standard input can give one of them.
pub(crate) fn read_secrets(
    assignments: &[SecretAssignment],
    place: Place,
    standard_input: &mut dyn Read,
) -> Result<Vec<SecretValue>, Failure> {
    let from_input = |a: &&SecretAssignment| a.source == SecretSource::StandardInput;
    if assignments.iter().filter(from_input).count() > 1 {
        return Err(Failure::Usage(
            "standard input can be read for one value only".into(),
        ));
    }
    assignments
        .iter()
        .map(|assignment| read_secret(assignment, place, standard_input))
        .collect()
}

fn read_secret(
    assignment: &SecretAssignment,
    place: Place,
    standard_input: &mut dyn Read,
) -> Result<SecretValue, Failure> {
    let SecretAssignment {
        name,
        prefix,
        source,
    } = assignment;
    let content = read(source, LONGEST_SECRET, standard_input)
        .map_err(|problem| Failure::Usage(format!("the secret {name} from {source}: {problem}")))?;
    let value = without_line_end(content.expose());
    let (prefix, value) = match place {
        Place::Environment => (
            prefix.as_str(),
            value.strip_prefix(prefix.as_str()).unwrap_or(value),
        ),
        Place::Header => split_scheme(prefix, value),
    };
    if value.is_empty() {
        return Err(Failure::Usage(format!(
            "the secret {name} from {source} is empty"
        )));
    }
    Ok(SecretValue {
        name: name.clone(),
        prefix: prefix.to_owned(),
        value: Text::new(value.to_owned()),
    })
}

/// A scheme stands before the secret once, wherever it was written: in the argument, in the file, or in
/// both. In the clear, it lets people see what kind of credential a connector has.
fn split_scheme<'a>(prefix: &'a str, value: &'a str) -> (&'a str, &'a str) {
    if !prefix.is_empty() {
        let repeated = value
            .get(..prefix.len())
            .filter(|start| start.eq_ignore_ascii_case(prefix));
        return match repeated {
            Some(start) => (prefix, &value[start.len()..]),
            None => (prefix, value),
        };
    }
    for scheme in SCHEMES {
        let start = value.get(..scheme.len());
        if start.is_some_and(|start| start.eq_ignore_ascii_case(scheme)) {
            return value.split_at(scheme.len());
        }
    }
    ("", value)
}

/// Editors and `echo` end files with a line break that is no part of the secret.
fn without_line_end(text: &str) -> &str {
    let text = text.strip_suffix('\n').unwrap_or(text);
    text.strip_suffix('\r').unwrap_or(text)
}

/// The arguments of a tool: as given, or the content of `@FILE` or `@-`. The services check the JSON.
pub(crate) fn read_arguments(
    given: Option<&str>,
    standard_input: &mut dyn Read,
) -> Result<String, Failure> {
    let source = match given {
        None => return Ok("{}".to_owned()),
        Some("@-") => SecretSource::StandardInput,
        Some(text) => match text.strip_prefix('@') {
            Some(path) => SecretSource::File(path.into()),
            None => return Ok(text.to_owned()),
        },
    };
    let content = read(&source, LONGEST_ARGUMENTS, standard_input)
        .map_err(|problem| Failure::Usage(format!("the arguments from {source}: {problem}")))?;
    Ok(content.expose().to_owned())
}

fn read(
    source: &SecretSource,
    longest: u64,
    standard_input: &mut dyn Read,
) -> Result<Text, String> {
    let content = match source {
        SecretSource::StandardInput => read_up_to(standard_input, longest),
        SecretSource::File(path) => {
            File::open(path).and_then(|mut file| read_up_to(&mut file, longest))
        }
    };
    let content = content.map_err(|error| error.to_string())?;
    if u64::try_from(content.len()).unwrap_or(u64::MAX) > longest {
        return Err(format!("longer than {longest} bytes"));
    }
    content.into_text().map_err(|_| "not UTF-8 text".to_owned())
}

fn read_up_to(from: &mut dyn Read, longest: u64) -> io::Result<sensitive::Bytes> {
    // Room from the start: a buffer that grows leaves copies of the secret behind.
    let mut content = Vec::with_capacity(usize::try_from(longest + 1).unwrap_or(0).min(128 * 1024));
    from.take(longest + 1).read_to_end(&mut content)?;
    Ok(sensitive::Bytes::new(content))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn secret(assignment: &str, place: Place, input: &str) -> Result<SecretValue, Failure> {
        let assignment = assignment.parse().unwrap();
        let secrets = read_secrets(&[assignment], place, &mut input.as_bytes());
        secrets.map(|mut secrets| secrets.remove(0))
    }

    fn parts(assignment: &str, place: Place, input: &str) -> (String, String) {
        let secret = secret(assignment, place, input).unwrap();
        (secret.prefix, secret.value.expose().to_owned())
    }

    fn pair(prefix: &str, value: &str) -> (String, String) {
        (prefix.to_owned(), value.to_owned())
    }

    #[test]
    fn a_secret_is_the_content_without_its_last_line_end() {
        assert_eq!(
            parts("K=@-", Place::Environment, "s3cret\n"),
            pair("", "s3cret")
        );
        assert_eq!(
            parts("K=@-", Place::Environment, "s3cret\r\n"),
            pair("", "s3cret")
        );
        assert_eq!(
            parts("K=@-", Place::Environment, " a\nb \n\n"),
            pair("", " a\nb \n")
        );
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"from a file\n").unwrap();
        let argument = format!("K=@{}", file.path().display());
        assert_eq!(
            parts(&argument, Place::Environment, ""),
            pair("", "from a file")
        );
    }

    #[test]
    fn a_scheme_stands_before_the_secret_once_wherever_it_was_written() {
        let expected = pair("Bearer ", "abc");
        assert_eq!(
            parts("Authorization=@-", Place::Header, "Bearer abc\n"),
            expected
        );
        assert_eq!(
            parts("Authorization=Bearer @-", Place::Header, "abc\n"),
            expected
        );
        assert_eq!(
            parts("Authorization=Bearer @-", Place::Header, "bearer abc"),
            expected
        );
        assert_eq!(
            parts("Authorization=@-", Place::Header, "abc"),
            pair("", "abc")
        );
        assert_eq!(
            parts("X=@-", Place::Header, "Basic eDp5"),
            pair("Basic ", "eDp5")
        );
        // In an environment variable the words are part of the value.
        assert_eq!(
            parts("K=@-", Place::Environment, "Bearer abc"),
            pair("", "Bearer abc")
        );
    }

    #[test]
    fn unusable_secrets_are_refused_and_never_repeated() {
        let longest = usize::try_from(LONGEST_SECRET).unwrap();
        parts("K=@-", Place::Environment, &"x".repeat(longest));
        for input in ["", "\n", "x".repeat(longest + 1).as_str()] {
            let failure = secret("K=@-", Place::Environment, input).unwrap_err();
            assert!(matches!(failure, Failure::Usage(_)));
            assert!(!format!("{failure:?}").contains("xx"));
        }
        assert!(secret("K=@/no/such/file", Place::Environment, "").is_err());
        let only_scheme = secret("Authorization=@-", Place::Header, "Bearer \n");
        assert!(only_scheme.is_err());
    }

    #[test]
    fn standard_input_gives_one_value_only() {
        let assignments = ["A=@-".parse().unwrap(), "B=@-".parse().unwrap()];
        let failure = read_secrets(&assignments, Place::Header, &mut "x".as_bytes()).unwrap_err();
        assert!(matches!(failure, Failure::Usage(_)));
    }

    #[test]
    fn arguments_are_passed_on_byte_for_byte() {
        let read = |given, input: &str| read_arguments(given, &mut input.as_bytes()).unwrap();
        assert_eq!(read(None, ""), "{}");
        assert_eq!(read(Some(r#"{ "a":1.0 }"#), ""), r#"{ "a":1.0 }"#);
        assert_eq!(read(Some("@-"), "{}\n"), "{}\n");
        assert!(read_arguments(Some("@/no/such/file"), &mut "".as_bytes()).is_err());
    }
}
