//! `migrate up|down|status`.

use anyhow::Context as _;
use database::Database;
use migrations::State;
use sea_orm_migration::MigratorTrait;

use crate::{Failure, say};

/// What to do with the schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::Subcommand)]
pub enum Migrate {
    /// Apply every pending migration
    Up,
    /// Undo the last migrations; what only they can hold is lost
    Down {
        /// How many to undo
        #[arg(long, default_value_t = 1)]
        steps: u32,
    },
    /// List the migrations and whether they are applied
    Status,
}

/// Carries out a step on the schema of `M`, and says what was done.
///
/// # Errors
/// [`Failure::Other`] when the database refuses; then nothing was changed.
pub async fn migrate<M: MigratorTrait>(database: Database, step: Migrate) -> Result<(), Failure> {
    let connection = database.connection();
    let lines: Vec<String> = match step {
        Migrate::Up => {
            let change = migrations::up::<M>(connection)
                .await
                .context("migrate up")?;
            change
                .migrations
                .iter()
                .map(|name| format!("applied {name}"))
                .collect()
        }
        Migrate::Down { steps } => {
            let change = migrations::down::<M>(connection, steps)
                .await
                .context("migrate down")?;
            change
                .migrations
                .iter()
                .map(|name| format!("undone {name}"))
                .collect()
        }
        Migrate::Status => {
            let states = migrations::status::<M>(connection)
                .await
                .context("migrate status")?;
            states
                .iter()
                .map(|(name, state)| format!("{:8} {name}", label(*state)))
                .collect()
        }
    };
    let text = if lines.is_empty() {
        "nothing to do".to_owned()
    } else {
        lines.join("\n")
    };
    say(&format!("{text}\n"));
    Ok(database.close().await.context("closing the database")?)
}

fn label(state: State) -> &'static str {
    match state {
        State::Applied => "applied",
        State::Pending => "pending",
        State::Unknown => "unknown",
    }
}
