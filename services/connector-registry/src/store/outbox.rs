//! Work owed to the vault: written with the change that causes it, done afterwards, as often as it takes.
//!
//! Invariants: a task leaves the table only when it was done; a task that is being worked on is not given to anybody
//! else until its time is up. Every action may be done twice.

use std::time::Duration;

use database::retry;
use names::{ConnectorName, ConnectorUid, SecretName};
use sea_orm::{
    ActiveModelTrait as _, ActiveValue::Set, ColumnTrait as _, Condition, ConnectionTrait,
    EntityTrait as _, ExprTrait as _, QueryFilter as _, QueryOrder as _, QuerySelect as _,
    sea_query::Expr,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    Error, Store,
    entity::{outbox, secret},
    row,
};
use crate::domain::{
    connector::{SecretLocation, StoredSecret},
    spec::SecretPlace,
    timestamp::Timestamp,
};

const DELETE_SECRETS: &str = "DELETE_SECRETS";
const DELETE_SECRET: &str = "DELETE_SECRET";
const UNSET_VARIABLES: &str = "UNSET_VARIABLES";
const DESTROY_VERSIONS: &str = "DESTROY_VERSIONS";
const REVOKE_LEASES: &str = "REVOKE_LEASES";

/// What the vault is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Delete every secret of the connector.
    DeleteSecrets,
    /// Delete one secret.
    DeleteSecret(SecretName),
    /// Remove variables from the connector's blob.
    UnsetVariables(Vec<String>),
    /// Destroy versions that were replaced.
    DestroyVersions(Superseded),
    /// End every lease and grant of the connector.
    RevokeLeases,
}

/// Versions of a secret that nothing refers to any more, those included that never were referred to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Superseded {
    /// The secret.
    pub secret: String,
    /// The first of them.
    pub from: u64,
    /// The version that is referred to now.
    pub below: u64,
}

/// A task to queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTask {
    /// What to do.
    pub action: Action,
    /// Not before this time has passed.
    pub delay: Duration,
}

impl NewTask {
    /// A task that is due at once.
    #[must_use]
    pub const fn now(action: Action) -> Self {
        Self::later(action, Duration::ZERO)
    }

    /// A task that is due later.
    #[must_use]
    pub const fn later(action: Action, delay: Duration) -> Self {
        Self { action, delay }
    }
}

/// Which tasks to take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tasks {
    /// Due ones that end leases.
    Revocations,
    /// Due ones of any other kind.
    Others,
    /// Those of one connector that could hit what is written to its secrets next, due or not, after this one in the
    /// order of ids.
    InTheWay(ConnectorUid, Option<Uuid>),
}

/// A task that nobody else works on for now.
#[derive(Debug, Clone)]
pub struct Claimed {
    /// Its id.
    pub id: Uuid,
    /// What to do.
    pub action: Action,
    /// The connector's name at the time; it may be another's now.
    pub connector: ConnectorName,
    /// The connector.
    pub uid: ConnectorUid,
    /// How often it was tried, this time included.
    pub attempts: u32,
}

impl Store {
    /// Takes tasks. Those that cannot be read are logged, and left for a release that can.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn claim_tasks(
        &self,
        which: Tasks,
        now: Timestamp,
        hold: Duration,
        limit: u64,
    ) -> Result<Vec<Claimed>, Error> {
        let rows = retry(|| self.claim_rows(which, now, hold, limit)).await?;
        let readable = rows.into_iter().filter_map(|row| {
            let (id, action) = (row.id, row.action.clone());
            claimed(row)
                .inspect_err(|error| {
                    tracing::error!(%id, action, %error, "a task for the vault cannot be read and waits");
                })
                .ok()
        });
        Ok(readable.collect())
    }

    async fn claim_rows(
        &self,
        which: Tasks,
        now: Timestamp,
        hold: Duration,
        limit: u64,
    ) -> Result<Vec<outbox::Model>, Error> {
        let transaction = self.database.begin_write().await?;
        let rows = outbox::Entity::find()
            .filter(condition(which, now))
            // Ids begin with the time.
            .order_by_asc(outbox::Column::Id)
            .limit(limit)
            .lock_exclusive()
            .all(&*transaction)
            .await?;
        let ids: Vec<Uuid> = rows.iter().map(|row| row.id).collect();
        if !ids.is_empty() {
            outbox::Entity::update_many()
                .col_expr(
                    outbox::Column::Attempts,
                    Expr::col(outbox::Column::Attempts).add(1),
                )
                .col_expr(
                    outbox::Column::NextAttemptTime,
                    now.after(hold).micros().into(),
                )
                .filter(outbox::Column::Id.is_in(ids))
                .exec(&*transaction)
                .await?;
        }
        transaction.commit().await?;
        Ok(rows)
    }

    /// Queues a task that no change of a connector causes.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn owe(
        &self,
        connector: ConnectorName,
        uid: ConnectorUid,
        task: NewTask,
        now: Timestamp,
    ) -> Result<(), Error> {
        insert(self.database.connection(), &connector, uid, task, now).await
    }

    /// A task was done.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn finish_task(&self, id: Uuid) -> Result<(), Error> {
        outbox::Entity::delete_by_id(id)
            .exec(self.database.connection())
            .await?;
        Ok(())
    }

    /// A task failed and is due again at `next`.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn postpone_task(&self, id: Uuid, next: Timestamp) -> Result<(), Error> {
        outbox::Entity::update_many()
            .col_expr(outbox::Column::NextAttemptTime, next.micros().into())
            .filter(outbox::Column::Id.eq(id))
            .exec(self.database.connection())
            .await?;
        Ok(())
    }

    /// The references to a connector's secrets as they are now.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn secrets_of(&self, uid: ConnectorUid) -> Result<Vec<StoredSecret>, Error> {
        let rows = secret::Entity::find()
            .filter(secret::Column::ConnectorUid.eq(uid.as_uuid()))
            .all(self.database.connection())
            .await?;
        rows.into_iter().map(row::stored_secret).collect()
    }

    /// A task that changed a connector's blob was done: notes where the variables that are left are sealed now, and
    /// queues what that owes.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn finish_move(
        &self,
        task: &Claimed,
        to: &SecretLocation,
        next: Option<NewTask>,
        now: Timestamp,
    ) -> Result<(), Error> {
        retry(|| self.try_finish_move(task, to, next.clone(), now)).await
    }

    async fn try_finish_move(
        &self,
        task: &Claimed,
        to: &SecretLocation,
        next: Option<NewTask>,
        now: Timestamp,
    ) -> Result<(), Error> {
        let version =
            i64::try_from(to.version).map_err(|_| Error::Corrupt("connector_secrets.version"))?;
        let transaction = self.database.begin_write().await?;
        secret::Entity::update_many()
            .set(secret::ActiveModel {
                secret_name: Set(to.secret.to_string()),
                version: Set(version),
                fingerprint: Set(to.fingerprint.clone()),
                ..Default::default()
            })
            .filter(secret::Column::ConnectorUid.eq(task.uid.as_uuid()))
            .filter(secret::Column::Kind.eq(SecretPlace::Environment.as_str()))
            .filter(secret::Column::Version.lt(version))
            .exec(&*transaction)
            .await?;
        if let Some(next) = next {
            insert(&*transaction, &task.connector, task.uid, next, now).await?;
        }
        outbox::Entity::delete_by_id(task.id)
            .exec(&*transaction)
            .await?;
        Ok(transaction.commit().await?)
    }
}

