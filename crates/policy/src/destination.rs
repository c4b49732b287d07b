//! The canonical form of where a connector leads: what secrets are bound to.
//!
//! Invariant: two specs have the same [`Destination`] exactly when they lead to the same origin, or run the same command
//! with the same arguments, environment and working directory; and the text never changes between releases, because it
//! is part of what is sealed. Not here: how a command and what surrounds it become a text (see [`Program`]).

use std::fmt;

use url::Url;

use crate::{
    Program, Refusal,
    program::{Surroundings, command_line},
};

const STDIO: &str = "stdio:";

/// Where a connector leads: `https://host:port`, or `stdio:["command","argument",…]`, which is followed by `#` and the
/// SHA-256 of environment and working directory in hex unless both are empty.
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

    /// What a program that is started gets to see: command, arguments, environment and working directory. The last two
    /// count because they decide where a secret goes as much as a URL does: a proxy, a registry of packages or a module
    /// to preload is only a variable away.
    ///
    /// # Errors
    /// When the command has no acceptable form, anything contains NUL, or a variable is named twice.
    pub fn program(program: &Program<'_>) -> Result<Self, Refusal> {
        let line = command_line(program.command, program.arguments)?;
        let surroundings = Surroundings::of(program)?;
        Ok(Self(format!("{STDIO}{line}{surroundings}")))
    }

    /// Reads the canonical text and takes no other spelling of it, so that comparing texts compares destinations.
    ///
    /// # Errors
    /// When the text is not exactly what [`Destination::remote`] or [`Destination::program`] makes.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        let Some(rest) = text.strip_prefix(STDIO) else {
            let url = Url::parse(text).map_err(|_| Refusal::InvalidUrl)?;
            let canonical = Self::remote(&url)?;
            return if canonical.0 == text {
                Ok(canonical)
            } else {
                Err(Refusal::InvalidUrl)
            };
        };
        // No digest contains a bracket, so the last one ends the array.
        let end = rest.rfind(']').ok_or(Refusal::InvalidCommand)? + 1;
        let (line, surroundings) = rest.split_at(end);
        let words: Vec<String> = serde_json::from_str(line).map_err(|_| Refusal::InvalidCommand)?;
        let (command, arguments) = words.split_first().ok_or(Refusal::InvalidCommand)?;
        if command_line(command, arguments)? != line {
            return Err(Refusal::InvalidCommand);
        }
        let surroundings = Surroundings::parse(surroundings)?;
        Ok(Self(format!("{STDIO}{line}{surroundings}")))
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Variable, VariableValue};

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

    fn program(
        command: &str,
        arguments: &[&str],
        environment: &[(&str, &str, VariableValue<'_>)],
        working_directory: &str,
    ) -> Result<String, Refusal> {
        let arguments: Vec<String> = arguments.iter().map(|&one| one.to_owned()).collect();
        let variable = |&(name, prefix, value)| Variable {
            name,
            prefix,
            value,
        };
        Destination::program(&Program {
            command,
            arguments: &arguments,
            environment: environment.iter().map(variable).collect(),
            working_directory,
        })
        .map(|destination| destination.to_string())
    }

    #[test]
    fn a_program_is_its_command_line_in_rfc_8785() {
        let destination = program(
            "/usr//bin/../bin/./node",
            &["a b", "\"\\\u{1}\n\u{7f}é", ""],
            &[],
            "",
        );
        assert_eq!(
            destination.as_deref(),
            Ok("stdio:[\"/usr/bin/node\",\"a b\",\"\\\"\\\\\\u0001\\n\u{7f}é\",\"\"]")
        );
        assert_eq!(
            program("npx", &[], &[], "").as_deref(),
            Ok("stdio:[\"npx\"]")
        );
    }

    #[test]
    fn what_surrounds_a_program_is_hashed_in_rfc_8785() {
        let environment = [
            ("TOKEN", "Bearer ", VariableValue::Secret),
            ("API", "", VariableValue::Plain("https://api.example")),
        ];
        // printf '%s' '{"environment":{"API":{"plain":"https://api.example","prefix":""},"TOKEN":{"prefix":"Bearer ","secret":true}},"working_directory":"/srv"}' | sha256sum
        assert_eq!(
            program("npx", &["-y"], &environment, "/srv").as_deref(),
            Ok(
                "stdio:[\"npx\",\"-y\"]#1031b06266f9aa3173995adcba0d27af20051637877a508c217a932516caff37"
            )
        );
        let mut other_order = environment;
        other_order.reverse();
        assert_eq!(
            program("npx", &["-y"], &environment, "/srv"),
            program("npx", &["-y"], &other_order, "/srv")
        );
        // printf '%s' '{"environment":{},"working_directory":"/srv"}' | sha256sum
        assert_eq!(
            program("npx", &[], &[], "/srv").as_deref(),
            Ok("stdio:[\"npx\"]#81c17fa33a24243c733382ef77d6c3891f08b859e9cbefdd44d2cc81352b5846")
        );
    }

    #[test]
    fn whatever_could_lead_a_secret_elsewhere_makes_another_destination() {
        use VariableValue::{Plain, Secret};
        let token = ("TOKEN", "", Secret);
        let all = [
            program("npx", &[], &[], ""),
            program("npx", &[], &[token], ""),
            program("npx", &[], &[token], "/tmp"),
            program(
                "npx",
                &[],
                &[token, ("HTTPS_PROXY", "", Plain("http://a"))],
                "",
            ),
            program(
                "npx",
                &[],
                &[token, ("HTTPS_PROXY", "", Plain("http://b"))],
                "",
            ),
            program(
                "npx",
                &[],
                &[token, ("HTTPS_PROXY", "http://", Plain("b"))],
                "",
            ),
            program("npx", &[], &[token, ("HTTPS_PROXY", "", Secret)], ""),
            program("npx", &[], &[("TOKEN", "x", Secret)], ""),
            program("npx", &[], &[("TOKEN", "", Plain(""))], ""),
            program("npx", &[], &[("OTHER", "", Secret)], ""),
        ];
        let different: std::collections::BTreeSet<_> =
            all.iter().map(|one| one.clone().expect("one")).collect();
        assert_eq!(different.len(), all.len(), "{all:?}");
    }

    #[test]
    fn surroundings_that_can_be_read_two_ways_are_refused() {
        use VariableValue::{Plain, Secret};
        for environment in [
            [("A", "", Plain("1")), ("A", "", Secret)],
            [("A", "", Plain("a\0b")), ("B", "", Secret)],
            [("A\0", "", Plain("1")), ("B", "", Secret)],
            [("A", "\0", Plain("1")), ("B", "", Secret)],
        ] {
            let refused = program("x", &[], &environment, "");
            assert_eq!(refused, Err(Refusal::InvalidEnvironment), "{environment:?}");
        }
        let refused = program("x", &[], &[], "/a\0");
        assert_eq!(refused, Err(Refusal::InvalidEnvironment));
    }

    #[test]
    fn only_the_canonical_spelling_is_read() {
        let hash = "0123456789abcdef".repeat(4);
        let hashed = format!("stdio:[\"npx\"]#{hash}");
        for good in [
            "https://example.com:443",
            "http://127.0.0.1:8080",
            r#"stdio:["npx","-y","a]#b"]"#,
            r#"stdio:["/usr/bin/node"]"#,
            &hashed,
        ] {
            let read = Destination::parse(good);
            assert_eq!(read.as_ref().map(Destination::as_str), Ok(good));
        }
        for bad in [
            "".to_owned(),
            "https://example.com".to_owned(),
            "https://Example.com:443".to_owned(),
            "https://example.com:443/".to_owned(),
            "https://user@example.com:443".to_owned(),
            "file:///etc/passwd".to_owned(),
            "stdio:".to_owned(),
            "stdio:[]".to_owned(),
            "stdio:npx".to_owned(),
            r#"stdio:["npx", "-y"]"#.to_owned(),
            r#"stdio:["./npx"]"#.to_owned(),
            r#"stdio:["/usr/../bin/x"]"#.to_owned(),
            r#"stdio:["npx"]#"#.to_owned(),
            r#"stdio:["npx"] "#.to_owned(),
            hashed.replace("abc", "ABC"),
            format!("{hashed}0"),
            format!("{hashed}#{hash}"),
            hashed.replacen('0', "", 1),
            hashed.replace('#', ""),
            format!("https://example.com:443#{hash}"),
        ] {
            assert!(Destination::parse(&bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn different_programs_have_different_destinations_that_are_read_back(
            a in proptest::collection::vec("[^\0]{0,4}", 0..4),
            b in proptest::collection::vec("[^\0]{0,4}", 0..4),
            folders in ("[/\\]#]{0,3}", "[/\\]#]{0,3}"),
        ) {
            let of = |arguments: &[String], working_directory: &str| Destination::program(&Program {
                command: "x",
                arguments,
                environment: Vec::new(),
                working_directory,
            });
            let (x, y) = (of(&a, &folders.0)?, of(&b, &folders.1)?);
            prop_assert_eq!(a == b && folders.0 == folders.1, x == y);
            prop_assert_eq!(Destination::parse(x.as_str())?, x);
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "(stdio:)?[\\[\\]\"#a-c]{0,12}") {
            drop(Destination::parse(&text));
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
