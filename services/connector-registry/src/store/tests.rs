//! What the store promises, on SQLite and on PostgreSQL.

mod creating;
mod feed;
mod listing;
mod reports;

use std::{collections::BTreeMap, time::Duration};

use database::{Database, Engine, testing::TestDatabase};
use names::{ConnectorId, ConnectorName, ScopeName};
use uuid::Uuid;

use super::{Begun, Error, Mutation, NewConnector, RequestKey, Store};
use crate::domain::{
    connector::{Connector, SecretLocation, StoredSecret},
    spec::{
        Field, FieldValue, SecretField, SecretPlace, Spec, StreamableHttp, Timeouts, Transport,
    },
    timestamp::Timestamp,
};

/// A second pool on the same database, as another process has it.
async fn connect(database: &TestDatabase) -> Database {
    database.connect().await
}

/// Another process on the same database. A file of SQLite has one process, so there it is another handle.
async fn another(database: &TestDatabase, store: &Store) -> Store {
    let connected = connect(database).await;
    match connected.engine() {
        Engine::Sqlite => store.clone(),
        Engine::Postgres => Store::open(connected).await.expect("store"),
    }
}

async fn open(database: &TestDatabase) -> Store {
    let database = connect(database).await;
    migrations::up::<migrations::Registry>(database.connection())
        .await
        .expect("schema");
    Store::open(database).await.expect("store")
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(seconds * 1_000_000)
}

fn scope(name: &str) -> ScopeName {
    name.parse().expect("scope")
}

fn id(id: &str) -> ConnectorId {
    id.parse().expect("id")
}

fn name(name: &str) -> ConnectorName {
    name.parse().expect("name")
}

fn spec(labels: &[(&str, &str)]) -> Spec {
    let key = Field {
        name: "X-Key".into(),
        prefix: "Bearer ".into(),
        value: FieldValue::Secret,
    };
    Spec {
        display_name: "My server".into(),
        description: "Text".into(),
        icon_uri: String::new(),
        labels: labels
            .iter()
            .map(|(key, value)| ((*key).into(), (*value).into()))
            .collect::<BTreeMap<_, _>>(),
        enabled: true,
        transport: Transport::StreamableHttp(StreamableHttp {
            url: "https://mcp.example/mcp".into(),
            headers: vec![key],
        }),
        timeouts: Timeouts {
            connect: Some(Duration::from_secs(5)),
            call: None,
        },
    }
}

fn new(parent: &str, wanted: Option<&str>) -> NewConnector {
    NewConnector {
        scope: scope(parent),
        id: wanted.map(id),
        derived: id("my-server"),
        spec: spec(&[]),
        has_secrets: false,
        quota: Some(10),
        request: None,
        now: at(100),
    }
}

fn request(principal: &str, target: &str, number: u128, hash: u8) -> RequestKey {
    RequestKey {
        principal: principal.into(),
        target: target.into(),
        id: Uuid::from_u128(number),
        hash: [hash; 32],
    }
}

async fn create(store: &Store, parent: &str, wanted: &str) -> Connector {
    published(
        store
            .begin_create(new(parent, Some(wanted)))
            .await
            .expect("created"),
    )
}

fn published(begun: Begun) -> Connector {
    match begun {
        Begun::Published(connector) => *connector,
        other => panic!("expected a published connector, found {other:?}"),
    }
}

fn provisioning(begun: Begun) -> Connector {
    match begun {
        Begun::Provisioning(connector) => *connector,
        other => panic!("expected an unseen connector, found {other:?}"),
    }
}

fn stored(header: &str, version: u64) -> StoredSecret {
    let secret = "users/ada/secrets/01932d3c-7a00-7000-8000-000000000001"
        .parse()
        .expect("name");
    StoredSecret {
        field: SecretField::new(SecretPlace::Header, header),
        location: SecretLocation {
            secret,
            version,
            fingerprint: "ab".into(),
        },
        destination: "https://mcp.example:443".into(),
        update_time: at(101),
    }
}

/// A change that touches nothing a session depends on.
async fn rename(store: &Store, of: &ConnectorName, to: &str) -> Result<Connector, Error> {
    store
        .mutate(of, at(200), |current| {
            let spec = Spec {
                display_name: to.into(),
                ..current.spec.clone()
            };
            let connector = current.changed(spec, current.secrets.clone(), at(200));
            Ok::<_, Error>(Some(Mutation {
                connector,
                tasks: Vec::new(),
                request: None,
            }))
        })
        .await
}
