//! When a connected session counts as healthy: degraded after one failed probe, unreachable after several.
//!
//! Pure: it is told what happened and says what follows. Who probes, how and when is in `probe`; what a session does
//! about an unreachable server is in its actor.

use std::{collections::VecDeque, sync::Arc, time::Duration, time::SystemTime};

/// How many probes are remembered.
pub const HISTORY: usize = 20;

/// What a probe asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProbeKind {
    /// `server/discover`, modern servers.
    Discover,
    /// `ping`, legacy servers.
    Ping,
    /// `tools/list`, servers that know neither.
    ListTools,
    /// Nothing was asked: other traffic was answered lately.
    Traffic,
    /// Nothing could be asked: no connection could be made, or it ended.
    Connection,
}

impl ProbeKind {
    /// The name used on the wire, in logs and by people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Discover => "DISCOVER",
            Self::Ping => "PING",
            Self::ListTools => "LIST_TOOLS",
            Self::Traffic => "TRAFFIC",
            Self::Connection => "CONNECTION",
        }
    }
}

/// One probe, or one connection, and what came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HealthSample {
    /// When it ended.
    pub at: SystemTime,
    /// What was asked.
    pub kind: ProbeKind,
    /// Whether the server answered.
    pub healthy: bool,
    /// How long it took.
    pub latency: Duration,
}

/// What the probes so far say of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It answers.
    Healthy,
    /// It failed to answer, not yet often enough to give it up.
    Degraded,
    /// It failed to answer too often: the link is worth nothing.
    Unreachable,
}

/// Hysteresis and history of one connection's probes.
#[derive(Clone, Debug)]
pub struct Health {
    failures: u32,
    limit: u32,
    history: VecDeque<HealthSample>,
}

impl Health {
    /// Nothing probed yet; `limit` failures in a row make a server unreachable.
    pub fn new(limit: u32) -> Self {
        Self {
            failures: 0,
            limit: limit.max(1),
            history: VecDeque::with_capacity(HISTORY),
        }
    }

    /// Takes one sample in and judges.
    pub fn record(&mut self, sample: HealthSample) -> Verdict {
        self.note(sample);
        if sample.healthy {
            self.failures = 0;
        } else {
            self.failures = self.failures.saturating_add(1);
        }
        self.verdict()
    }

    /// Takes one sample into the history only: it says nothing of a connection that is up.
    pub fn note(&mut self, sample: HealthSample) {
        if self.history.len() == HISTORY {
            self.history.pop_front();
        }
        self.history.push_back(sample);
    }

    /// A new connection starts with a clean slate; the history stays.
    pub fn reconnected(&mut self) {
        self.failures = 0;
    }

    /// Failures in a row.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// The last samples, oldest first.
    pub fn history(&self) -> Arc<Vec<HealthSample>> {
        Arc::new(self.history.iter().copied().collect())
    }

    fn verdict(&self) -> Verdict {
        match self.failures {
            0 => Verdict::Healthy,
            failures if failures < self.limit => Verdict::Degraded,
            _ => Verdict::Unreachable,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::{HISTORY, Health, HealthSample, ProbeKind, Verdict};

    fn sample(healthy: bool) -> HealthSample {
        HealthSample {
            at: SystemTime::UNIX_EPOCH,
            kind: ProbeKind::Ping,
            healthy,
            latency: Duration::from_millis(1),
        }
    }

    #[test]
    fn one_failure_degrades_and_three_make_unreachable() {
        let mut health = Health::new(3);
        assert_eq!(health.record(sample(false)), Verdict::Degraded);
        assert_eq!(health.record(sample(false)), Verdict::Degraded);
        assert_eq!(health.record(sample(false)), Verdict::Unreachable);
    }

    #[test]
    fn one_success_forgives_everything() {
        let mut health = Health::new(3);
        health.record(sample(false));
        health.record(sample(false));
        assert_eq!(health.record(sample(true)), Verdict::Healthy);
        assert_eq!(health.record(sample(false)), Verdict::Degraded);
    }

    #[test]
    fn what_is_only_noted_is_no_failed_probe() {
        let mut health = Health::new(3);
        for _ in 0..HISTORY * 3 {
            health.note(sample(false));
        }
        assert_eq!(health.failures(), 0);
        assert_eq!(health.history().len(), HISTORY);
    }

    #[test]
    fn the_history_is_bounded_and_keeps_the_newest() {
        let mut health = Health::new(3);
        for _ in 0..HISTORY * 3 {
            health.record(sample(false));
        }
        health.record(sample(true));
        let history = health.history();
        assert_eq!(history.len(), HISTORY);
        assert!(history.last().is_some_and(|sample| sample.healthy));
    }
}
