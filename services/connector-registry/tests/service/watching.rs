//! Watching connectors over gRPC.

use std::{collections::BTreeMap, time::Duration};

use contracts::registry::v1::{self as pb, watch_connectors_response::Event};
use database::testing::TestDatabase;
use futures_util::future::join_all;
use tonic::{Code, Status, Streaming};

use crate::harness::*;

type Stream = Streaming<pb::WatchConnectorsResponse>;

async fn watch(
    client: &mut Client,
    parents: &[&str],
    view: pb::WatchView,
    token: &str,
) -> Result<Stream, Status> {
    let request = pb::WatchConnectorsRequest {
        parents: parents.iter().map(|parent| (*parent).to_owned()).collect(),
        view: view.into(),
        resume_token: token.to_owned(),
    };
    Ok(client.watch_connectors(request).await?.into_inner())
}

async fn next(stream: &mut Stream) -> Result<pb::WatchConnectorsResponse, Status> {
    let message = tokio::time::timeout(Duration::from_secs(20), stream.message()).await;
    message
        .unwrap_or_else(|_| panic!("nothing came"))
        .map(|message| message.expect("the stream goes on"))
}

/// What a message tells, in short.
fn told(message: &pb::WatchConnectorsResponse) -> String {
    match message.event.as_ref().expect("an event") {
        Event::Connector(connector) => format!("+{}", connector.name),
        Event::Deleted(deleted) => format!("-{}", deleted.name),
        Event::SnapshotEnd(_) => "end".to_owned(),
        Event::Progress(_) => "progress".to_owned(),
    }
}

async fn rename(client: &mut Client, name: &str, to: &str) -> pb::Connector {
    let connector = pb::Connector {
        name: name.into(),
        display_name: to.into(),
        ..Default::default()
    };
    let request = pb::UpdateConnectorRequest {
        connector: Some(connector),
        update_mask: None,
    };
    client
        .update_connector(request)
        .await
        .unwrap()
        .into_inner()
        .connector
        .unwrap()
}

/// Reads a snapshot; answers with its connectors and its end.
async fn snapshot(stream: &mut Stream) -> (Vec<String>, pb::WatchConnectorsResponse) {
    let mut seen = Vec::new();
    loop {
        let message = next(stream).await.unwrap();
        if told(&message) == "end" {
            return (seen, message);
        }
        assert_eq!(
            (message.resume_token.as_str(), message.revision),
            ("", 0),
            "inside the snapshot"
        );
        seen.push(told(&message));
    }
}

