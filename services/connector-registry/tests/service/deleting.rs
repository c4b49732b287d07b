//! Deleting connectors, whatever breaks on the way.

use std::time::Duration;

use contracts::registry::v1 as pb;
use database::testing::TestDatabase;

use crate::{harness::*, vault::Mode};

database::test_on_both! {
    /// A deletion takes leases and secrets with it, and the name is free for another connector.
    async fn a_deletion_takes_everything_with_it(database: TestDatabase) {
        let suite = Suite::start(&database).await;
        let mut ada = suite.client("ada");
        let created = create(&mut ada, "x", http(vec![secret("X-One", "1"), secret("X-Two", "2")])).await;
        assert!(delete(&mut ada, &created.name).await.unwrap() > created.revision);
        assert_eq!(reason(get(&mut ada, &created.name).await), "CONNECTOR_NOT_FOUND");
        suite.vault.until("nothing left", |state| {
            state.of(&created.uid).is_empty() && state.revoked.contains(&created.uid)
        })
        .await;
        assert_eq!(reason(delete(&mut ada, &created.name).await), "CONNECTOR_NOT_FOUND");
        let missing = pb::DeleteConnectorRequest { name: created.name.clone(), allow_missing: true, ..Default::default() };
        assert_eq!(ada.delete_connector(missing).await.unwrap().into_inner().revision, 0);
        let again = create(&mut ada, "x", http(vec![declared("X-One")])).await;
        assert_ne!(again.uid, created.uid);
        assert!(again.secrets.iter().all(|one| !one.set));
    }

    /// A vault that is down holds up no deletion; its part is done when it is back.
    async fn the_vaults_part_is_done_when_it_is_back(database: TestDatabase) {
        let suite = Suite::start(&database).await;
        let mut ada = suite.client("ada");
        let created = create(&mut ada, "x", http(vec![secret("X-One", "1")])).await;
        suite.vault.set(Mode::Down);
        delete(&mut ada, &created.name).await.unwrap();
        assert_eq!(reason(get(&mut ada, &created.name).await), "CONNECTOR_NOT_FOUND");
        suite.vault.set(Mode::Working);
        let gone = suite.vault.until("no secret", |state| state.secrets.is_empty());
        // However often it was tried, it is tried again within a minute.
        advance_until(&suite.clock, Duration::from_secs(61), "the deletion", gone).await;
    }

    /// A registry that dies after the deletion does the vault's part after its restart.
    async fn the_vaults_part_survives_a_crash(database: TestDatabase) {
        let suite = Suite::start(&database).await;
        let mut ada = suite.client("ada");
        let created = create(&mut ada, "x", stdio(vec![secret("ONE", "1")])).await;
        suite.vault.set(Mode::Down);
        delete(&mut ada, &created.name).await.unwrap();
        let suite = suite.restart().await;
        suite.vault.set(Mode::Working);
        let gone = suite.vault.until("no secret", |state| state.secrets.is_empty());
        advance_until(&suite.clock, Duration::from_secs(61), "the deletion", gone).await;
    }
}
