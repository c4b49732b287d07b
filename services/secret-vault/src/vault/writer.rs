//! Group commit: one task executes grants, redemptions and lease changes, up to 64 in one transaction, each
//! under a savepoint, audit rows included, and answers after the commit.
//!
//! The commit is what costs; sharing it is what makes an audit row for each release affordable. Nothing
//! is answered that is not durable: when the commit fails, no plaintext leaves.

use std::sync::Arc;

use lifecycle::{CancellationToken, Tasks};
use sensitive::Text;
use tokio::sync::{mpsc, oneshot};

use super::known::Known;
use super::{Caller, Error, Granted, Inner, NewGrant, Redemption, Released};
use crate::domain::{AuditEvent, Micros};
use crate::store::Connection;

/// Executed in one transaction.
const BATCH: usize = 64;
/// Waiting at most; beyond that callers are turned away at once.
const QUEUE: usize = 1024;

/// What the writer can do.
pub(super) enum Command {
    Grant(Caller, NewGrant),
    Redeem(Caller, Redemption),
    Renew(Caller, Text),
    Release(Caller, Text),
}

/// What it answers when it was done.
pub(super) enum Reply {
    Granted(Granted),
    Released(Released),
    Renewed(Micros),
    Ended,
}

/// A command that was executed: what to answer and what to write down, both only with the commit.
pub(super) struct Done {
    pub(super) reply: Result<Reply, Error>,
    pub(super) events: Vec<AuditEvent>,
}

impl Done {
    /// A refusal because of what is stored. Errors of the database itself stay errors.
    pub(super) fn refused(error: Error, event: AuditEvent) -> Result<Self, Error> {
        match event.refused(&error) {
            Some(event) => Ok(Self {
                reply: Err(error),
                events: vec![event],
            }),
            None => Err(error),
        }
    }
}

struct Job {
    command: Command,
    answer: oneshot::Sender<Result<Reply, Error>>,
}

/// The way to the writer task.
#[derive(Clone)]
pub(super) struct Writer(mpsc::Sender<Job>);

impl Writer {
    pub(super) fn start(inner: Arc<Inner>, tasks: &Tasks) -> Self {
        let (sender, receiver) = mpsc::channel(QUEUE);
        tasks.spawn("writer", run(inner, receiver, tasks.token()));
        Self(sender)
    }

    /// Executes a command. When the caller goes away before its turn nothing is done; after that it is
    /// done all the same, and a grant is spent.
    pub(super) async fn run(&self, command: Command) -> Result<Reply, Error> {
        let (answer, answered) = oneshot::channel();
        self.0
            .try_send(Job { command, answer })
            .map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => Error::Overloaded,
                mpsc::error::TrySendError::Closed(_) => Error::Stopping,
            })?;
        answered.await.unwrap_or(Err(Error::Stopping))
    }
}

async fn run(inner: Arc<Inner>, mut jobs: mpsc::Receiver<Job>, cancel: CancellationToken) {
    let mut batch = Vec::new();
    loop {
        tokio::select! {
            biased; // What is stopping takes no new work.
            () = cancel.cancelled() => return,
            received = jobs.recv_many(&mut batch, BATCH) => if received == 0 {
                // Every sender is gone: the vault was dropped, its task set will follow.
                return cancel.cancelled().await;
            },
        }
        // Whoever has gone away must not have a grant spent in their name.
        batch.retain(|job| !job.answer.is_closed());
        inner.execute(std::mem::take(&mut batch)).await;
    }
}

impl Inner {
    /// Executes a batch and answers everyone in it.
    async fn execute(&self, jobs: Vec<Job>) {
        let (commands, answers): (Vec<Command>, Vec<_>) = jobs
            .into_iter()
            .map(|job| (job.command, job.answer))
            .unzip();
        let replies = match self.commit(&commands).await {
            Ok(replies) => replies,
            Err(error) => {
                tracing::error!(%error, batch = commands.len(), "nothing of a batch was committed");
                commands.iter().map(|_| Err(whole_batch(&error))).collect()
            }
        };
        for (answer, reply) in answers.into_iter().zip(replies) {
            if let Err(Ok(Reply::Released(_))) = answer.send(reply) {
                tracing::warn!("a grant was spent for a caller that has gone");
            }
        }
    }

    async fn commit(&self, commands: &[Command]) -> Result<Vec<Result<Reply, Error>>, Error> {
        let transaction = self.database.begin_write().await?;
        let known = self.read_ahead(&*transaction, commands).await?;
        let mut replies = Vec::with_capacity(commands.len());
        let mut events = Vec::with_capacity(commands.len());
        for command in commands {
            let savepoint = transaction.savepoint().await?;
            match self.perform(&*savepoint, &known, command).await {
                Ok(done) => {
                    savepoint.release().await?;
                    events.extend(done.events);
                    replies.push(done.reply);
                }
                Err(error) => {
                    savepoint.rollback().await?;
                    replies.push(Err(error));
                }
            }
        }
        self.write_audit(&*transaction, events).await?;
        transaction.commit().await?;
        Ok(replies)
    }

    async fn perform(
        &self,
        connection: &impl Connection,
        known: &Known,
        command: &Command,
    ) -> Result<Done, Error> {
        match command {
            Command::Grant(caller, request) => self.grant(connection, known, caller, request).await,
            Command::Redeem(caller, request) => {
                self.redeem(connection, known, caller, request).await
            }
            Command::Renew(caller, token) => self.renew(connection, caller, token).await,
            Command::Release(caller, token) => self.release_own(connection, caller, token).await,
        }
    }
}

/// The error of a whole batch, for each of its members.
fn whole_batch(error: &Error) -> Error {
    match error {
        Error::Contention(cause) => Error::Contention(cause.clone()),
        Error::Unavailable(cause) => Error::Unavailable(cause.clone()),
        Error::Internal(cause) => Error::Internal(cause.clone()),
        Error::Unreadable { reason, at } => Error::Unreadable {
            reason: *reason,
            at: *at,
        },
        Error::Invalid(_)
        | Error::SecretNotFound
        | Error::RequestIdReused
        | Error::NeedsRebind
        | Error::GrantNotFound
        | Error::LeaseNotFound
        | Error::RateExceeded { .. }
        | Error::Overloaded
        | Error::Stopping
        | Error::Sealing => Error::Sealing,
    }
}
