//! Reports: leases, generations, tools, definitions.

use canonical_json::Canonical;
use database::testing::TestDatabase;

use super::*;
use crate::{
    domain::{
        definition::{Definition, DefinitionHash},
        lease::Refused,
        state::State,
        status::Detail,
    },
    store::{Observed, ObservedTool, Reported, Reporter, ToolCursor, ToolDetail, ToolScope},
};

const FULL: ToolDetail = ToolDetail::Full;
const PRESENCE: Duration = Duration::from_secs(30);

fn json(tool: &str) -> String {
    format!(r#"{{ "name":"{tool}","title":"The {tool}","description":"Does {tool}" }}"#)
}

fn hash(tool: &str) -> DefinitionHash {
    Canonical::of(json(tool).as_bytes())
        .expect("JSON")
        .sha256_hex()
        .parse()
        .expect("hash")
}

fn observed(connector: &Connector, generation: i64, tools: Option<&[&str]>) -> Observed {
    let tool = |name: &&str| ObservedTool {
        name: (*name).into(),
        hash: hash(name),
    };
    Observed {
        uid: connector.uid,
        generation,
        state: State::Ready,
        detail: Detail {
            server_info: "demo 1.0".into(),
            ..Detail::default()
        },
        tools: tools.map(|tools| tools.iter().map(tool).collect()),
    }
}

async fn report(
    store: &Store,
    who: &str,
    epoch: i64,
    what: Vec<Observed>,
    now: i64,
) -> Result<Reported, Error> {
    let reporter = Reporter {
        name: who,
        id: Uuid::nil(),
        epoch,
    };
    store.report(reporter, what, at(now), PRESENCE).await
}

database::test_on_both! {
    /// One runtime holds the sessions; another waits until it is gone, and the old epoch is then refused.
    async fn one_runtime_holds_the_sessions(database: TestDatabase) {
        let store = open(&database).await;
        let first = report(&store, "a", 0, vec![], 0).await.expect("free");
        assert_eq!((first.lease.epoch, first.lease.expires), (1, at(30)));
        assert!(matches!(report(&store, "b", 0, vec![], 29).await, Err(Error::Lease(Refused::Held))));
        let second = report(&store, "b", 0, vec![], 30).await.expect("taken over");
        assert_eq!(second.lease.epoch, 2);
        assert!(matches!(report(&store, "a", 1, vec![], 31).await, Err(Error::Lease(Refused::Lost))));
        let held = |name, epoch, now| {
            let store = store.clone();
            async move {
                let reporter = Reporter { name, id: Uuid::nil(), epoch };
                store.holds_sessions(reporter, at(now)).await.expect("read")
            }
        };
        assert!(held("b", 2, 59).await);
        assert!(!held("b", 2, 60).await && !held("b", 1, 31).await && !held("a", 2, 31).await);
    }

    /// A refused report changes nothing; one of another generation changes nothing either and is named.
    async fn only_reports_of_now_count(database: TestDatabase) {
        let store = open(&database).await;
        let connector = create(&store, "users/ada", "a").await;
        report(&store, "a", 0, vec![], 0).await.expect("free");
        let refused = report(&store, "b", 7, vec![observed(&connector, 1, None)], 1).await;
        assert!(matches!(refused, Err(Error::Lease(Refused::Lost))));
        assert_eq!(store.get(&connector.name).await.expect("there"), connector);
        for generation in [0, 2] {
            let stale = report(&store, "a", 1, vec![observed(&connector, generation, Some(&["x"]))], 1).await;
            let stale = stale.expect("taken");
            assert_eq!(stale.ignored, [connector.uid]);
            assert!(stale.missing.is_empty());
        }
        assert_eq!(store.get(&connector.name).await.expect("there"), connector);
    }

    /// A report changes the status and the feed, but nothing that is desired; the same report again changes nothing.
    async fn a_report_changes_the_status_once(database: TestDatabase) {
        let store = open(&database).await;
        let before = create(&store, "users/ada", "a").await;
        report(&store, "a", 0, vec![observed(&before, 1, None)], 0).await.expect("taken");
        let after = store.get(&before.name).await.expect("there");
        assert_eq!((after.status.state, after.status.observed_generation), (State::Ready, 1));
        assert_eq!(after.status.detail.server_info, "demo 1.0");
        assert_eq!((after.etag(), after.update_time), (before.etag(), before.update_time));
        assert_eq!(after.revisions.status_revision, 1);
        assert_eq!(after.revisions.revision, before.revisions.revision + 1);
        assert_eq!(after.revisions.desired_revision, before.revisions.desired_revision);
        report(&store, "a", 1, vec![observed(&before, 1, None)], 1).await.expect("taken");
        assert_eq!(store.get(&before.name).await.expect("there"), after);
    }

    /// Definitions are asked for once, stored as received, and read through the tools that refer to them.
    async fn definitions_are_stored_as_received(database: TestDatabase) {
        let store = open(&database).await;
        let connector = create(&store, "users/ada", "a").await;
        let tools = Some(&["read", "write"][..]);
        let first = report(&store, "a", 0, vec![observed(&connector, 1, tools)], 0).await.expect("taken");
        assert_eq!(first.missing.len(), 2);
        let unused = Definition::new(hash("unused"), json("unused")).expect("acceptable");
        let read = Definition::new(hash("read"), json("read")).expect("acceptable");
        let count = store.store_definitions(vec![read.clone(), read, unused], at(1)).await.expect("stored");
        assert_eq!(count, 2, "a definition nobody refers to is left out");
        let again = report(&store, "a", 1, vec![observed(&connector, 1, tools)], 2).await.expect("taken");
        assert_eq!(again.missing.into_iter().collect::<Vec<_>>(), [hash("write")]);
        let of = ToolScope::Connector(connector.name.clone());
        let rows = store.tools(&of, FULL, None, 10).await.expect("tools");
        let shown: Vec<_> = rows.iter().map(|row| (row.name.as_str(), row.title.as_str(), row.json.as_str())).collect();
        assert_eq!(shown, [("read", "The read", json("read").as_str()), ("write", "", "")]);
        assert_eq!(store.get(&connector.name).await.expect("there").status.tool_count, 2);
    }

    /// Tools come in the server's own order, by connector, in pages, and never from another scope.
    async fn tools_are_listed_in_pages_within_their_scope(database: TestDatabase) {
        let store = open(&database).await;
        let a = create(&store, "users/ada", "a").await;
        create(&store, "users/ada", "empty").await;
        let c = create(&store, "users/ada", "z").await;
        let foreign = create(&store, "users/bob", "b").await;
        let batch = vec![
            observed(&a, 1, Some(&["two", "one", "three"])),
            observed(&c, 1, Some(&["four"])),
            observed(&foreign, 1, Some(&["one"])),
        ];
        report(&store, "r", 0, batch, 0).await.expect("taken");
        let of = ToolScope::Scope(scope("users/ada"));
        let mut after: Option<ToolCursor> = None;
        let mut seen = Vec::new();
        loop {
            let rows = store.tools(&of, ToolDetail::Basic, after.as_ref(), 2).await.expect("tools");
            let Some(last) = rows.last() else { break };
            let connector_id = last.connector.id().to_string();
            after = Some(ToolCursor { connector_id, position: last.position });
            seen.extend(rows.into_iter().map(|row| format!("{} {}", row.connector.id(), row.name)));
        }
        assert_eq!(seen, ["a two", "a one", "a three", "z four"]);
        let missing = ToolScope::Connector(name("users/ada/connectors/b"));
        assert!(matches!(store.tools(&missing, FULL, None, 10).await, Err(Error::NotFound)));
    }

    /// A later list replaces the earlier one, and what no tool refers to any more is forgotten in time.
    async fn unused_definitions_are_forgotten(database: TestDatabase) {
        let store = open(&database).await;
        let connector = create(&store, "users/ada", "a").await;
        report(&store, "a", 0, vec![observed(&connector, 1, Some(&["old", "kept"]))], 0).await.expect("taken");
        let definition = |tool: &str| Definition::new(hash(tool), json(tool)).expect("acceptable");
        store.store_definitions(vec![definition("old"), definition("kept")], at(1)).await.expect("stored");
        report(&store, "a", 1, vec![observed(&connector, 1, Some(&["kept"]))], 2).await.expect("taken");
        store.forget_definitions(at(1_000), 10).await.expect("forgotten");
        let both = report(&store, "a", 1, vec![observed(&connector, 1, Some(&["old", "kept"]))], 3).await;
        assert_eq!(both.expect("taken").missing.into_iter().collect::<Vec<_>>(), [hash("old")]);
    }

    /// Unused definitions go a few at a time, the oldest use first, and a report renews the note of its use now and then.
    async fn definitions_are_forgotten_in_the_order_of_their_use(database: TestDatabase) {
        let store = open(&database).await;
        let connector = create(&store, "users/ada", "a").await;
        let all = ["one", "two", "three"];
        report(&store, "a", 0, vec![observed(&connector, 1, Some(&all))], 0).await.expect("taken");
        let definition = |tool: &str| Definition::new(hash(tool), json(tool)).expect("acceptable");
        for (tool, time) in [("one", 3), ("two", 1), ("three", 2)] {
            store.store_definitions(vec![definition(tool)], at(time)).await.expect("stored");
        }
        let again = |tools, now| report(&store, "a", 1, vec![observed(&connector, 1, Some(tools))], now);
        again(&["two"], 1_700).await.expect("taken");
        store.forget_definitions(at(1_700), 1).await.expect("forgotten");
        let missing: Vec<_> = again(&all, 1_803).await.expect("taken").missing.into_iter().collect();
        assert_eq!(missing, [hash("three")]);
        // The use of one was half an hour ago then and is noted anew; that of the other was not quite.
        again(&[], 1_804).await.expect("taken");
        store.forget_definitions(at(1_800), 10).await.expect("forgotten");
        let missing: Vec<_> = again(&all, 1_805).await.expect("taken").missing.into_iter().collect();
        let mut expected = vec![hash("one"), hash("three")];
        expected.sort();
        assert_eq!(missing, expected);
    }

    /// With its connector everything goes: labels, references, tools.
    async fn a_deletion_leaves_no_row(database: TestDatabase) {
        let store = open(&database).await;
        let wanted = NewConnector { has_secrets: true, spec: spec(&[("env", "x")]), ..new("users/ada", Some("a")) };
        let unseen = provisioning(store.begin_create(wanted).await.expect("begun"));
        let live = store.publish(unseen.uid, vec![stored("x-key", 1)], at(102)).await.expect("published");
        report(&store, "a", 0, vec![observed(&live, 1, Some(&["x"]))], 0).await.expect("taken");
        store.delete::<Error>(&live.name, at(300), |_| Ok(vec![])).await.expect("deleted");
        assert!(store.secrets_of(live.uid).await.expect("read").is_empty());
        // A connector of the same name sees nothing of the old one.
        let again = create(&store, "users/ada", "a").await;
        assert_ne!(again.uid, live.uid);
        assert_eq!((again.secrets.len(), again.status.tool_count, again.spec.labels.len()), (0, 0, 0));
        let of = ToolScope::Connector(again.name);
        assert!(store.tools(&of, FULL, None, 10).await.expect("tools").is_empty());
        let stale = report(&store, "a", 1, vec![observed(&live, 1, None)], 1).await.expect("taken");
        assert_eq!(stale.ignored, [live.uid]);
    }
}