database::test_on_both! {
    /// Changes that do not concern a watcher do not keep it from being told that the feed is alive.
    async fn foreign_changes_do_not_starve_progress(database: TestDatabase) {
        let suite = Suite::start(&database).await;
        let mut ada = suite.client("ada");
        let mut bob = suite.client("bob");
        let foreign = bob
            .create_connector(creation("users/bob", "b", http(vec![])))
            .await;
        let foreign = foreign.unwrap().into_inner().connector.unwrap();
        let mut stream = watch(&mut ada, &["users/ada"], pb::WatchView::Full, "")
            .await
            .unwrap();
        let (_, end) = snapshot(&mut stream).await;
        let mut bobs = 0;
        let renaming = async {
            loop {
                bobs += 1;
                rename(&mut bob, &foreign.name, &format!("B{bobs}")).await;
                suite.clock.advance(Duration::from_secs(1));
            }
        };
        let told_of = tokio::select! {
            message = next(&mut stream) => message.unwrap(),
            () = renaming => unreachable!("it goes on"),
        };
        assert_eq!(told(&told_of), "progress");
        assert!(told_of.revision >= end.revision);
    }

    /// First a snapshot with its end, then every change with growing revisions.
    async fn a_snapshot_then_changes(database: TestDatabase) {
        let suite = Suite::start(&database).await;
        let mut ada = suite.client("ada");
        create(&mut ada, "a", http(vec![])).await;
        create(&mut ada, "b", http(vec![])).await;
        create_foreign(&suite).await;
        let mut stream = watch(&mut ada, &["users/ada"], pb::WatchView::Full, "").await.unwrap();
        let (seen, end) = snapshot(&mut stream).await;
        assert_eq!(seen, ["+users/ada/connectors/a", "+users/ada/connectors/b"]);
        assert!(!end.resume_token.is_empty());
        let renamed = rename(&mut ada, "users/ada/connectors/a", "New").await;
        let change = next(&mut stream).await.unwrap();
        let Some(Event::Connector(connector)) = &change.event else { panic!("{change:?}") };
        assert_eq!((connector, change.revision), (&renamed, renamed.revision));
        assert!(connector.status.is_some() && change.revision > end.revision);
        create_foreign(&suite).await;
        let deleted = delete(&mut ada, "users/ada/connectors/b").await.unwrap();
        let change = next(&mut stream).await.unwrap();
        assert_eq!((told(&change).as_str(), change.revision), ("-users/ada/connectors/b", deleted));
    }

    /// The view of the desired state has no status, and reports do not disturb it.
    async fn the_desired_view_is_undisturbed_by_reports(database: TestDatabase) {
        let suite = Suite::start(&database).await;
        let mut ada = suite.client("ada");
        let created = create(&mut ada, "a", http(vec![])).await;
        let mut runtime = suite.client("runtime-sync");
        let mut desired = watch(&mut runtime, &[], pb::WatchView::Desired, "").await.unwrap();
        let first = next(&mut desired).await.unwrap();
        let Some(Event::Connector(connector)) = first.event else { panic!("{first:?}") };
        assert!(connector.status.is_none() && connector.generation == 1);
        assert_eq!(told(&next(&mut desired).await.unwrap()), "end");
        let mut full = watch(&mut ada, &["users/ada"], pb::WatchView::Full, "").await.unwrap();
        snapshot(&mut full).await;
        crate::runtime::report_ready(&mut runtime, &created).await;
        assert_eq!(told(&next(&mut full).await.unwrap()), "+users/ada/connectors/a");
        rename(&mut ada, &created.name, "New").await;
        let change = next(&mut desired).await.unwrap();
        let Some(Event::Connector(connector)) = change.event else { panic!("{change:?}") };
        assert_eq!(connector.display_name, "New");
    }

    /// A watcher that comes back again and again while writers run sees the last state of every connector.
    async fn resuming_leaves_no_gap(database: TestDatabase) {
        let suite = Suite::start(&database).await;
        let client = suite.client("ada");
        let mut ada = client.clone();
        for number in 0..4 {
            create(&mut ada, &format!("c{number}"), http(vec![])).await;
        }
        let mut stream = watch(&mut ada, &["users/ada"], pb::WatchView::Desired, "").await.unwrap();
        let (_, end) = snapshot(&mut stream).await;
        let writers = join_all((0..4).map(|number| {
            let mut client = client.clone();
            async move {
                for round in 0..10 {
                    rename(&mut client, &format!("users/ada/connectors/c{number}"), &format!("round {round}")).await;
                }
            }
        }));
        let watcher = async {
            let (mut token, mut revision) = (end.resume_token, end.revision);
            let mut last = BTreeMap::new();
            while last.values().filter(|name| *name == "round 9").count() < 4 {
                let mut stream = watch(&mut ada, &["users/ada"], pb::WatchView::Desired, &token).await.unwrap();
                for _ in 0..3 {
                    let message = next(&mut stream).await.unwrap();
                    if let Some(Event::Connector(connector)) = message.event {
                        assert!(message.revision > revision, "{} after {revision}", message.revision);
                        last.insert(connector.name, connector.display_name);
                    }
                    (token, revision) = (message.resume_token, message.revision);
                    if last.values().filter(|name| *name == "round 9").count() == 4 {
                        break;
                    }
                }
            }
        };
        tokio::join!(writers, watcher);
    }

    /// A token of another feed, of the future, or of too long ago means starting over; garbage is refused.
    async fn tokens_that_cannot_be_resumed(database: TestDatabase) {
        let suite = Suite::start(&database).await;
        let mut ada = suite.client("ada");
        create(&mut ada, "a", http(vec![])).await;
        let mut stream = watch(&mut ada, &["users/ada"], pb::WatchView::Full, "").await.unwrap();
        let (_, end) = snapshot(&mut stream).await;
        let (feed, revision) = end.resume_token.split_once('.').unwrap();
        let foreign = format!("{}.{revision}", "0".repeat(32));
        for token in [foreign, format!("{feed}.999999")] {
            let (code, view) = refusal(watch(&mut ada, &["users/ada"], pb::WatchView::Full, &token).await);
            assert_eq!((code, view.reason.as_str()), (Code::OutOfRange, "RESUME_TOKEN_EXPIRED"));
        }
        assert_eq!(fields(watch(&mut ada, &["users/ada"], pb::WatchView::Full, "garbage").await), ["resume_token"]);
        delete(&mut ada, "users/ada/connectors/a").await.unwrap();
        let token = end.resume_token.clone();
        let forgotten = async {
            loop {
                // Until the sweeper has come, the token is good, and the deletion is told.
                match watch(&mut ada, &["users/ada"], pb::WatchView::Full, &token).await {
                    Ok(mut stream) => {
                        if let Err(status) = next(&mut stream).await {
                            break status;
                        }
                    }
                    Err(status) => break status,
                }
            }
        };
        let day = Duration::from_secs(24 * 60 * 60 + 31);
        let status = advance_until(&suite.clock, day, "the sweeper", forgotten).await;
        assert_eq!(refusal::<()>(Err(status)).0, Code::OutOfRange);
    }

    /// A silent feed shows that it is alive, with a token to go on from.
    async fn a_silent_feed_shows_that_it_is_alive(database: TestDatabase) {
        let suite = Suite::start(&database).await;
        let mut ada = suite.client("ada");
        let mut stream = watch(&mut ada, &["users/ada"], pb::WatchView::Full, "").await.unwrap();
        let (_, end) = snapshot(&mut stream).await;
        let progress = advance_until(&suite.clock, Duration::from_secs(29), "progress", next(&mut stream)).await.unwrap();
        assert_eq!((told(&progress), progress.resume_token), ("progress".to_owned(), end.resume_token));
    }

    /// A reader that does not read is cut off and told so; nothing is kept for it.
    async fn a_slow_reader_is_cut_off(database: TestDatabase) {
        let suite = Suite::start_with(&database, |config| {
            config.policy = policy::Policy::local();
            config.slow_reader = Duration::from_millis(1);
        })
        .await;
        let mut operator = suite.client("operator");
        for number in 0..16 {
            let variables = (0..4).map(|at| plain(&format!("V{at}"), &"x".repeat(60_000))).collect();
            operator.create_connector(creation("projects/big", &format!("c{number}"), stdio(variables))).await.unwrap();
        }
        let mut slow = suite.narrow_client("operator");
        let mut stream = watch(&mut slow, &["projects/big"], pb::WatchView::Full, "").await.unwrap();
        let mut read = 0;
        let end = loop {
            match next(&mut stream).await {
                Ok(message) if told(&message) == "end" => panic!("the snapshot was read to its end"),
                Ok(_) => read += 1,
                Err(status) => break status,
            }
        };
        let (code, view) = refusal::<()>(Err(end));
        assert_eq!((code, view.reason.as_str()), (Code::ResourceExhausted, "WATCHER_TOO_SLOW"));
        assert!(read < 16, "{read}");
    }

    /// A drain ends every watch with UNAVAILABLE, and the token is good at the next process.
    async fn a_drain_ends_watches(database: TestDatabase) {
        let suite = Suite::start(&database).await;
        let mut ada = suite.client("ada");
        create(&mut ada, "a", http(vec![])).await;
        let mut stream = watch(&mut ada, &["users/ada"], pb::WatchView::Full, "").await.unwrap();
        let (_, end) = snapshot(&mut stream).await;
        let (suite, status) = tokio::join!(suite.restart(), next(&mut stream));
        let (code, view) = refusal(status);
        assert_eq!((code, view.reason.as_str()), (Code::Unavailable, "SHUTTING_DOWN"));
        let mut ada = suite.client("ada");
        let mut stream = watch(&mut ada, &["users/ada"], pb::WatchView::Full, &end.resume_token).await.unwrap();
        delete(&mut ada, "users/ada/connectors/a").await.unwrap();
        assert_eq!(told(&next(&mut stream).await.unwrap()), "-users/ada/connectors/a");
        suite.stop().await;
    }

    /// A change made by another process on the same database is told, too.
    async fn changes_of_other_processes_are_told(database: TestDatabase) {
        let suite = Suite::start(&database).await;
        let other = Suite::start(&database).await;
        let mut ada = suite.client("ada");
        let mut stream = watch(&mut ada, &["users/ada"], pb::WatchView::Full, "").await.unwrap();
        snapshot(&mut stream).await;
        create(&mut other.client("ada"), "a", http(vec![])).await;
        let change = advance_until(&suite.clock, Duration::from_secs(1), "the change", async {
            loop {
                let message = next(&mut stream).await.unwrap();
                if told(&message) != "progress" {
                    break message;
                }
            }
        })
        .await;
        assert_eq!(told(&change), "+users/ada/connectors/a");
    }
}

async fn create_foreign(suite: &Suite) {
    let mut bob = suite.client("bob");
    bob.create_connector(creation("users/bob", "", http(vec![])))
        .await
        .unwrap();
}
