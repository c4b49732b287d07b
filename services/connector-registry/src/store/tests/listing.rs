//! Lists: filters, orders, pages, scopes; the SQL is held against a model in memory.

use database::testing::TestDatabase;

use super::*;
use crate::{
    domain::{
        filter::{Filter, Term},
        order::{Cursor, Order, OrderField},
        state::State,
    },
    store::{ListQuery, Observed, Reporter, Selection},
};

async fn listed(store: &Store, selection: &Selection, filter: &str, order: &str) -> Vec<String> {
    let filter: Filter = filter.parse().expect("filter");
    let order: Order = order.parse().expect("order");
    let query = ListQuery {
        selection,
        filter: &filter,
        order,
        after: None,
        limit: 100,
    };
    store
        .list(query)
        .await
        .expect("list")
        .iter()
        .map(|connector| connector.name.to_string())
        .collect()
}

fn scopes(names: &[&str]) -> Selection {
    Selection::Scopes(
        names
            .iter()
            .map(|name| name.parse().expect("selector"))
            .collect(),
    )
}

/// What a filter means, said a second time.
fn holds(filter: &Filter, connector: &Connector) -> bool {
    match filter {
        Filter::All(parts) => parts.iter().all(|part| holds(part, connector)),
        Filter::Any(parts) => parts.iter().any(|part| holds(part, connector)),
        Filter::Not(part) => !holds(part, connector),
        Filter::Is(Term::State(state)) => connector.status.state == *state,
        Filter::Is(Term::Condition(condition)) => connector.status.state.condition() == *condition,
        Filter::Is(Term::Transport(kind)) => connector.spec.transport.kind() == *kind,
        Filter::Is(Term::Source(source)) => connector.source == *source,
        Filter::Is(Term::Enabled(enabled)) => connector.spec.enabled == *enabled,
        Filter::Is(Term::DisplayName(name)) => connector.spec.display_name == *name,
        Filter::Is(Term::Label { key, value }) => connector.spec.labels.get(key) == Some(value),
    }
}

/// Connectors of several kinds and states in three scopes.
async fn populate(store: &Store) -> Vec<Connector> {
    let mut made = Vec::new();
    for (number, parent) in [
        "users/ada",
        "users/ada",
        "users/ada",
        "users/bob",
        "projects/ada",
        "system",
    ]
    .iter()
    .enumerate()
    {
        let mut wanted = new(parent, Some(&format!("c{number}")));
        wanted.now = at(100 - i64::try_from(number).expect("small"));
        wanted.spec = match number {
            0 => spec(&[("env", "prod"), ("team", "x")]),
            1 => spec(&[("env", "test")]),
            2 => Spec {
                enabled: false,
                display_name: "Other".into(),
                ..spec(&[("team", "x")])
            },
            3 => Spec {
                transport: Transport::StreamableHttp(StreamableHttp {
                    url: "https://a.example/".into(),
                    headers: vec![],
                }),
                ..spec(&[])
            },
            _ => spec(&[("env", "prod' OR 1=1 --")]),
        };
        made.push(published(
            store.begin_create(wanted).await.expect("created"),
        ));
    }
    let ready = Observed {
        uid: made[3].uid,
        generation: 1,
        state: State::Ready,
        detail: Default::default(),
        tools: None,
    };
    let reporter = Reporter {
        name: "r",
        id: Uuid::nil(),
        epoch: 0,
    };
    store
        .report(reporter, vec![ready], at(100), Duration::from_secs(30))
        .await
        .expect("reported");
    made
}

