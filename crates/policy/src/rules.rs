//! The policy itself: for each kind of scope, which schemes, hosts, addresses and commands are allowed.
//!
//! Invariant: the default allows the least; whatever is wider was asked for by the operator, or by `patchbay up`,
//! which says so when it starts.

use std::net::IpAddr;

use url::Url;

use crate::{
    AddressClass, Destination, Refusal, classify, classify_host,
    program::{command_line, normalise_command},
};

/// The kinds of scope, which may be treated differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ScopeKind {
    /// `users/…`
    User,
    /// `projects/…`
    Project,
    /// `system`, the operator's own.
    System,
}

impl From<&names::ScopeName> for ScopeKind {
    fn from(scope: &names::ScopeName) -> Self {
        match scope {
            names::ScopeName::User(_) => Self::User,
            names::ScopeName::Project(_) => Self::Project,
            names::ScopeName::System => Self::System,
        }
    }
}

/// What scopes may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// For `users/…`.
    pub user: Rules,
    /// For `projects/…`.
    pub project: Rules,
    /// For `system`.
    pub system: Rules,
}

/// The rules of one kind of scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// Whether `http` is allowed beside `https`.
    pub plain_http: bool,
    /// Whether this machine may be reached.
    pub loopback: bool,
    /// Whether private networks may be reached.
    pub private: bool,
    /// Which hosts may be named.
    pub hosts: Hosts,
    /// Which commands may be run.
    pub commands: Commands,
}

/// Which hosts may be named. The deny list wins.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Hosts {
    /// Only these, when present.
    pub only: Option<Vec<HostPattern>>,
    /// Never these.
    pub denied: Vec<HostPattern>,
}

/// `example.com`, an IP literal, or `*.example.com` for everything below a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPattern(String);

impl HostPattern {
    /// Makes a pattern; case and a trailing dot do not matter.
    #[must_use]
    pub fn new(pattern: &str) -> Self {
        Self(pattern.trim_end_matches('.').to_ascii_lowercase())
    }

    fn matches(&self, host: &str) -> bool {
        match self.0.strip_prefix("*.") {
            Some(parent) => host
                .strip_suffix(parent)
                .is_some_and(|rest| rest.len() > 1 && rest.ends_with('.')),
            None => host == self.0,
        }
    }
}

/// Which commands may be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Commands {
    /// None: stdio is off.
    None,
    /// These, as bare names or absolute paths.
    Listed(Vec<String>),
    /// Any.
    Any,
}

impl Default for Policy {
    /// `https` to public addresses; commands for `system` alone.
    fn default() -> Self {
        let remote_only = Rules {
            plain_http: false,
            loopback: false,
            private: false,
            hosts: Hosts::default(),
            commands: Commands::None,
        };
        Self {
            user: remote_only.clone(),
            project: remote_only.clone(),
            system: Rules {
                commands: Commands::Any,
                ..remote_only
            },
        }
    }
}

impl Policy {
    /// For one person's machine: any command, `http`, this machine and private networks. Metadata services,
    /// link-local and multicast addresses stay refused.
    #[must_use]
    pub fn local() -> Self {
        let open = Rules {
            plain_http: true,
            loopback: true,
            private: true,
            hosts: Hosts::default(),
            commands: Commands::Any,
        };
        Self {
            user: open.clone(),
            project: open.clone(),
            system: open,
        }
    }

    /// The rules of one kind of scope.
    #[must_use]
    pub const fn rules(&self, scope: ScopeKind) -> &Rules {
        match scope {
            ScopeKind::User => &self.user,
            ScopeKind::Project => &self.project,
            ScopeKind::System => &self.system,
        }
    }

    /// Judges a URL as far as that is possible without resolving its host, and gives its canonical destination.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn check_url(&self, scope: ScopeKind, url: &Url) -> Result<Destination, Refusal> {
        let rules = self.rules(scope);
        let destination = Destination::remote(url)?;
        if url.scheme() == "http" && !rules.plain_http {
            return Err(Refusal::PlainHttp);
        }
        let host = url.host().ok_or(Refusal::InvalidUrl)?;
        if !rules.hosts.allow(url.host_str().unwrap_or_default()) {
            return Err(Refusal::Host);
        }
        if let Some(class) = classify_host(&host) {
            rules.check_class(class)?;
        }
        Ok(destination)
    }

    /// Judges an address that a name resolved to, or that is about to be dialled.
    ///
    /// # Errors
    /// [`Refusal::Address`] with its class.
    pub fn check_address(&self, scope: ScopeKind, address: IpAddr) -> Result<(), Refusal> {
        self.rules(scope).check_class(classify(address))
    }

    /// Judges a command line and gives the form in which the command is to be run.
    ///
    /// # Errors
    /// When its form is wrong or the scope may not run it.
    pub fn check_command<A: AsRef<str>>(
        &self,
        scope: ScopeKind,
        command: &str,
        arguments: &[A],
    ) -> Result<String, Refusal> {
        command_line(command, arguments)?;
        let command = normalise_command(command)?;
        let allowed = match &self.rules(scope).commands {
            Commands::None => false,
            Commands::Any => true,
            Commands::Listed(listed) => listed
                .iter()
                .any(|entry| normalise_command(entry).is_ok_and(|entry| entry == command)),
        };
        if allowed {
            Ok(command)
        } else {
            Err(Refusal::Command)
        }
    }
}

