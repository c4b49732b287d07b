//! The bounds and intervals of a session. Every one has a default, and every one is configurable.
//!
//! Nothing here is specific to one connector (see `domain::spec`).

use std::{sync::Arc, time::Duration};

use lifecycle::Clock;
use tokio::sync::Semaphore;

use super::turns::ScopeTurns;
use crate::domain::restarts::RestartBudget;

/// Of everything that all sessions take turns at, so much may be one scope's.
const SCOPE_TURNS: usize = 4;

/// What all sessions of one runtime have in common.
#[derive(Clone, Debug)]
pub struct SessionOptions {
    /// Where the time comes from.
    pub clock: Clock,
    /// Opening the link and the whole handshake together.
    pub connect_timeout: Duration,
    /// Preparing a connection: resolving the spec and fetching the secrets.
    pub prepare_timeout: Duration,
    /// How many sessions may be connecting at once; one semaphore for all, so that a start is no stampede.
    pub connecting: Arc<Semaphore>,
    /// How many sessions of one scope may be connecting at once.
    pub scope_connecting: Arc<ScopeTurns>,
    /// The pause before the one quick retry.
    pub quick_retry: Duration,
    /// The first pause after the quick retry; doubles from there, with full jitter.
    pub backoff_initial: Duration,
    /// The longest pause between attempts, and the usual one while only a person can help.
    pub backoff_max: Duration,
    /// When a server that ends again and again is held back.
    pub restarts: RestartBudget,
    /// Health checks.
    pub probe: ProbeOptions,
    /// Lists of tools.
    pub sync: SyncOptions,
    /// Calls.
    pub call: CallOptions,
    /// How long closing a link may take.
    pub stop_grace: Duration,
}

/// How health is checked.
#[derive(Clone, Debug)]
pub struct ProbeOptions {
    /// The pause between checks, jittered by a fifth either way.
    pub interval: Duration,
    /// How long a server may take to answer one, and how long a turn is waited for.
    pub timeout: Duration,
    /// Failures in a row that make a server unreachable.
    pub failures: u32,
    /// How many checks may run at once; one semaphore for all sessions.
    pub parallel: Arc<Semaphore>,
}

/// How lists of tools are fetched.
#[derive(Clone, Debug)]
pub struct SyncOptions {
    /// The pause between fetches that nobody asked for, jittered by a fifth either way.
    pub interval: Duration,
    /// How long a fetch may take.
    pub timeout: Duration,
    /// How long changes are collected before a fetch.
    pub debounce: Duration,
    /// The shortest pause between two fetches caused by the server.
    pub min_gap: Duration,
    /// How many lists may be fetched at once; one semaphore for all sessions.
    pub parallel: Arc<Semaphore>,
    /// How many lists of one scope may be fetched at once.
    pub scope_parallel: Arc<ScopeTurns>,
    /// Pages of one list.
    pub max_pages: usize,
    /// Tools of one list.
    pub max_tools: usize,
    /// Bytes of one list.
    pub max_bytes: usize,
}

/// What calls may cost.
#[derive(Clone, Debug)]
pub struct CallOptions {
    /// Calls of one connector that may run at once.
    pub in_flight: usize,
    /// The largest result that is accepted, in bytes.
    pub max_result: usize,
    /// A call's time when the caller names none.
    pub timeout: Duration,
    /// How often one call is sent again after a proof that it did not run.
    pub resends: u32,
}

impl Default for SessionOptions {
    fn default() -> Self {
        Self {
            clock: Clock::system(),
            connect_timeout: Duration::from_secs(10),
            prepare_timeout: Duration::from_secs(10),
            connecting: Arc::new(Semaphore::new(32)),
            scope_connecting: Arc::new(ScopeTurns::new(SCOPE_TURNS)),
            quick_retry: Duration::from_secs(3),
            backoff_initial: Duration::from_secs(5),
            backoff_max: Duration::from_secs(300),
            restarts: RestartBudget::default(),
            probe: ProbeOptions::default(),
            sync: SyncOptions::default(),
            call: CallOptions::default(),
            stop_grace: Duration::from_secs(6),
        }
    }
}

impl Default for ProbeOptions {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(30),
            timeout: Duration::from_secs(10),
            failures: 3,
            parallel: Arc::new(Semaphore::new(32)),
        }
    }
}

impl Default for SyncOptions {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(600),
            timeout: Duration::from_secs(30),
            debounce: Duration::from_millis(250),
            min_gap: Duration::from_secs(1),
            parallel: Arc::new(Semaphore::new(32)),
            scope_parallel: Arc::new(ScopeTurns::new(SCOPE_TURNS)),
            max_pages: 200,
            max_tools: 2_000,
            max_bytes: 16 << 20,
        }
    }
}

impl Default for CallOptions {
    fn default() -> Self {
        Self {
            in_flight: 64,
            max_result: 3 << 20,
            timeout: Duration::from_secs(60),
            resends: 2,
        }
    }
}
