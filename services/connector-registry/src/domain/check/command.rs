//! What a stdio server may be started with.
//!
//! Arguments show in process lists and in this service's own database: a secret in them is refused where it can be
//! recognised, with the advice to use the environment.

use super::Requirement;

const MAX_COMMAND: usize = 1024;
const MAX_ARGUMENT: usize = 4096;
const MAX_NAME: usize = 128;
const MAX_VALUE: usize = 64 * 1024;

/// Prefixes of well-known tokens.
const TOKENS: [&str; 20] = [
    "ghp_",
    "gho_",
    "ghu_",
    "ghs_",
    "ghr_",
    "github_pat_",
    "glpat-",
    "sk-",
    "sk_live_",
    "sk_test_",
    "rk_live_",
    "xoxb-",
    "xoxp-",
    "xoxa-",
    "xapp-",
    "AKIA",
    "AIza",
    "ya29.",
    "hf_",
    "npm_",
];
/// Options whose value is a secret, in lower case and without dashes.
const OPTIONS: [&str; 12] = [
    "apikey",
    "token",
    "accesstoken",
    "authtoken",
    "secret",
    "clientsecret",
    "password",
    "passwd",
    "secretkey",
    "privatekey",
    "bearer",
    "credential",
];
/// Variables that change which code the dynamic linker runs.
const LOADER: [&str; 4] = [
    "LD_PRELOAD",
    "LD_LIBRARY_PATH",
    "LD_AUDIT",
    "DYLD_INSERT_LIBRARIES",
];

/// The program: an absolute path or a bare name that is looked up.
///
/// # Errors
/// What the command must be.
pub fn command(command: &str) -> Result<(), Requirement> {
    if command.is_empty() || command.len() > MAX_COMMAND {
        Err("a command has 1 to 1024 bytes")
    } else if command.chars().any(char::is_control) {
        Err("a command does not contain control characters")
    } else if command.contains('/') && !command.starts_with('/') {
        Err("a command is an absolute path or a bare program name")
    } else if command.trim() != command {
        Err("a command does not start or end with white space")
    } else if matches!(command, "." | "..") || command.ends_with('/') {
        Err("a command names a program, not a folder")
    } else {
        Ok(())
    }
}

/// One argument; `previous` is the one before it.
///
/// # Errors
/// What the argument must be.
pub fn argument(argument: &str, previous: Option<&str>) -> Result<(), Requirement> {
    if argument.len() > MAX_ARGUMENT {
        Err("an argument has at most 4096 bytes")
    } else if argument.contains('\0') {
        Err("an argument does not contain NUL")
    } else if holds_secret(argument, previous) {
        Err(
            "looks like a secret; arguments are visible to other processes: put it into env as a secret",
        )
    } else {
        Ok(())
    }
}

/// The folder the program is started in: an absolute path.
///
/// # Errors
/// What the folder must be.
pub fn working_directory(path: &str) -> Result<(), Requirement> {
    if path.len() > MAX_COMMAND || path.chars().any(char::is_control) {
        Err("a working directory has at most 1024 bytes and no control characters")
    } else if !path.starts_with('/') || path.split('/').any(|part| part == "..") {
        Err("a working directory is an absolute path without '..'")
    } else {
        Ok(())
    }
}

/// The name of an environment variable: `[A-Za-z_][A-Za-z0-9_]*`.
///
/// # Errors
/// What the name must be.
pub fn environment_name(name: &str) -> Result<(), Requirement> {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let starts = name
        .bytes()
        .next()
        .is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    if !starts || name.len() > MAX_NAME || !name.bytes().all(inner) {
        Err(
            "an environment name has 1 to 128 characters of A-Z a-z 0-9 _ and does not start with a digit",
        )
    } else if LOADER.contains(&name) {
        Err("this variable changes which code is loaded and cannot be configured")
    } else {
        Ok(())
    }
}

/// The value of an environment variable.
///
/// # Errors
/// What the value must be.
pub fn environment_value(value: &str) -> Result<(), Requirement> {
    if value.len() > MAX_VALUE {
        Err("an environment value has at most 65536 bytes")
    } else if value.contains('\0') {
        Err("an environment value does not contain NUL")
    } else {
        Ok(())
    }
}

