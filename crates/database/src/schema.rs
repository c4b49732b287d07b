//! Whether this build may run on the schema that it finds.
//!
//! The window is one release: a build runs on its own schema and on that of the next release, which only
//! adds. Behind it a table may be missing, beyond it one may be gone; both refuse, and say what to do.
//! Migration names carry their release: `r<release>_<number>_<what>`.

use std::collections::BTreeSet;

use sea_orm::{ConnectionTrait as _, DbBackend, Statement};

use crate::{Database, Engine, Error};

/// The schema that a build was written for.
#[derive(Debug, Clone)]
pub struct Schema {
    /// The table that records which migrations the database holds.
    pub tracking_table: String,
    /// The names of the migrations that the build knows.
    pub migrations: Vec<String>,
    /// What an operator types to bring the schema up to date, for example `connector-registry migrate up`.
    pub command: String,
}

/// Why a service must not start on the schema that it found.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// Migrations are pending.
    #[error("the database schema is behind this release: {} missing; run `{command}`", .missing.join(", "))]
    Behind {
        /// The migrations that the database does not hold.
        missing: Vec<String>,
        /// What brings it up to date.
        command: String,
    },
    /// The schema is of a release after the next.
    #[error(
        "the database schema is of release {found}, and this build of release {ours} runs on {ours} and {}; \
         start a newer build, or take the schema back with the newer build's `migrate down`",
        .ours + 1
    )]
    TooNew {
        /// The release of the schema.
        found: u32,
        /// The release of this build.
        ours: u32,
    },
    /// The database holds a migration that belongs to no release after ours and that we do not have.
    #[error(
        "the database holds the migration `{0}`, which is not of this program; is it another's database?"
    )]
    Foreign(String),
    /// The schema could not be read.
    #[error("the database schema could not be read")]
    Database(#[from] Error),
}

impl Database {
    /// Checks that this build may run on the database's schema. Changes nothing.
    ///
    /// # Errors
    /// [`SchemaError`] says what an operator has to do.
    pub async fn check_schema(&self, schema: &Schema) -> Result<(), SchemaError> {
        let held = self.held_migrations(&schema.tracking_table).await?;
        judge(schema, &held)
    }

    async fn held_migrations(&self, table: &str) -> Result<BTreeSet<String>, Error> {
        let (backend, probe) = match self.engine() {
            Engine::Postgres => (
                DbBackend::Postgres,
                "SELECT 1 WHERE to_regclass($1) IS NOT NULL",
            ),
            Engine::Sqlite => (
                DbBackend::Sqlite,
                "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = $1",
            ),
        };
        let probe = Statement::from_sql_and_values(backend, probe, [table.into()]);
        if self.connection.query_one_raw(probe).await?.is_none() {
            return Ok(BTreeSet::new());
        }
        let rows = Statement::from_string(backend, format!("SELECT version FROM {table}"));
        let rows = self.connection.query_all_raw(rows).await?;
        rows.into_iter()
            .map(|row| Ok(row.try_get("", "version")?))
            .collect()
    }
}

fn judge(schema: &Schema, held: &BTreeSet<String>) -> Result<(), SchemaError> {
    let missing: Vec<String> = schema
        .migrations
        .iter()
        .filter(|name| !held.contains(*name))
        .cloned()
        .collect();
    let ours = schema
        .migrations
        .iter()
        .filter_map(|name| release(name))
        .max()
        .unwrap_or(0);
    for name in held
        .iter()
        .rev()
        .filter(|name| !schema.migrations.contains(name))
    {
        match release(name) {
            Some(found) if found > ours + 1 => return Err(SchemaError::TooNew { found, ours }),
            Some(found) if found > ours => {}
            Some(_) | None => return Err(SchemaError::Foreign(name.clone())),
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    Err(SchemaError::Behind {
        missing,
        command: schema.command.clone(),
    })
}

/// The release in a migration's name.
fn release(name: &str) -> Option<u32> {
    name.strip_prefix('r')?.split('_').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema() -> Schema {
        Schema {
            tracking_table: "t".into(),
            migrations: vec!["r0001_0001_a".into(), "r0002_0001_b".into()],
            command: "service migrate up".into(),
        }
    }

    fn check(held: &[&str]) -> Result<(), SchemaError> {
        judge(
            &schema(),
            &held.iter().map(|name| (*name).to_owned()).collect(),
        )
    }

    #[test]
    fn our_schema_and_that_of_the_next_release_are_run_on() {
        check(&["r0001_0001_a", "r0002_0001_b"]).unwrap();
        check(&[
            "r0001_0001_a",
            "r0002_0001_b",
            "r0003_0001_c",
            "r0003_0002_d",
        ])
        .unwrap();
    }

    #[test]
    fn a_schema_behind_us_is_refused_and_the_command_named() {
        let error = check(&["r0001_0001_a"]).unwrap_err().to_string();
        assert!(error.contains("r0002_0001_b missing"), "{error}");
        assert!(error.contains("`service migrate up`"), "{error}");
        assert!(matches!(check(&[]), Err(SchemaError::Behind { .. })));
    }

    #[test]
    fn a_schema_two_releases_ahead_is_refused() {
        let held = [
            "r0001_0001_a",
            "r0002_0001_b",
            "r0003_0001_c",
            "r0004_0001_d",
        ];
        assert!(matches!(
            check(&held),
            Err(SchemaError::TooNew { found: 4, ours: 2 })
        ));
    }

    #[test]
    fn a_strange_migration_means_a_strange_database() {
        let held = ["r0001_0001_a", "r0002_0001_b", "r0002_0009_other_branch"];
        assert!(matches!(check(&held), Err(SchemaError::Foreign(_))));
        let held = ["r0001_0001_a", "r0002_0001_b", "m2024_other_program"];
        assert!(matches!(check(&held), Err(SchemaError::Foreign(_))));
    }
}
