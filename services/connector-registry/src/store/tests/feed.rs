//! The change feed: order, gaps, tombstones, retention.

use std::collections::HashSet;

use database::testing::TestDatabase;
use futures_util::future::join_all;

use super::*;
use crate::{
    domain::feed::{Position, Unresumable},
    store::{Change, Key, Selection},
};

const EVERYTHING: &Selection = &Selection::Everything;

async fn changes(store: &Store, key: Key, since: i64) -> Vec<(i64, String)> {
    let changes = store
        .changes(EVERYTHING, key, since, 1_000)
        .await
        .expect("changes");
    let told = |(revision, change): (i64, Change)| match change {
        Change::Upserted(connector) => (revision, format!("+{}", connector.name)),
        Change::Deleted { uid: _, name } => (revision, format!("-{name}")),
    };
    changes.items.into_iter().map(told).collect()
}

database::test_on_both! {
    /// Every change is told in order, deletions included.
    async fn changes_come_in_the_order_of_revisions(database: TestDatabase) {
        let store = open(&database).await;
        create(&store, "users/ada", "a").await;
        create(&store, "users/ada", "b").await;
        rename(&store, &name("users/ada/connectors/a"), "New").await.expect("renamed");
        store.delete::<Error>(&name("users/ada/connectors/b"), at(300), |_| Ok(vec![])).await.expect("deleted");
        create(&store, "users/ada", "b").await;
        let expected = [
            (3, "+users/ada/connectors/a".to_owned()),
            (4, "-users/ada/connectors/b".to_owned()),
            (5, "+users/ada/connectors/b".to_owned()),
        ];
        assert_eq!(changes(&store, Key::Any, 0).await, expected);
        assert_eq!(changes(&store, Key::Any, 4).await, expected[2..]);
        assert!(changes(&store, Key::Any, 5).await.is_empty());
    }

    /// A limited read stops where the next one goes on.
    async fn a_limited_read_leaves_no_gap(database: TestDatabase) {
        let store = open(&database).await;
        for number in 0..7 {
            create(&store, "users/ada", &format!("c{number}")).await;
        }
        for number in [1, 3, 5] {
            let name = name(&format!("users/ada/connectors/c{number}"));
            store.delete::<Error>(&name, at(300), |_| Ok(vec![])).await.expect("deleted");
        }
        let mut since = 0;
        let mut told = Vec::new();
        loop {
            let read = store.changes(EVERYTHING, Key::Any, since, 2).await.expect("changes");
            told.extend(read.items.iter().map(|(revision, _)| *revision));
            if read.items.is_empty() {
                break;
            }
            since = read.upto;
        }
        assert_eq!(told, [1, 3, 5, 7, 8, 9, 10]);
        assert_eq!(since, 10);
    }

    /// A reader that follows while 8 writers of two processes write sees the last state of each connector.
    async fn nothing_is_missed_while_writers_run(database: TestDatabase) {
        let store = open(&database).await;
        let other = another(&database, &store).await;
        for number in 0..8 {
            create(&store, "users/ada", &format!("c{number}")).await;
        }
        let start = store.feed().await.expect("feed").revision;
        let write = |number: usize| {
            let store = if number.is_multiple_of(2) { store.clone() } else { other.clone() };
            async move {
                let name = name(&format!("users/ada/connectors/c{number}"));
                for round in 0..10 {
                    rename(&store, &name, &format!("round {round}")).await.expect("renamed");
                }
            }
        };
        let follow = async {
            let mut since = start;
            let mut last = BTreeMap::new();
            while since < start + 80 {
                let read = store.changes(EVERYTHING, Key::Desired, since, 5).await.expect("changes");
                for (revision, change) in read.items {
                    assert!(revision > since, "{revision} after {since}");
                    since = revision;
                    if let Change::Upserted(connector) = change {
                        last.insert(connector.name.to_string(), connector.spec.display_name);
                    }
                }
                since = since.max(read.upto);
            }
            last
        };
        let (last, _) = tokio::join!(follow, join_all((0..8).map(write)));
        assert_eq!(last.len(), 8);
        assert!(last.values().all(|name| name == "round 9"), "{last:?}");
        // Each revision was given exactly once.
        let feed = store.feed().await.expect("feed");
        assert_eq!(feed.revision, start + 80);
    }

    /// A snapshot read in pages holds every connector once.
    async fn a_snapshot_is_whole(database: TestDatabase) {
        let store = open(&database).await;
        for number in 0..5 {
            create(&store, "users/ada", &format!("c{number}")).await;
        }
        let mut after = None;
        let mut seen = HashSet::new();
        loop {
            let page = store.snapshot(EVERYTHING, after, 2).await.expect("page");
            let Some(last) = page.last() else { break };
            after = Some(last.uid);
            assert!(page.into_iter().all(|one| seen.insert(one.uid)));
        }
        assert_eq!(seen.len(), 5);
    }

    /// A position before forgotten deletions cannot be resumed; one after them can.
    async fn forgotten_deletions_end_old_positions(database: TestDatabase) {
        let store = open(&database).await;
        create(&store, "users/ada", "a").await;
        create(&store, "users/ada", "b").await;
        store.delete::<Error>(&name("users/ada/connectors/a"), at(300), |_| Ok(vec![])).await.expect("deleted");
        store.delete::<Error>(&name("users/ada/connectors/b"), at(400), |_| Ok(vec![])).await.expect("deleted");
        store.forget_deletions(at(301)).await.expect("forgotten");
        let feed = store.feed().await.expect("feed");
        assert_eq!((feed.oldest, feed.revision), (3, 4));
        let at = |revision| Position { feed: feed.id, revision };
        assert_eq!(feed.check(at(2)), Err(Unresumable::TooOld));
        assert_eq!(feed.check(at(3)), Ok(()));
        assert_eq!(changes(&store, Key::Any, 3).await, [(4, "-users/ada/connectors/b".to_owned())]);
    }

    /// The feed keeps its identity over a restart and tells waiters of other processes' changes.
    async fn a_feed_has_one_life(database: TestDatabase) {
        let store = open(&database).await;
        let other = Store::open(connect(&database).await).await.expect("store");
        assert_eq!(store.feed().await.expect("feed"), other.feed().await.expect("feed"));
        let mut newest = other.newest();
        newest.mark_unchanged();
        create(&store, "users/ada", "a").await;
        other.refresh().await.expect("refreshed");
        assert!(newest.has_changed().expect("open"));
        assert_eq!(*newest.borrow(), 1);
    }

    /// Two changes of one connector at once are both applied, one after the other.
    async fn concurrent_changes_of_one_connector_are_serial(database: TestDatabase) {
        let store = open(&database).await;
        let created = create(&store, "users/ada", "a").await;
        let count = |_: usize| {
            store.mutate(&created.name, at(200), |current| {
                let number: u32 = current.spec.description.parse().unwrap_or(0);
                let spec = Spec { description: (number + 1).to_string(), ..current.spec.clone() };
                let connector = current.changed(spec, current.secrets.clone(), at(200));
                Ok::<_, Error>(Some(Mutation { connector, tasks: Vec::new(), request: None }))
            })
        };
        for outcome in join_all((0..20).map(count)).await {
            outcome.expect("changed");
        }
        assert_eq!(store.get(&created.name).await.expect("there").spec.description, "20");
    }
}
