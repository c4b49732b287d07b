//! Creating, publishing, giving up: ids, quotas, requests.

use database::testing::TestDatabase;
use futures_util::future::join_all;
use sea_orm::{ColumnTrait as _, EntityTrait as _, QueryFilter as _, sea_query::Expr};

use super::*;
use crate::{
    domain::{
        state::State,
        status::{SECRET_MISSING, SPEC_TOO_NEW},
    },
    store::{
        Action, Claimed, Mutation, NewTask, Tasks,
        entity::{connector, outbox},
    },
};

database::test_on_both! {
    /// A connector is read back as it was written.
    async fn what_is_created_is_read_back(database: TestDatabase) {
        let store = open(&database).await;
        let mut wanted = new("users/ada", Some("files"));
        wanted.spec = spec(&[("env", "prod"), ("team", "x")]);
        let created = published(store.begin_create(wanted).await.expect("created"));
        let read = store.get(&name("users/ada/connectors/files")).await.expect("there");
        assert_eq!(read, created);
        assert_eq!((read.revisions.generation, read.revisions.revision), (1, store.feed().await.expect("feed").revision));
        assert_eq!(read.status.detail.reason, SECRET_MISSING);
    }

    /// A taken id is refused when it was asked for, and avoided when it was derived.
    async fn ids_are_unique_in_their_scope(database: TestDatabase) {
        let store = open(&database).await;
        create(&store, "users/ada", "files").await;
        create(&store, "users/bob", "files").await;
        let again = store.begin_create(new("users/ada", Some("files"))).await;
        assert!(matches!(again, Err(Error::Exists)), "{again:?}");
        for expected in ["my-server", "my-server-2", "my-server-3"] {
            let created = published(store.begin_create(new("users/ada", None)).await.expect("created"));
            assert_eq!(created.name.id().as_str(), expected);
        }
    }

    /// 64 creates at once, from two processes, never pass a quota of ten.
    async fn concurrent_creates_never_pass_the_quota(database: TestDatabase) {
        let store = open(&database).await;
        let other = another(&database, &store).await;
        let creates = (0..64).map(|number| {
            let store = if number % 2 == 0 { &store } else { &other };
            async move { store.begin_create(new("users/ada", Some(&format!("c{number}")))).await }
        });
        let outcomes = join_all(creates).await;
        let created = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
        let refused = outcomes.iter().filter(|outcome| matches!(outcome, Err(Error::Quota { limit: 10 }))).count();
        assert_eq!((created, refused), (10, 54), "{outcomes:?}");
        assert_eq!(store.count(&scope("users/ada")).await.expect("count"), 10);
        // Another scope has a quota of its own, and deleting makes room.
        create(&store, "users/bob", "c0").await;
        let some = store.list(all()).await.expect("list").remove(0);
        store.delete::<Error>(&some.name, at(300), |_| Ok(vec![])).await.expect("deleted");
        create(&store, "users/ada", "another").await;
    }

    /// 32 creates at once that derive the same id all get one of their own.
    async fn concurrent_derived_ids_differ(database: TestDatabase) {
        let store = open(&database).await;
        let creates = (0..32).map(|_| store.begin_create(NewConnector { quota: None, ..new("system", None) }));
        let mut ids: Vec<String> = join_all(creates)
            .await
            .into_iter()
            .map(|begun| published(begun.expect("created")).name.id().to_string())
            .collect();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), 32);
    }

    /// A connector with secrets is seen by nobody until it is published, and counts all the same.
    async fn an_unpublished_connector_is_unseen_but_counts(database: TestDatabase) {
        let store = open(&database).await;
        let wanted = NewConnector { has_secrets: true, quota: Some(1), ..new("users/ada", Some("files")) };
        let unseen = provisioning(store.begin_create(wanted.clone()).await.expect("begun"));
        assert!(matches!(store.get(&unseen.name).await, Err(Error::NotFound)));
        assert!(store.list(all()).await.expect("list").is_empty());
        let over = NewConnector { id: Some(id("other")), ..wanted };
        assert!(matches!(store.begin_create(over).await, Err(Error::Quota { .. })));
        let live = store.publish(unseen.uid, vec![stored("x-key", 1)], at(102)).await.expect("published");
        assert_eq!(store.get(&unseen.name).await.expect("there"), live);
        assert_eq!(live.secrets, [stored("x-key", 1)]);
        // Doing it again changes nothing.
        assert_eq!(store.publish(unseen.uid, vec![stored("x-key", 9)], at(103)).await.expect("same"), live);
    }

    /// What was given up frees its id and its place, and can never be published.
    async fn a_creation_that_was_given_up_stays_so(database: TestDatabase) {
        let store = open(&database).await;
        let request = Some(request("ada", "users/ada", 1, 7));
        let wanted = NewConnector { has_secrets: true, quota: Some(1), request, ..new("users/ada", Some("files")) };
        let first = provisioning(store.begin_create(wanted.clone()).await.expect("begun"));
        let task = NewTask::later(Action::DeleteSecrets, Duration::from_secs(30));
        store.abandon(first.uid, task, at(100)).await.expect("given up");
        assert!(matches!(store.publish(first.uid, vec![], at(102)).await, Err(Error::NotFound)));
        let second = provisioning(store.begin_create(wanted).await.expect("begun"));
        assert_ne!(first.uid, second.uid);
        // What it may have left in the vault is owed, when the time has come.
        let hold = Duration::from_secs(60);
        assert!(store.claim_tasks(Tasks::Others, at(129), hold, 10).await.expect("none").is_empty());
        let [owed] = &store.claim_tasks(Tasks::Others, at(130), hold, 10).await.expect("one")[..] else { panic!("one") };
        assert_eq!((owed.uid, &owed.action), (first.uid, &Action::DeleteSecrets));
    }

    /// The sweeper finds creations that are too old; giving up what is published does nothing.
    async fn only_old_unfinished_creations_are_taken(database: TestDatabase) {
        let store = open(&database).await;
        let live = create(&store, "users/ada", "live").await;
        let wanted = NewConnector { has_secrets: true, ..new("users/ada", Some("stuck")) };
        let stuck = provisioning(store.begin_create(wanted).await.expect("begun"));
        assert!(store.unfinished(at(100), 10).await.expect("none").is_empty());
        assert_eq!(store.unfinished(at(101), 10).await.expect("one"), [stuck.uid]);
        store.abandon(live.uid, NewTask::now(Action::DeleteSecrets), at(101)).await.expect("nothing");
        assert!(store.get(&live.name).await.is_ok());
        assert!(store.claim_tasks(Tasks::Others, at(999), Duration::ZERO, 10).await.expect("none").is_empty());
    }

    /// A derived id takes the first free number, whatever else begins like it.
    async fn derived_ids_take_the_first_gap(database: TestDatabase) {
        let store = open(&database).await;
        for taken in ["my-server", "my-server-2", "my-server-4", "my-server-x", "my-serverless"] {
            create(&store, "users/ada", taken).await;
        }
        create(&store, "users/bob", "my-server-3").await;
        for expected in ["my-server-3", "my-server-5"] {
            let made = published(store.begin_create(new("users/ada", None)).await.expect("created"));
            assert_eq!(made.name.id().as_str(), expected);
        }
    }

    /// A spec of a newer release is shown as such and fails nothing, neither alone nor in a list.
    async fn a_spec_of_a_newer_release_fails_nothing(database: TestDatabase) {
        let store = open(&database).await;
        let created = create(&store, "users/ada", "newer").await;
        create(&store, "users/ada", "other").await;
        let specs = [
            r#"{"display_name":"x","enabled":true,"transport":{"type":"PIGEON"}}"#,
            r#"{"enabled":"maybe"}"#,
        ];
        for newer in specs {
            connector::Entity::update_many()
                .col_expr(connector::Column::Spec, Expr::value(newer))
                .filter(connector::Column::Uid.eq(created.uid.as_uuid()))
                .exec(store.database.connection())
                .await
                .expect("written");
            let read = store.get(&created.name).await.expect("readable");
            assert_eq!(read.spec.transport, Transport::Unknown);
            assert_eq!((read.status.state, read.reason(None)), (State::Misconfigured, SPEC_TOO_NEW));
            assert_eq!(store.list(all()).await.expect("list").len(), 2);
        }
    }

    /// A request id leads back to what it made, for the same principal and parent only.
    async fn a_request_is_recognised(database: TestDatabase) {
        let store = open(&database).await;
        let with = |principal: &str, hash| NewConnector {
            request: Some(request(principal, "users/ada", 1, hash)),
            ..new("users/ada", None)
        };
        let first = published(store.begin_create(with("ada", 7)).await.expect("created"));
        let again = published(store.begin_create(with("ada", 7)).await.expect("replayed"));
        assert_eq!(again, first);
        assert!(matches!(store.begin_create(with("ada", 8)).await, Ok(Begun::Reused)));
        let other = published(store.begin_create(with("bob", 7)).await.expect("created"));
        assert_ne!(other.uid, first.uid);
        // After a deletion the request is answered by what is true now.
        store.delete::<Error>(&first.name, at(150), |_| Ok(vec![])).await.expect("deleted");
        assert!(matches!(store.begin_create(with("ada", 7)).await, Err(Error::NotFound)));
        // And after a day it is forgotten.
        store.forget_requests(at(101)).await.expect("forgotten");
        published(store.begin_create(with("ada", 7)).await.expect("created anew"));
    }

    /// The same request sent 16 times at once makes one connector.
    async fn concurrent_repetitions_make_one_connector(database: TestDatabase) {
        let store = open(&database).await;
        let wanted = NewConnector { request: Some(request("ada", "users/ada", 1, 7)), ..new("users/ada", None) };
        let outcomes = join_all((0..16).map(|_| store.begin_create(wanted.clone()))).await;
        let mut uids: Vec<_> = outcomes.into_iter().map(|begun| published(begun.expect("same")).uid).collect();
        uids.dedup();
        assert_eq!(uids.len(), 1);
        assert_eq!(store.count(&scope("users/ada")).await.expect("count"), 1);
    }

    /// What a change owes is written with it, taken by one worker at a time, and forgotten only when done.
    async fn debts_are_kept_until_they_are_paid(database: TestDatabase) {
        let store = open(&database).await;
        let created = create(&store, "users/ada", "files").await;
        let tasks = || vec![NewTask::now(Action::DeleteSecret(stored("x-key", 1).location.secret)), NewTask::now(Action::DeleteSecrets)];
        store.delete::<Error>(&created.name, at(300), |_| Ok(tasks())).await.expect("deleted");
        let hold = Duration::from_secs(60);
        let claim = |which, now| store.claim_tasks(which, at(now), hold, 10);
        let taken = claim(Tasks::Others, 300).await.expect("two");
        assert_eq!(taken.iter().map(|task| task.attempts).collect::<Vec<_>>(), [1, 1]);
        assert!(claim(Tasks::Others, 359).await.expect("held").is_empty());
        // Whoever took them died; they are due again.
        let again = claim(Tasks::Others, 360).await.expect("two");
        assert_eq!(again.iter().map(|task| task.attempts).collect::<Vec<_>>(), [2, 2]);
        assert_eq!(again[0].uid, created.uid);
        store.finish_task(again[1].id).await.expect("done");
        store.postpone_task(again[0].id, at(400)).await.expect("later");
        assert!(claim(Tasks::Others, 399).await.expect("later").is_empty());
        let asked = Tasks::InTheWay(created.uid, None);
        assert_eq!(claim(asked, 399).await.expect("asked for").len(), 1);
        let further = Tasks::InTheWay(created.uid, Some(again[0].id));
        assert!(claim(further, 399).await.expect("none").is_empty());
        store.finish_task(again[0].id).await.expect("done");
        assert!(claim(asked, 999).await.expect("none").is_empty());
    }

    /// Ends of leases are taken apart from everything else, and are in nobody's way.
    async fn revocations_are_taken_apart(database: TestDatabase) {
        let store = open(&database).await;
        let created = create(&store, "users/ada", "files").await;
        let tasks = || vec![NewTask::now(Action::RevokeLeases), NewTask::now(Action::DeleteSecrets)];
        store.delete::<Error>(&created.name, at(300), |_| Ok(tasks())).await.expect("deleted");
        let claim = |which| store.claim_tasks(which, at(300), Duration::from_secs(60), 10);
        assert!(claim(Tasks::InTheWay(created.uid, None)).await.expect("none").is_empty());
        let actions = |tasks: Vec<Claimed>| tasks.into_iter().map(|task| task.action).collect::<Vec<_>>();
        assert_eq!(actions(claim(Tasks::Revocations).await.expect("one")), [Action::RevokeLeases]);
        assert_eq!(actions(claim(Tasks::Others).await.expect("one")), [Action::DeleteSecrets]);
    }

    /// A task that cannot be read holds up no other.
    async fn an_unreadable_task_holds_up_no_other(database: TestDatabase) {
        let store = open(&database).await;
        let created = create(&store, "users/ada", "files").await;
        for action in [Action::DeleteSecrets, Action::UnsetVariables(vec!["A".into()])] {
            let (name, task) = (created.name.clone(), NewTask::now(action));
            store.owe(name, created.uid, task, at(300)).await.expect("owed");
        }
        outbox::Entity::update_many()
            .col_expr(outbox::Column::Action, Expr::value("OF_A_NEWER_RELEASE"))
            .filter(outbox::Column::Action.eq("DELETE_SECRETS"))
            .exec(store.database.connection())
            .await
            .expect("written");
        let tasks = store.claim_tasks(Tasks::Others, at(300), Duration::from_secs(60), 10).await.expect("one");
        assert_eq!(tasks.len(), 1);
    }

    /// What was asked of a connector is forgotten with it.
    async fn requests_go_with_their_connector(database: TestDatabase) {
        let store = open(&database).await;
        let created = create(&store, "users/ada", "files").await;
        let key = request("ada", &created.uid.to_string(), 1, 7);
        let changed = store.mutate::<Error>(&created.name, at(200), |current| {
            Ok(Some(Mutation { connector: current.clone(), tasks: vec![], request: Some(key.clone()) }))
        });
        changed.await.expect("changed");
        assert_eq!(store.recall(&key).await.expect("known"), Some([7; 32]));
        store.delete::<Error>(&created.name, at(300), |_| Ok(vec![])).await.expect("deleted");
        assert_eq!(store.recall(&key).await.expect("forgotten"), None);
    }
}

fn all() -> crate::store::ListQuery<'static> {
    use crate::{
        domain::{filter::Filter, order::Order},
        store::{ListQuery, Selection},
    };
    const NONE: &Filter = &Filter::All(Vec::new());
    ListQuery {
        selection: &Selection::Everything,
        filter: NONE,
        order: Order::default(),
        after: None,
        limit: 100,
    }
}
