//! Promises about scopes inside messages.

use std::time::Duration;

use names::access::{Role, Verb};
use tonic::Code;

use super::*;
use crate::{Limit, error::ErrorView};

const fn rule(scope: ScopeSource) -> MethodRule {
    MethodRule {
        path: "/test.v1.TestService/Get",
        roles: &[Role::Caller, Role::RuntimeSync],
        verb: Some(Verb::Manage),
        scope,
        idempotent: true,
        streaming: false,
    }
}

macro_rules! message {
    ($name:ident, $scope:expr) => {
        #[derive(Debug)]
        struct $name(Vec<&'static str>);

        impl ScopedRequest for $name {
            const RULE: MethodRule = rule($scope);

            fn visit_scopes<'a>(&'a self, visit: &mut dyn FnMut(&'static str, &'a str)) {
                self.0.iter().for_each(|text| visit("name", text));
            }
        }
    };
}

const BY_NAME: ScopeSource = ScopeSource::Name {
    reason: "CONNECTOR_NOT_FOUND",
    resource_type: "patchbay/Connector",
};

message!(Named, BY_NAME);
message!(Parented, ScopeSource::Parent);
message!(Unscoped, ScopeSource::None);

static RULE: MethodRule = rule(BY_NAME);

fn caller(role: Role, claims: &[(&str, Verb)]) -> Caller {
    let principal = claims
        .iter()
        .fold(Principal::with_role("test", role), |principal, claim| {
            principal.with_claim(claim.0.parse().expect("selector"), [claim.1])
        });
    Caller {
        principal: Arc::new(principal),
        rule: &RULE,
        deadline: Deadline::after(Duration::from_secs(1), Limit::Default),
        draining: CancellationToken::new(),
    }
}

fn ada() -> Caller {
    caller(
        Role::Caller,
        &[("users/ada", Verb::Manage), ("projects/x", Verb::Use)],
    )
}

#[test]
fn a_message_about_a_scope_that_is_held_passes() {
    for name in [
        "users/ada",
        "users/ada/connectors/time",
        "users/ada/connectors/-",
        "users/ada/x/y",
    ] {
        assert!(ada().authorise(Named(vec![name])).is_ok(), "{name}");
        assert!(ada().authorise(Parented(vec![name])).is_ok(), "{name}");
    }
}

#[test]
fn a_foreign_name_is_answered_exactly_like_a_missing_one() {
    let name = "users/bob/connectors/time";
    let foreign = ada().authorise(Named(vec![name])).expect_err("denied");
    let missing: Status =
        RichError::not_found("CONNECTOR_NOT_FOUND", "patchbay/Connector", name).into();
    assert_eq!(foreign.code(), Code::NotFound);
    assert_eq!(
        (foreign.code(), foreign.message()),
        (missing.code(), missing.message())
    );
    assert_eq!(ErrorView::of(&foreign), ErrorView::of(&missing));
}

#[test]
fn a_foreign_parent_and_a_missing_verb_are_permission_denied() {
    let foreign = ada()
        .authorise(Parented(vec!["users/bob"]))
        .expect_err("denied");
    assert_eq!(foreign.code(), Code::PermissionDenied);
    assert_eq!(
        ErrorView::reason_of(&foreign).as_deref(),
        Some("SCOPE_NOT_ALLOWED")
    );
    for verb in [
        ada()
            .authorise(Parented(vec!["projects/x"]))
            .expect_err("denied"),
        ada()
            .authorise(Named(vec!["projects/x/connectors/y"]))
            .expect_err("denied"),
    ] {
        assert_eq!(verb.code(), Code::PermissionDenied);
        assert_eq!(
            ErrorView::reason_of(&verb).as_deref(),
            Some("VERB_NOT_ALLOWED")
        );
    }
}

#[test]
fn one_foreign_scope_among_many_is_enough() {
    let mixed = Parented(vec!["users/ada", "users/bob", "users/ada"]);
    let denied = ada().authorise(mixed).expect_err("denied");
    let view = ErrorView::of(&denied).expect("ours");
    assert_eq!(view.metadata["scope"], "users/bob");
}

#[test]
fn all_users_have_to_be_held_as_such() {
    assert!(ada().authorise(Parented(vec!["users/-"])).is_err());
    let all = caller(Role::Caller, &[("users/-", Verb::Manage)]);
    assert!(all.authorise(Parented(vec!["users/-"])).is_ok());
    assert!(all.authorise(Parented(vec!["users/bob"])).is_ok());
    assert!(all.authorise(Parented(vec!["projects/-"])).is_err());
}

#[test]
fn a_name_that_is_none_is_a_bad_field() {
    for name in [
        "",
        "users",
        "users/",
        "user/ada",
        "users/a b",
        "/users/ada",
        "system2",
        "users//x",
    ] {
        let status = ada().authorise(Named(vec![name])).expect_err("refused");
        assert_eq!(status.code(), Code::InvalidArgument, "{name:?}");
        let view = ErrorView::of(&status).expect("ours");
        assert_eq!(view.fields[0].0, "name");
    }
}

#[test]
fn naming_no_scope_asks_for_everything_and_only_services_get_that() {
    assert!(ada().authorise(Parented(vec![])).is_err());
    assert!(ada().authorise(Named(vec![])).is_err());
    assert!(ada().authorise(Unscoped(vec![])).is_ok());
    let runtime = caller(Role::RuntimeSync, &[]);
    assert!(runtime.authorise(Parented(vec![])).is_ok());
    assert!(
        runtime
            .authorise(Named(vec!["users/bob/connectors/x"]))
            .is_ok()
    );
}

#[test]
fn a_request_that_nobody_authenticated_is_our_bug() {
    let status = authorise(Request::new(Named(vec!["users/ada"]))).expect_err("refused");
    assert_eq!(status.code(), Code::Internal);
    let mut request = Request::new(Named(vec!["users/ada"]));
    request.extensions_mut().insert(ada());
    assert!(authorise(request).is_ok());
}

#[test]
fn a_message_of_another_method_is_our_bug() {
    static OTHER: MethodRule = MethodRule {
        path: "/test.v1.TestService/Other",
        ..rule(ScopeSource::None)
    };
    let caller = Caller {
        rule: &OTHER,
        ..ada()
    };
    let status = caller
        .authorise(Named(vec!["users/ada"]))
        .expect_err("refused");
    assert_eq!(status.code(), Code::Internal);
}
