//! Work owed to the vault: written with the change that causes it, done afterwards, as often as it takes.
//!
//! Invariants: a task leaves the table only when it was done; a task that is being worked on is not given to anybody
//! else until its time is up. Every action may be done twice.

use std::time::Duration;

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
};
use crate::domain::{
    connector::SecretLocation,
    spec::{SecretField, SecretPlace},
    timestamp::Timestamp,
};

/// What the vault is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Delete every secret of the connector.
    DeleteSecrets,
    /// Delete one secret.
    DeleteSecret(SecretName),
    /// Remove variables from the connector's blob.
    UnsetVariables(Variables),
    /// End every lease and grant of the connector.
    RevokeLeases,
}

/// Variables of a connector's blob.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Variables {
    /// Their names.
    pub names: Vec<String>,
    /// The destination the blob was entered for.
    pub destination: String,
}

/// A task to queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTask(pub Action);

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
    /// Takes tasks that are due, of one connector or of any.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn claim_tasks(
        &self,
        of: Option<ConnectorUid>,
        now: Timestamp,
        hold: Duration,
        limit: u64,
    ) -> Result<Vec<Claimed>, Error> {
        let transaction = self.database.begin_write().await?;
        let due = match of {
            // Somebody waits for this connector's tasks: those that failed are tried again at once.
            Some(uid) => Condition::all().add(outbox::Column::ConnectorUid.eq(uid.as_uuid())),
            None => Condition::all().add(outbox::Column::NextAttemptTime.lte(now.micros())),
        };
        let rows = outbox::Entity::find()
            .filter(due)
            .order_by_asc(outbox::Column::CreateTime)
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
        rows.into_iter().map(claimed).collect()
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

    /// The fields of a connector that have a value now.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn secret_fields(&self, uid: ConnectorUid) -> Result<Vec<SecretField>, Error> {
        let rows = secret::Entity::find()
            .filter(secret::Column::ConnectorUid.eq(uid.as_uuid()))
            .all(self.database.connection())
            .await?;
        let field = |row: &secret::Model| {
            SecretPlace::from_name(&row.kind).map(|place| SecretField::new(place, &row.field))
        };
        Ok(rows.iter().filter_map(field).collect())
    }

    /// Notes where the variables that are left in a connector's blob are sealed now.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn move_variables(
        &self,
        uid: ConnectorUid,
        to: &SecretLocation,
    ) -> Result<(), Error> {
        let version =
            i64::try_from(to.version).map_err(|_| Error::Corrupt("connector_secrets.version"))?;
        secret::Entity::update_many()
            .set(secret::ActiveModel {
                secret_name: Set(to.secret.to_string()),
                version: Set(version),
                fingerprint: Set(to.fingerprint.clone()),
                ..Default::default()
            })
            .filter(secret::Column::ConnectorUid.eq(uid.as_uuid()))
            .filter(secret::Column::Kind.eq(SecretPlace::Environment.as_str()))
            .filter(secret::Column::Version.lt(version))
            .exec(self.database.connection())
            .await?;
        Ok(())
    }
}

/// Queues a task in the transaction that causes it.
pub(super) async fn insert(
    transaction: &impl ConnectionTrait,
    connector: &ConnectorName,
    uid: ConnectorUid,
    NewTask(action): NewTask,
    now: Timestamp,
) -> Result<(), Error> {
    let (action, subject) = match &action {
        Action::DeleteSecrets => ("DELETE_SECRETS", String::new()),
        Action::DeleteSecret(name) => ("DELETE_SECRET", name.to_string()),
        Action::UnsetVariables(variables) => (
            "UNSET_VARIABLES",
            serde_json::to_string(variables).map_err(Error::Json)?,
        ),
        Action::RevokeLeases => ("REVOKE_LEASES", String::new()),
    };
    let row = outbox::ActiveModel {
        id: Set(Uuid::now_v7()),
        action: Set(action.to_owned()),
        connector: Set(connector.to_string()),
        connector_uid: Set(uid.as_uuid()),
        subject: Set(subject),
        attempts: Set(0),
        next_attempt_time: Set(now.micros()),
        create_time: Set(now.micros()),
    };
    row.insert(transaction).await?;
    Ok(())
}

fn claimed(row: outbox::Model) -> Result<Claimed, Error> {
    const SUBJECT: Error = Error::Corrupt("outbox.subject");
    let action = match row.action.as_str() {
        "DELETE_SECRETS" => Action::DeleteSecrets,
        "DELETE_SECRET" => Action::DeleteSecret(row.subject.parse().map_err(|_| SUBJECT)?),
        "UNSET_VARIABLES" => {
            Action::UnsetVariables(serde_json::from_str(&row.subject).map_err(|_| SUBJECT)?)
        }
        "REVOKE_LEASES" => Action::RevokeLeases,
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