database::test_on_both! {
    /// A list shows the scopes that were asked for and nothing else.
    async fn scopes_are_apart(database: TestDatabase) {
        let store = open(&database).await;
        populate(&store).await;
        let names = |selection| {
            let store = store.clone();
            async move { listed(&store, &selection, "", "").await }
        };
        assert_eq!(names(scopes(&["users/bob"])).await, ["users/bob/connectors/c3"]);
        assert_eq!(names(scopes(&["users/-"])).await.len(), 4);
        assert_eq!(names(scopes(&["projects/-", "users/bob"])).await.len(), 2);
        assert_eq!(names(scopes(&["system"])).await, ["system/connectors/c5"]);
        assert!(names(scopes(&["users/nobody"])).await.is_empty());
        assert!(names(Selection::Scopes(vec![])).await.is_empty());
        assert_eq!(names(Selection::Everything).await.len(), 6);
    }

    /// Every filter means the same in SQL as in its definition.
    async fn filters_mean_what_they_say(database: TestDatabase) {
        let store = open(&database).await;
        populate(&store).await;
        let everything = ListQuery {
            selection: &Selection::Everything,
            filter: &Filter::All(vec![]),
            order: Order::default(),
            after: None,
            limit: 100,
        };
        let made = store.list(everything).await.expect("list");
        for (filter, count) in [
            ("state = READY", 1),
            ("state != READY", 5),
            ("condition = CONNECTED", 1),
            ("condition = ERROR", 4),
            ("condition = DISCONNECTED", 1),
            ("transport = STREAMABLE_HTTP", 6),
            ("transport = STDIO", 0),
            ("source = MANUAL", 6),
            ("enabled = false", 1),
            ("display_name = \"Other\"", 1),
            ("labels.env = \"prod\"", 1),
            ("labels.env != \"prod\"", 5),
            ("labels.env = \"prod' OR 1=1 --\"", 2),
            ("labels.env = prod AND labels.team = x", 1),
            ("labels.env = prod OR labels.team = x", 2),
            ("labels.env = prod OR labels.team = x AND enabled = true", 1),
            ("NOT (labels.env = prod OR labels.env = test) AND enabled = true", 3),
            ("NOT (NOT labels.env = prod AND NOT labels.env = test)", 2),
        ] {
            let parsed: Filter = filter.parse().expect(filter);
            let model: Vec<String> =
                made.iter().filter(|one| holds(&parsed, one)).map(|one| one.name.to_string()).collect();
            let found = listed(&store, &Selection::Everything, filter, "").await;
            assert_eq!(found, model, "{filter}");
            assert_eq!(found.len(), count, "{filter}");
        }
    }

    /// Pages put together are the list, in every order, while others come and go.
    async fn pages_are_stable_while_rows_come_and_go(database: TestDatabase) {
        let store = open(&database).await;
        for number in 0..9_i64 {
            let mut wanted = NewConnector { quota: None, ..new("system", Some(&format!("c{number}"))) };
            // Equal times, so that the name has to decide.
            wanted.now = at(100 + number / 3);
            store.begin_create(wanted).await.expect("created");
        }
        for (field, descending) in [
            (OrderField::Name, false),
            (OrderField::Name, true),
            (OrderField::CreateTime, false),
            (OrderField::CreateTime, true),
            (OrderField::UpdateTime, false),
        ] {
            let order = Order { field, descending };
            let mut after: Option<Cursor> = None;
            let mut seen = Vec::new();
            loop {
                let query = ListQuery {
                    selection: &Selection::Everything,
                    filter: &Filter::All(vec![]),
                    order,
                    after: after.as_ref(),
                    limit: 2,
                };
                let page = store.list(query).await.expect("page");
                let Some(last) = page.last() else { break };
                after = Some(Cursor::after(last, order));
                seen.extend(page.iter().map(|one| one.name.id().to_string()));
                // The boundary's row is gone when the next page is asked for, and a new one is at the front.
                if seen.len() == 4 {
                    let gone = store.delete::<Error>(&last.name.clone(), at(300), |_| Ok(vec![])).await;
                    let gone = gone.expect("deleted").connector;
                    let back = NewConnector { quota: None, now: gone.create_time, ..new("system", Some(gone.name.id().as_str())) };
                    store.begin_create(back).await.expect("created");
                }
            }
            let mut sorted = seen.clone();
            sorted.sort();
            if descending {
                sorted.reverse();
            }
            let expected: Vec<String> = (0..9).map(|number| format!("c{number}")).collect();
            let mut all = seen.clone();
            all.sort();
            assert_eq!(all, expected, "{order:?}: each row once");
            assert_eq!(seen, sorted, "{order:?}: in order");
        }
    }
}
