//! Attack 10: every method with every role, from the method table itself.

use contracts::vault::v1 as pb;
use database::testing::TestDatabase;
use names::access::{MethodRule, Role};
use rpc::client::Token;
use rpc::error::ErrorView;
use sensitive::Text;
use tonic::Code;
use tonic::codegen::http::uri::PathAndQuery;

use super::harness::Vault;

fn rules() -> impl Iterator<Item = &'static MethodRule> {
    let ours = |rule: &&MethodRule| rule.path.starts_with("/patchbay.vault.v1.");
    contracts::method_rules().iter().filter(ours)
}

/// Calls a method with an empty message: whoever gets in hears about fields.
async fn call(vault: &Vault, token: Token, path: &'static str) -> (Code, String) {
    let mut client = tonic::client::Grpc::new(vault.channel(token));
    client.ready().await.unwrap();
    let codec =
        tonic_prost::ProstCodec::<pb::DeleteSecretResponse, pb::DeleteSecretResponse>::default();
    let request = tonic::Request::new(pb::DeleteSecretResponse {});
    let outcome = client
        .unary(request, PathAndQuery::from_static(path), codec)
        .await;
    let status = outcome.expect_err(path);
    let reason = ErrorView::of(&status)
        .map(|view| view.reason)
        .unwrap_or_default();
    (status.code(), reason)
}

database::test_on_both! {
    async fn attack_10_every_method_is_open_to_its_roles_only(database: TestDatabase) {
        let vault = Vault::start(database).await;
        assert_eq!(rules().count(), 11);
        for rule in rules() {
            for role in Role::ALL {
                let file = vault.folder.path().join("tokens").join(role.as_str());
                let (code, reason) = call(&vault, Token::File(file), rule.path).await;
                let expected = if rule.roles.contains(&role) {
                    (Code::InvalidArgument, "FIELD_INVALID")
                } else {
                    (Code::PermissionDenied, "ROLE_NOT_ALLOWED")
                };
                assert_eq!((code, reason.as_str()), expected, "{role} at {}", rule.path);
            }
            let (code, _) = call(&vault, Token::None, rule.path).await;
            assert_eq!(code, Code::Unauthenticated, "nobody at {}", rule.path);
            let unknown = Token::Text(Text::new("pb_unknown".into()));
            let (code, _) = call(&vault, unknown, rule.path).await;
            assert_eq!(code, Code::Unauthenticated, "a stranger at {}", rule.path);
        }
    }

    async fn attack_10_no_role_may_both_make_and_spend_a_grant(database: TestDatabase) {
        drop(database);
        let roles = |method: &str| rules().find(|rule| rule.path.ends_with(method)).unwrap().roles;
        assert_eq!(roles("/CreateGrant"), [Role::ConnectorRegistry]);
        for method in ["/RedeemGrant", "/RenewLease", "/ReleaseLease"] {
            assert_eq!(roles(method), [Role::RuntimeSync], "{method}");
        }
    }
}