fn holds_secret(argument: &str, previous: Option<&str>) -> bool {
    let (option, value) = match argument.split_once('=') {
        Some((option, value)) if option.starts_with('-') => (Some(option), value),
        _ => (previous.filter(|text| text.starts_with('-')), argument),
    };
    if value.is_empty() || value.starts_with('-') || is_placeholder(value) {
        return false;
    }
    is_token(value) || has_password(value) || option.is_some_and(is_secret_option)
}

/// `${TOKEN}`, `$TOKEN` and `<token>` are what documentation writes; nothing here expands them.
fn is_placeholder(value: &str) -> bool {
    value.starts_with('$') || (value.starts_with('<') && value.ends_with('>'))
}

fn is_token(value: &str) -> bool {
    let value = value.rsplit([' ', ':']).next().unwrap_or(value);
    let jwt = value.starts_with("eyJ") && value.matches('.').count() == 2;
    let known = TOKENS
        .iter()
        .filter_map(|prefix| value.strip_prefix(prefix))
        .any(|rest| {
            rest.len() >= 12
                && rest
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        });
    jwt || known
}

/// A URL with a password: `postgres://user:secret@host/db`.
fn has_password(value: &str) -> bool {
    let Some((_, rest)) = value.split_once("://") else {
        return false;
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    authority
        .rsplit_once('@')
        .and_then(|(user, _)| user.split_once(':'))
        .is_some_and(|(_, password)| !password.is_empty() && !is_placeholder(password))
}

fn is_secret_option(option: &str) -> bool {
    let name: String = option
        .chars()
        .filter(|character| character.is_ascii_alphanumeric())
        .collect::<String>()
        .to_ascii_lowercase();
    OPTIONS
        .iter()
        .any(|secret| name == *secret || name.ends_with(secret))
        && !name.ends_with("file")
        && !name.ends_with("path")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_a_path_or_a_name() {
        for text in ["npx", "/usr/bin/python3", "server-everything", "uvx"] {
            assert_eq!(command(text), Ok(()), "{text}");
        }
        for text in [
            "",
            "./run",
            "bin/run",
            "a\nb",
            " npx",
            "/usr/bin/",
            "..",
            &"x".repeat(1025),
        ] {
            assert!(command(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn usual_arguments_are_accepted() {
        let arguments = [
            "-y",
            "@modelcontextprotocol/server-filesystem",
            "/home/ada/documents",
            "--token-file",
            "/run/token",
            "--max-tokens=200",
            "--api-key=${API_KEY}",
            "--read-only",
            "postgres://db.example/app",
            "-",
            "sk-",
        ];
        for (at, text) in arguments.iter().enumerate() {
            let previous = at
                .checked_sub(1)
                .and_then(|before| arguments.get(before))
                .copied();
            assert_eq!(argument(text, previous), Ok(()), "{text}");
        }
        assert!(argument("a\0b", None).is_err());
        assert!(argument(&"x".repeat(4097), None).is_err());
    }

    #[test]
    fn secrets_in_arguments_are_recognised() {
        for (text, previous) in [
            ("ghp_0123456789abcdefghijABCDEFGHIJ012345", None),
            ("--key=sk-proj-0123456789abcdef", None),
            ("hunter2", Some("--password")),
            ("--api-key=abc", None),
            ("abc", Some("--github-token")),
            ("--client_secret=abc", None),
            (
                "Authorization: Bearer eyJhbGciOi.eyJzdWIi.c2lnbmF0",
                Some("--header"),
            ),
            ("postgres://ada:hunter2@db.example/app", None),
        ] {
            let advice = argument(text, previous).expect_err(text);
            assert!(advice.contains("env"), "{text}: {advice}");
            assert!(!advice.contains(text));
        }
    }

    #[test]
    fn environment_names_are_portable_and_harmless() {
        for name in ["API_KEY", "_x", "a1"] {
            assert_eq!(environment_name(name), Ok(()), "{name}");
        }
        for name in [
            "",
            "1A",
            "A-B",
            "A=B",
            "A B",
            "LD_PRELOAD",
            &"A".repeat(129),
        ] {
            assert!(environment_name(name).is_err(), "{name}");
        }
        assert_eq!(environment_value("line\nline"), Ok(()));
        assert!(environment_value("a\0").is_err());
        assert!(environment_value(&"x".repeat(65_537)).is_err());
    }

    #[test]
    fn working_directories_are_absolute() {
        assert_eq!(working_directory("/srv/data"), Ok(()));
        for path in ["data", "/srv/../etc", "", "/a\nb"] {
            assert!(working_directory(path).is_err(), "{path:?}");
        }
    }
}
