//! The canonical form of where a connector leads: what secrets are bound to.
//!
//! Invariant: two specs have the same [`Destination`] exactly when they lead to the same origin or run the same command
//! with the same arguments, and the text never changes between releases, because it is part of what is sealed.

use std::fmt;

use url::Url;

use crate::Refusal;

/// Where a connector leads: `https://host:port`, or `stdio:["command","argument",…]`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Destination(String);

impl Destination {
    /// The origin of a URL: scheme, ASCII host and explicit port.
    ///
    /// # Errors
    /// When it has no host, credentials, port 0, or another scheme than `http` and `https`.
    pub fn remote(url: &Url) -> Result<Self, Refusal> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Refusal::UnknownScheme);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Refusal::Credentials);
        }
        let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else {
            return Err(Refusal::InvalidUrl);
        };
        // The url crate has made the host ASCII and lower case; a trailing dot names the same host.
        let host = host.strip_suffix('.').unwrap_or(host);
        if host.is_empty() || port == 0 {
            return Err(Refusal::InvalidUrl);
        }
        Ok(Self(format!("{}://{host}:{port}", url.scheme())))
    }

    /// A command with its arguments, as an RFC 8785 array.
    ///
    /// # Errors
    /// When the command has no acceptable form or an argument contains NUL.
    pub fn stdio<A: AsRef<str>>(command: &str, arguments: &[A]) -> Result<Self, Refusal> {
        let command = normalise_command(command)?;
        let arguments = arguments.iter().map(AsRef::as_ref);
        let words: Vec<&str> = std::iter::once(command.as_str()).chain(arguments).collect();
        if words.iter().any(|word| word.contains('\0')) {
            return Err(Refusal::InvalidCommand);
        }
        // For arrays of strings serde_json writes exactly RFC 8785: no spaces, short escapes, lower-case hex.
        let array = serde_json::Value::from(words);
        Ok(Self(format!("stdio:{array}")))
    }

    /// The canonical text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The form in which a command is judged and run: an absolute path without `.`, `..` and doubled slashes, or a bare
/// name.
///
/// `..` is resolved lexically, so the result may name another file than the kernel would have found behind a symbolic
/// link; since the result is also what is run, that can only make a command fail.
///
/// # Errors
/// [`Refusal::InvalidCommand`] for relative paths, empty names, `.`, `..` and NUL.
pub fn normalise_command(command: &str) -> Result<String, Refusal> {
    if command.contains('\0') || matches!(command, "" | "." | "..") {
        return Err(Refusal::InvalidCommand);
    }
    if !command.contains('/') {
        return Ok(command.to_owned());
    }
    if !command.starts_with('/') {
        return Err(Refusal::InvalidCommand);
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in command.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    if parts.is_empty() || command.ends_with('/') {
        return Err(Refusal::InvalidCommand);
    }
    Ok(format!("/{}", parts.join("/")))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn remote(text: &str) -> String {
        Destination::remote(&Url::parse(text).expect("a URL"))
            .expect("a destination")
            .to_string()
    }

    #[test]
    fn a_remote_destination_is_its_origin() {
        assert_eq!(
            remote("https://Example.com/mcp?key=1#x"),
            "https://example.com:443"
        );
        assert_eq!(remote("http://localhost:8080/"), "http://localhost:8080");
        assert_eq!(
            remote("https://bücher.example."),
            "https://xn--bcher-kva.example:443"
        );
        assert_eq!(remote("http://0x7f.1/"), "http://127.0.0.1:80");
        assert_eq!(remote("https://[::1]:9/"), "https://[::1]:9");
    }

    #[test]
    fn what_is_no_origin_is_refused() {
        for (text, refusal) in [
            ("ftp://example.com/", Refusal::UnknownScheme),
            ("file:///etc/passwd", Refusal::UnknownScheme),
            ("https://user:pass@example.com/", Refusal::Credentials),
            ("https://user@example.com/", Refusal::Credentials),
            ("https://example.com:0/", Refusal::InvalidUrl),
        ] {
            assert_eq!(
                Destination::remote(&Url::parse(text).expect("a URL")),
                Err(refusal),
                "{text}"
            );
        }
    }

    #[test]
    fn a_stdio_destination_is_the_command_line_in_rfc_8785() {
        let destination = Destination::stdio(
            "/usr//bin/../bin/./node",
            &["a b", "\"\\\u{1}\n\u{7f}é", ""],
        );
        assert_eq!(
            destination.expect("a destination").as_str(),
            "stdio:[\"/usr/bin/node\",\"a b\",\"\\\"\\\\\\u0001\\n\u{7f}é\",\"\"]"
        );
        assert_eq!(
            Destination::stdio("npx", &["-y"; 0])
                .expect("a destination")
                .as_str(),
            "stdio:[\"npx\"]"
        );
    }

    #[test]
    fn commands_that_depend_on_where_we_stand_are_refused() {
        for command in [
            "", ".", "..", "./x", "bin/x", "/", "/..", "/bin/", "a\0b", "/a\0b",
        ] {
            assert_eq!(
                normalise_command(command),
                Err(Refusal::InvalidCommand),
                "{command:?}"
            );
        }
        assert_eq!(
            Destination::stdio("x", &["a\0"]),
            Err(Refusal::InvalidCommand)
        );
        assert_eq!(normalise_command("/../../bin/x").as_deref(), Ok("/bin/x"));
    }

    proptest! {
        #[test]
        fn normalising_is_idempotent_and_leaves_no_dots(path in "/[a-c./]{0,12}[a-c]") {
            let once = normalise_command(&path)?;
            prop_assert_eq!(normalise_command(&once)?, once.clone());
            prop_assert!(once.split('/').skip(1).all(|part| !matches!(part, "" | "." | "..")));
        }

        #[test]
        fn different_command_lines_have_different_destinations(
            a in proptest::collection::vec("[^\0]{0,4}", 0..4),
            b in proptest::collection::vec("[^\0]{0,4}", 0..4),
        ) {
            let (x, y) = (Destination::stdio("x", &a)?, Destination::stdio("x", &b)?);
            prop_assert_eq!(a == b, x == y);
        }

        #[test]
        fn a_remote_destination_is_its_own_destination(host in "[a-z]{1,8}(\\.[a-z]{1,8}){0,2}", port in 1u16..) {
            let url = Url::parse(&format!("https://{host}:{port}/path")).map_err(|e| TestCaseError::fail(e.to_string()))?;
            let first = Destination::remote(&url)?;
            let again = Url::parse(first.as_str()).map_err(|e| TestCaseError::fail(e.to_string()))?;
            prop_assert_eq!(Destination::remote(&again)?, first);
        }
    }
}