fn condition(which: Tasks, now: Timestamp) -> Condition {
    use outbox::Column;
    let due = || Column::NextAttemptTime.lte(now.micros());
    match which {
        Tasks::Revocations => Condition::all()
            .add(due())
            .add(Column::Action.eq(REVOKE_LEASES)),
        Tasks::Others => Condition::all()
            .add(due())
            .add(Column::Action.ne(REVOKE_LEASES)),
        Tasks::InTheWay(uid, after) => Condition::all()
            .add(Column::ConnectorUid.eq(uid.as_uuid()))
            .add(Column::Action.is_in([DELETE_SECRET, UNSET_VARIABLES]))
            .add_option(after.map(|after| Column::Id.gt(after))),
    }
}

/// Queues a task in the transaction that causes it.
pub(super) async fn insert(
    transaction: &impl ConnectionTrait,
    connector: &ConnectorName,
    uid: ConnectorUid,
    NewTask { action, delay }: NewTask,
    now: Timestamp,
) -> Result<(), Error> {
    let (action, subject) = match &action {
        Action::DeleteSecrets => (DELETE_SECRETS, String::new()),
        Action::DeleteSecret(name) => (DELETE_SECRET, name.to_string()),
        Action::UnsetVariables(names) => (UNSET_VARIABLES, json(names)?),
        Action::DestroyVersions(versions) => (DESTROY_VERSIONS, json(versions)?),
        Action::RevokeLeases => (REVOKE_LEASES, String::new()),
    };
    let row = outbox::ActiveModel {
        id: Set(Uuid::now_v7()),
        action: Set(action.to_owned()),
        connector: Set(connector.to_string()),
        connector_uid: Set(uid.as_uuid()),
        subject: Set(subject),
        attempts: Set(0),
        next_attempt_time: Set(now.after(delay).micros()),
        create_time: Set(now.micros()),
    };
    row.insert(transaction).await?;
    Ok(())
}

fn json(subject: &impl Serialize) -> Result<String, Error> {
    serde_json::to_string(subject).map_err(Error::Json)
}

fn claimed(row: outbox::Model) -> Result<Claimed, Error> {
    const SUBJECT: Error = Error::Corrupt("outbox.subject");
    let subject = &row.subject;
    let action = match row.action.as_str() {
        DELETE_SECRETS => Action::DeleteSecrets,
        DELETE_SECRET => Action::DeleteSecret(subject.parse().map_err(|_| SUBJECT)?),
        UNSET_VARIABLES => {
            Action::UnsetVariables(serde_json::from_str(subject).map_err(|_| SUBJECT)?)
        }
        DESTROY_VERSIONS => {
            Action::DestroyVersions(serde_json::from_str(subject).map_err(|_| SUBJECT)?)
        }
        REVOKE_LEASES => Action::RevokeLeases,
        _ => return Err(Error::Corrupt("outbox.action")),
    };
    Ok(Claimed {
        id: row.id,
        action,
        connector: row
            .connector
            .parse()
            .map_err(|_| Error::Corrupt("outbox.connector"))?,
        uid: ConnectorUid::new(row.connector_uid),
        attempts: u32::try_from(row.attempts)
            .unwrap_or_default()
            .saturating_add(1),
    })
}