impl Rules {
    const fn check_class(&self, class: AddressClass) -> Result<(), Refusal> {
        let allowed = match class {
            AddressClass::Public => true,
            AddressClass::Loopback => self.loopback,
            AddressClass::Private => self.private,
            AddressClass::LinkLocal
            | AddressClass::Metadata
            | AddressClass::Unspecified
            | AddressClass::Multicast
            | AddressClass::Reserved => false,
        };
        if allowed {
            Ok(())
        } else {
            Err(Refusal::Address(class))
        }
    }
}

impl Hosts {
    fn allow(&self, host: &str) -> bool {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let named =
            |patterns: &[HostPattern]| patterns.iter().any(|pattern| pattern.matches(&host));
        !named(&self.denied) && self.only.as_deref().is_none_or(named)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: [&str; 0] = [];

    fn url(text: &str) -> Url {
        Url::parse(text).expect("a URL")
    }

    #[test]
    fn by_default_only_public_https_is_reached_and_users_run_nothing() {
        let policy = Policy::default();
        for scope in [ScopeKind::User, ScopeKind::Project, ScopeKind::System] {
            assert!(
                policy
                    .check_url(scope, &url("https://mcp.example.com/mcp"))
                    .is_ok()
            );
            assert_eq!(
                policy.check_url(scope, &url("http://mcp.example.com/")),
                Err(Refusal::PlainHttp)
            );
            for (text, class) in [
                ("https://127.0.0.1/", AddressClass::Loopback),
                ("https://localhost/", AddressClass::Loopback),
                ("https://10.0.0.1/", AddressClass::Private),
                ("https://[fd00::1]/", AddressClass::Private),
                ("https://169.254.169.254/latest", AddressClass::Metadata),
                ("https://0/", AddressClass::Unspecified),
            ] {
                assert_eq!(
                    policy.check_url(scope, &url(text)),
                    Err(Refusal::Address(class)),
                    "{text}"
                );
            }
        }
        assert_eq!(
            policy.check_command(ScopeKind::User, "npx", &NONE),
            Err(Refusal::Command)
        );
        assert_eq!(
            policy.check_command(ScopeKind::Project, "/bin/sh", &NONE),
            Err(Refusal::Command)
        );
        assert!(
            policy
                .check_command(ScopeKind::System, "npx", &NONE)
                .is_ok()
        );
    }

    #[test]
    fn even_the_local_policy_never_reaches_metadata_link_local_or_multicast() {
        let policy = Policy::local();
        let scope = ScopeKind::User;
        assert!(
            policy
                .check_url(scope, &url("http://localhost:3000/mcp"))
                .is_ok()
        );
        assert!(policy.check_url(scope, &url("http://192.168.1.5/")).is_ok());
        assert!(policy.check_command(scope, "npx", &NONE).is_ok());
        for text in [
            "http://169.254.169.254/",
            "http://[fe80::1]/",
            "http://224.0.0.1/",
            "http://0.0.0.0/",
        ] {
            assert!(policy.check_url(scope, &url(text)).is_err(), "{text}");
        }
        let nat64 = "64:ff9b::a9fe:a9fe".parse().expect("an address");
        assert_eq!(
            policy.check_address(scope, nat64),
            Err(Refusal::Address(AddressClass::Metadata))
        );
    }

    #[test]
    fn listed_commands_match_in_their_normal_form_only() {
        let mut policy = Policy::default();
        policy.user.commands = Commands::Listed(vec!["npx".into(), "/opt//mcp/./server".into()]);
        let check = |command: &str| policy.check_command(ScopeKind::User, command, &NONE);
        assert_eq!(check("npx").as_deref(), Ok("npx"));
        assert_eq!(
            check("/opt/x/../mcp/server").as_deref(),
            Ok("/opt/mcp/server")
        );
        assert_eq!(check("/usr/bin/npx"), Err(Refusal::Command));
        assert_eq!(check("./npx"), Err(Refusal::InvalidCommand));
        assert_eq!(
            policy.check_command(ScopeKind::User, "npx", &["a\0"]),
            Err(Refusal::InvalidCommand)
        );
    }

    #[test]
    fn host_lists_know_names_and_everything_below_a_name() {
        let mut policy = Policy::default();
        policy.user.hosts = Hosts {
            only: Some(vec![
                HostPattern::new("*.Example.com"),
                HostPattern::new("mcp.test."),
            ]),
            denied: vec![HostPattern::new("bad.example.com")],
        };
        let check = |text: &str| policy.check_url(ScopeKind::User, &url(text)).is_ok();
        assert!(check("https://a.example.com/"));
        assert!(check("https://a.b.EXAMPLE.com./"));
        assert!(check("https://mcp.test/"));
        assert!(!check("https://example.com/"));
        assert!(!check("https://notexample.com/"));
        assert!(
            !check("https://.example.com/"),
            "an empty label is no name below"
        );
        assert!(!check("https://bad.example.com/"));
        assert!(!check("https://other.org/"));
    }

    #[test]
    fn refusals_tell_form_from_policy() {
        assert!(Refusal::InvalidUrl.is_invalid());
        assert!(!Refusal::PlainHttp.is_invalid());
        assert_eq!(
            Refusal::Address(AddressClass::Metadata).to_string(),
            "cloud metadata services are never allowed"
        );
    }
}
