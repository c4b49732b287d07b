//! The gate: from a request's path and headers to a principal, denied by default.
//!
//! The order is the point: token first, then method, then role. Without a valid token nobody
//! learns which methods exist. Scopes come later, from the body.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use http::{HeaderMap, header::AUTHORIZATION};
use names::access::MethodRule;

use crate::{Denial, Principal, StaticTokens};

/// Who was let in.
#[derive(Debug, Clone)]
pub enum Admission {
    /// A public method; nobody was asked who they are.
    Public,
    /// An authenticated caller with a role that the method allows.
    Principal(Arc<Principal>, &'static MethodRule),
}

/// The method table and the tokens of one server.
#[derive(Debug, Clone)]
pub struct Gate {
    tokens: Arc<StaticTokens>,
    methods: HashMap<&'static str, &'static MethodRule>,
    public: HashSet<String>,
}

impl Gate {
    /// A gate that lets in whom `tokens` knows, for the methods that have a rule.
    #[must_use]
    pub fn new(
        tokens: StaticTokens,
        methods: impl IntoIterator<Item = &'static MethodRule>,
    ) -> Self {
        let methods = methods.into_iter().map(|rule| (rule.path, rule)).collect();
        Self {
            tokens: Arc::new(tokens),
            methods,
            public: HashSet::new(),
        }
    }

    /// Forgets the rules of all but these services, such as `package.v1.Service`.
    #[must_use]
    pub fn of_services(mut self, names: &[&str]) -> Self {
        let service = |path: &str| Some(path.strip_prefix('/')?.split_once('/')?.0.to_owned());
        self.methods
            .retain(|path, _| service(path).is_some_and(|name| names.contains(&name.as_str())));
        self
    }

    /// Opens one more path to everybody. For health and reflection only.
    #[must_use]
    pub fn public(mut self, path: impl Into<String>) -> Self {
        self.public.insert(path.into());
        self
    }

    /// The rule for a path, compared exactly.
    #[must_use]
    pub fn rule(&self, path: &str) -> Option<&'static MethodRule> {
        self.methods.get(path).copied()
    }

    /// Whether the path is open to everybody.
    #[must_use]
    pub fn is_public(&self, path: &str) -> bool {
        self.public.contains(path)
    }

    /// Decides whether a call may go on.
    ///
    /// # Errors
    /// A [`Denial`]: no or unknown token, then unknown method, then a role that may not.
    pub fn admit(&self, path: &str, headers: &HeaderMap) -> Result<Admission, Denial> {
        if self.is_public(path) {
            return Ok(Admission::Public);
        }
        let principal = self.tokens.verify(bearer(headers)?)?;
        let rule = self.rule(path).ok_or(Denial::MethodUnknown)?;
        principal.check_role(rule)?;
        Ok(Admission::Principal(principal, rule))
    }
}

/// The one bearer token of a request. Two `authorization` headers are refused, not chosen from.
fn bearer(headers: &HeaderMap) -> Result<&str, Denial> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return Err(Denial::TokenMissing);
    };
    let text = value.to_str().map_err(|_| Denial::TokenMissing)?;
    let (scheme, token) = text.split_once(' ').ok_or(Denial::TokenMissing)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(Denial::TokenMissing);
    }
    Ok(token)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use names::access::{Role, ScopeSource};

    use super::*;

    static RULES: [MethodRule; 1] = [MethodRule {
        path: "/test.v1.TestService/Get",
        roles: &[Role::Caller],
        verb: None,
        scope: ScopeSource::None,
        idempotent: true,
        streaming: false,
    }];
    const PATH: &str = "/test.v1.TestService/Get";

    fn gate() -> Gate {
        let tokens = StaticTokens::from_plain([
            ("caller-token", Principal::with_role("ada", Role::Caller)),
            ("viewer-token", Principal::with_role("vic", Role::Viewer)),
        ]);
        Gate::new(tokens, &RULES).public("/grpc.health.v1.Health/Check")
    }

    fn headers(authorization: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_static(authorization))])
    }

    #[test]
    fn a_caller_with_the_right_token_and_role_is_let_in() {
        let admission = gate()
            .admit(PATH, &headers("Bearer caller-token"))
            .expect("let in");
        let Admission::Principal(principal, rule) = admission else {
            panic!("public")
        };
        assert_eq!((principal.subject.as_str(), rule.path), ("ada", PATH));
    }

    #[test]
    fn without_a_valid_token_nobody_learns_which_methods_exist() {
        let gate = gate();
        for path in [PATH, "/test.v1.TestService/Nothing", "/"] {
            let none = gate.admit(path, &HeaderMap::new()).expect_err("denied");
            assert_eq!(none, Denial::TokenMissing);
            let wrong = gate
                .admit(path, &headers("Bearer other"))
                .expect_err("denied");
            assert_eq!(wrong, Denial::TokenInvalid);
        }
    }

    #[test]
    fn an_unknown_path_is_told_to_those_with_a_token() {
        let gate = gate();
        for path in [
            "/test.v1.TestService/get",
            "/test.v1.TestService/Get/",
            "//",
            "",
        ] {
            let denial = gate
                .admit(path, &headers("Bearer caller-token"))
                .expect_err("denied");
            assert_eq!(denial, Denial::MethodUnknown, "{path}");
        }
    }

    #[test]
    fn the_methods_of_other_services_are_unknown() {
        let caller = headers("Bearer caller-token");
        let ours = gate().of_services(&["test.v1.TestService"]);
        assert!(ours.admit(PATH, &caller).is_ok());
        for others in [&[][..], &["test.v1.Test", "test.v1", "TestService"]] {
            let denial = gate().of_services(others).admit(PATH, &caller);
            assert_eq!(denial.expect_err("denied"), Denial::MethodUnknown);
        }
    }

    #[test]
    fn a_token_without_the_role_is_refused() {
        let denial = gate()
            .admit(PATH, &headers("Bearer viewer-token"))
            .expect_err("denied");
        assert!(matches!(denial, Denial::RoleNotAllowed { .. }));
    }

    #[test]
    fn only_the_exact_public_path_is_open() {
        let gate = gate();
        let none = HeaderMap::new();
        assert!(matches!(
            gate.admit("/grpc.health.v1.Health/Check", &none),
            Ok(Admission::Public)
        ));
        assert!(gate.admit("/grpc.health.v1.Health/Check2", &none).is_err());
        assert!(gate.admit("/grpc.health.v1.Health/", &none).is_err());
    }

    #[test]
    fn odd_authorization_headers_are_no_token() {
        let gate = gate();
        for value in ["Basic caller-token", "caller-token", "Bearer", ""] {
            let denial = gate.admit(PATH, &headers(value)).expect_err("denied");
            assert_eq!(denial, Denial::TokenMissing, "{value:?}");
        }
        let mut twice = headers("Bearer caller-token");
        twice.append(
            AUTHORIZATION,
            HeaderValue::from_static("Bearer caller-token"),
        );
        assert_eq!(
            gate.admit(PATH, &twice).expect_err("denied"),
            Denial::TokenMissing
        );
        assert!(gate.admit(PATH, &headers("bearer caller-token")).is_ok());
    }
}
