//! Attacks 11 to 14: the wrong caller, the wrong time, the wrong place, and twice.

use std::time::Duration;

use contracts::vault::v1 as pb;
use database::testing::TestDatabase;
use futures_util::future::join_all;
use rpc::client::Token;
use rpc::error::ErrorView;
use tonic::Code;
use tonic::codegen::http::uri::PathAndQuery;

use super::harness::{
    Client, DESTINATION, OTHER_RUNTIME, SCOPE, Vault, connector, grant, redeem, refused,
};

const GONE: (Code, &str) = (Code::NotFound, "GRANT_NOT_FOUND");

async fn spend(
    mut client: Client,
    request: pb::RedeemGrantRequest,
) -> Result<usize, tonic::Status> {
    Ok(client
        .redeem_grant(request)
        .await?
        .into_inner()
        .secrets
        .len())
}

database::test_on_both! {
    async fn attack_11_the_registry_gets_no_plaintext_by_any_path(database: TestDatabase) {
        let vault = Vault::start(database).await;
        let connector = connector();
        let name = vault.add(SCOPE, connector, "authorization", "s3cr3t-value").await;
        let token = vault.grant(SCOPE, connector, &[&name]).await;
        let outcome = spend(vault.registry(), redeem(&token)).await;
        refused(outcome, Code::PermissionDenied, "ROLE_NOT_ALLOWED");
        let service = "/patchbay.vault.v1.SecretService";
        let paths = [
            format!("{service}/redeemgrant"),
            format!("{service}/REDEEMGRANT"),
            format!("{service}//RedeemGrant"),
            format!("/{service}/RedeemGrant"),
            format!("{service}/RedeemGrant/"),
            format!("{service}/RedeemGrant?x=1"),
            format!("{service}/Redeem%47rant"),
            format!("{service}/../SecretService/RedeemGrant"),
            "/patchbay.vault.v1.secretservice/RedeemGrant".to_owned(),
            "/patchbay.vault.v1.KeyService/Unseal".to_owned(),
        ];
        let file = vault.folder.path().join("tokens/connector-registry");
        for path in paths {
            let mut client = tonic::client::Grpc::new(vault.channel(Token::File(file.clone())));
            client.ready().await.unwrap();
            let codec = tonic_prost::ProstCodec::<pb::RedeemGrantRequest, pb::RedeemGrantResponse>::default();
            let path: PathAndQuery = path.parse().unwrap();
            let outcome = client.unary(tonic::Request::new(redeem(&token)), path.clone(), codec).await;
            let status = outcome.expect_err(path.as_str());
            assert!(!format!("{status:?}").contains("s3cr3t"), "{path}");
            let reason = ErrorView::of(&status).map(|view| view.reason).unwrap_or_default();
            // What stands behind a question mark is no part of the path, so this one is the method itself.
            let expected = if path.path() == format!("{service}/RedeemGrant") {
                (Code::PermissionDenied, "ROLE_NOT_ALLOWED")
            } else {
                (Code::Unimplemented, "METHOD_UNKNOWN")
            };
            assert_eq!((status.code(), reason.as_str()), expected, "{path}");
        }
        assert_eq!(vault.count("leases").await, 0);
        assert_eq!(spend(vault.runtime(), redeem(&token)).await.unwrap(), 1, "the grant was not spent");
    }

    async fn attack_12_a_grant_is_good_for_its_holder_only(database: TestDatabase) {
        let vault = Vault::start(database).await;
        let connector = connector();
        let name = vault.add(SCOPE, connector, "authorization", "value").await;
        let token = vault.grant(SCOPE, connector, &[&name]).await;
        let right = redeem(&token);
        let altered = format!("{}{}", &token[..token.len() - 1], if token.ends_with('A') { 'B' } else { 'A' });
        let wrong = [
            (vault.client(OTHER_RUNTIME), right.clone()),
            (vault.runtime(), pb::RedeemGrantRequest { instance_id: "runtime-2".into(), ..right.clone() }),
            (vault.runtime(), pb::RedeemGrantRequest { lease_epoch: 2, ..right.clone() }),
            (vault.runtime(), pb::RedeemGrantRequest { lease_epoch: 4, ..right.clone() }),
            (vault.runtime(), pb::RedeemGrantRequest { instance_id: String::new(), ..right.clone() }),
            (vault.runtime(), redeem(&altered)),
            (vault.runtime(), redeem(&token.to_uppercase())),
            (vault.runtime(), redeem(&format!("{token} "))),
            (vault.runtime(), redeem("pbg_unknown")),
        ];
        let mut answers = Vec::new();
        for (client, request) in wrong {
            let status = refused(spend(client, request).await, GONE.0, GONE.1);
            answers.push((status.message().to_owned(), ErrorView::of(&status)));
        }
        assert!(answers.iter().all(|answer| *answer == answers[0]), "all refusals look alike");
        assert_eq!(vault.refusals().await, ["GRANT_NOT_USABLE"; 9]);
        assert_eq!(spend(vault.runtime(), right).await.unwrap(), 1, "none of them spent it");
    }

    async fn attack_13_of_a_hundred_redemptions_one_succeeds(database: TestDatabase) {
        let vault = Vault::start(database).await;
        let connector = connector();
        let name = vault.add(SCOPE, connector, "authorization", "value").await;
        let token = vault.grant(SCOPE, connector, &[&name]).await;
        let client = vault.runtime();
        let calls = (0..100).map(|_| spend(client.clone(), redeem(&token)));
        let (won, lost): (Vec<_>, Vec<_>) = join_all(calls).await.into_iter().partition(Result::is_ok);
        assert_eq!((won.len(), lost.len()), (1, 99));
        for outcome in lost {
            refused(outcome, GONE.0, GONE.1);
        }
        assert_eq!(vault.count("leases").await, 1);
    }

    async fn redemptions_that_share_a_transaction_keep_their_own_fate(database: TestDatabase) {
        let vault = Vault::start(database).await;
        let mut tokens = Vec::new();
        for number in 0..24 {
            let connector = connector();
            let name = vault.add(SCOPE, connector, "authorization", &format!("value {number}")).await;
            tokens.push((vault.grant(SCOPE, connector, &[&name]).await, name, number));
        }
        let id = |number: usize| super::harness::id_of(&tokens[number].1);
        vault.sql("UPDATE secrets SET kind = 77 WHERE id = ?", [id(1)]).await;
        vault.sql("UPDATE secret_versions SET envelope = ? WHERE secret = ?", [vec![0_u8; 150].into(), id(2)]).await;
        vault.sql("UPDATE secrets SET current_version = 2 WHERE id = ?", [id(3)]).await;
        let delete = pb::DeleteSecretRequest { name: super::harness::secret_of(&tokens[4].1), allow_missing: false };
        vault.registry().delete_secret(delete).await.unwrap();
        let calls = tokens.iter().map(|(token, name, number)| {
            let mut client = vault.runtime();
            async move { (*number, name, client.redeem_grant(redeem(token)).await) }
        });
        for (number, name, outcome) in join_all(calls).await {
            match number {
                1..=3 => drop(refused(outcome, Code::DataLoss, "SECRET_UNREADABLE")),
                4 => drop(refused(outcome, Code::NotFound, "SECRET_NOT_FOUND")),
                _ => {
                    let secrets = outcome.unwrap().into_inner().secrets;
                    assert_eq!((secrets.len(), &secrets[0].secret_version), (1, name));
                    assert_eq!(secrets[0].value, format!("value {number}").into_bytes());
                }
            }
        }
        let mut refusals = vault.refusals().await;
        refusals.sort();
        assert_eq!(refusals, ["HEAD_ALTERED", "ROW_IMPOSSIBLE", "SECRET_GONE", "UNSUPPORTED_FORMAT"]);
        assert_eq!(vault.count("leases").await, 20);
    }

    async fn attack_13_two_vaults_on_one_database_release_once(database: TestDatabase) {
        let vault = Vault::start(database).await;
        let connector = connector();
        let name = vault.add(SCOPE, connector, "authorization", "value").await;
        let token = vault.grant(SCOPE, connector, &[&name]).await;
        let second = secret_vault::App::start_at(vault.config.clone(), vault.clock.clone()).await.unwrap();
        let other = rpc::client::ClientOptions::new(
            format!("http://{}", second.address()),
            Token::File(vault.folder.path().join("tokens/runtime-sync")),
            contracts::method_rules(),
        );
        let other = Client::new(rpc::client::connect(other).unwrap().unary);
        let ours = vault.runtime();
        let calls = (0..40).map(|number| {
            let client = if number % 2 == 0 { ours.clone() } else { other.clone() };
            spend(client, redeem(&token))
        });
        let won = join_all(calls).await.into_iter().filter(Result::is_ok).count();
        assert_eq!(won, 1);
        second.stop().await;
    }

    async fn attack_13_a_spent_grant_stays_spent(database: TestDatabase) {
        let mut vault = Vault::start(database).await;
        let connector = connector();
        let name = vault.add(SCOPE, connector, "authorization", "value").await;
        let token = vault.grant(SCOPE, connector, &[&name]).await;
        assert_eq!(spend(vault.runtime(), redeem(&token)).await.unwrap(), 1);
        refused(spend(vault.runtime(), redeem(&token)).await, GONE.0, GONE.1);
        vault.restart().await;
        refused(spend(vault.runtime(), redeem(&token)).await, GONE.0, GONE.1);
        vault.clock.advance(Duration::from_secs(61));
        refused(spend(vault.runtime(), redeem(&token)).await, GONE.0, GONE.1);
    }

    async fn attack_13_a_grant_ends_after_its_time(database: TestDatabase) {
        let vault = Vault::start(database).await;
        let connector = connector();
        let name = vault.add(SCOPE, connector, "authorization", "value").await;
        let (early, late) = (
            vault.grant(SCOPE, connector, &[&name]).await,
            vault.grant(SCOPE, connector, &[&name]).await,
        );
        vault.clock.advance(Duration::from_secs(59));
        assert_eq!(spend(vault.runtime(), redeem(&early)).await.unwrap(), 1);
        vault.clock.advance(Duration::from_secs(1));
        refused(spend(vault.runtime(), redeem(&late)).await, GONE.0, GONE.1);
        let short = pb::CreateGrantRequest {
            ttl: Some(prost_types::Duration { seconds: 2, nanos: 0 }),
            ..grant(SCOPE, connector, &[&name])
        };
        let short = vault.registry().create_grant(short).await.unwrap().into_inner();
        vault.clock.advance(Duration::from_secs(2));
        refused(spend(vault.runtime(), redeem(&short.grant_token)).await, GONE.0, GONE.1);
    }

    async fn attack_13_a_clock_set_back_revives_nothing(database: TestDatabase) {
        let mut vault = Vault::start(database).await;
        let connector = connector();
        let name = vault.add(SCOPE, connector, "authorization", "value").await;
        let spent = vault.grant(SCOPE, connector, &[&name]).await;
        let unspent = vault.grant(SCOPE, connector, &[&name]).await;
        assert_eq!(spend(vault.runtime(), redeem(&spent)).await.unwrap(), 1);
        vault.stop().await;
        vault.clock = lifecycle::Clock::manual(vault.clock.now() - Duration::from_secs(3600));
        vault.try_start().await.unwrap();
        for token in [spent, unspent] {
            refused(spend(vault.runtime(), redeem(&token)).await, GONE.0, GONE.1);
        }
    }

    async fn replicas_whose_clocks_differ_by_seconds_trust_each_others_grants(database: TestDatabase) {
        let vault = Vault::start(database).await;
        let connector = connector();
        let name = vault.add(SCOPE, connector, "authorization", "value").await;
        for (behind, is_good) in [(5, true), (6, false)] {
            let token = vault.grant(SCOPE, connector, &[&name]).await;
            let clock = lifecycle::Clock::manual(vault.clock.now() - Duration::from_secs(behind));
            let other = secret_vault::App::start_at(vault.config.clone(), clock).await.unwrap();
            let options = rpc::client::ClientOptions::new(
                format!("http://{}", other.address()),
                Token::File(vault.folder.path().join("tokens/runtime-sync")),
                contracts::method_rules(),
            );
            let client = Client::new(rpc::client::connect(options).unwrap().unary);
            assert_eq!(spend(client, redeem(&token)).await.is_ok(), is_good, "{behind} s behind");
            other.stop().await;
        }
    }

    async fn attack_14_a_secret_goes_nowhere_but_where_it_was_entered_for(database: TestDatabase) {
        let vault = Vault::start(database).await;
        let connector = connector();
        let name = vault.add(SCOPE, connector, "authorization", "value").await;
        for elsewhere in ["https://evil.example.com:443", "http://api.example.com:443", r#"stdio:["cat"]"#] {
            let request = pb::CreateGrantRequest {
                destination: elsewhere.into(),
                ..grant(SCOPE, connector, &[&name])
            };
            let outcome = vault.registry().create_grant(request).await;
            refused(outcome, Code::FailedPrecondition, "SECRET_NEEDS_REBIND");
        }
        let token = vault.grant(SCOPE, connector, &[&name]).await;
        let elsewhere = pb::RedeemGrantRequest {
            destination: "https://evil.example.com:443".into(),
            ..redeem(&token)
        };
        refused(spend(vault.runtime(), elsewhere).await, GONE.0, GONE.1);
        assert!(vault.refusals().await.contains(&"DESTINATION_MISMATCH".to_owned()));
        refused(spend(vault.runtime(), redeem(&token)).await, GONE.0, GONE.1);
        assert_eq!(DESTINATION, "https://api.example.com:443");
    }

    async fn attack_14_a_grant_names_secrets_of_one_connector_only(database: TestDatabase) {
        let vault = Vault::start(database).await;
        let (one, two) = (connector(), connector());
        let name = vault.add(SCOPE, one, "authorization", "value").await;
        let outcome = vault.registry().create_grant(grant(SCOPE, two, &[&name])).await;
        refused(outcome, Code::NotFound, "SECRET_NOT_FOUND");
    }

    async fn grants_have_a_pace(database: TestDatabase) {
        let vault = Vault::start_with(database, |config| {
            config.grant_burst = 3;
            config.grants_per_second = 1;
        })
        .await;
        let connector = connector();
        let name = vault.add(SCOPE, connector, "authorization", "value").await;
        for _ in 0..3 {
            vault.grant(SCOPE, connector, &[&name]).await;
        }
        let outcome = vault.registry().create_grant(grant(SCOPE, connector, &[&name])).await;
        let status = refused(outcome, Code::ResourceExhausted, "GRANT_RATE_EXCEEDED");
        let view = ErrorView::of(&status).unwrap();
        assert_eq!(view.retry_after, Some(Duration::from_secs(1)));
        let again = vault.registry().create_grant(grant(SCOPE, connector, &[&name])).await;
        refused(again, Code::ResourceExhausted, "GRANT_RATE_EXCEEDED");
        assert_eq!(vault.refusals().await, ["RATE_EXCEEDED"], "once in a second");
        vault.clock.advance(Duration::from_secs(1));
        vault.grant(SCOPE, connector, &[&name]).await;
    }

    async fn without_an_audit_row_nothing_is_released(database: TestDatabase) {
        let vault = Vault::start(database).await;
        let connector = connector();
        let name = vault.add(SCOPE, connector, "authorization", "value").await;
        let token = vault.grant(SCOPE, connector, &[&name]).await;
        vault.sql("ALTER TABLE audit_events RENAME TO audit_events_gone", []).await;
        let outcome = vault.runtime().redeem_grant(redeem(&token)).await;
        assert_eq!(outcome.expect_err("nothing is released").code(), Code::Internal);
        assert_eq!(vault.count("leases").await, 0);
        vault.sql("ALTER TABLE audit_events_gone RENAME TO audit_events", []).await;
        assert_eq!(spend(vault.runtime(), redeem(&token)).await.unwrap(), 1, "the grant was not spent");
        let allowed = "SELECT reason FROM audit_events WHERE method = 'RedeemGrant' AND decision = 'allowed'";
        assert_eq!(vault.column(allowed).await, ["OK"]);
    }
}
