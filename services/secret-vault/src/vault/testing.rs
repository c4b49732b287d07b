//! A vault without its gRPC surface, for tests that look inside.

use database::Database;
use database::testing::TestDatabase;
use lifecycle::{Clock, Tasks};
use tempfile::TempDir;

use super::{Limits, Vault};
use crate::keyring::{KeyFile, Keyring};

/// A vault and what it lives in.
pub(super) struct Started {
    pub(super) vault: Vault,
    pub(super) database: Database,
    pub(super) clock: Clock,
    _tasks: Tasks,
    _folder: TempDir,
    _test: TestDatabase,
}

/// A vault whose clock stands at the epoch.
pub(super) async fn start(test: TestDatabase) -> Started {
    let database = test.connect().await;
    migrations::up::<migrations::Vault>(database.connection())
        .await
        .unwrap();
    let folder = TempDir::new().unwrap();
    let (clock, tasks) = (
        Clock::manual(std::time::SystemTime::UNIX_EPOCH),
        Tasks::new("test"),
    );
    let file = KeyFile::new(folder.path().join("vault.key"));
    let keyring = Keyring::open(&database, &file, &clock).await.unwrap();
    let lease_ttl = std::time::Duration::from_secs(60);
    let limits = Limits {
        lease_ttl,
        grants_per_second: 1,
        grant_burst: 1,
    };
    let vault = Vault::start(database.clone(), keyring, clock.clone(), limits, &tasks);
    Started {
        vault,
        database,
        clock,
        _tasks: tasks,
        _folder: folder,
        _test: test,
    }
}
