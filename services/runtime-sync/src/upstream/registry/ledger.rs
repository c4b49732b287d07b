//! What was observed and what of it the registry has taken: pure bookkeeping for the reporter.
//!
//! Invariants: for each connector the latest observation is reported at last, an older one never after a newer one;
//! a list of tools counts as reported only once the registry has taken it; a batch is bounded in count and size.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use names::ConnectorUid;

use crate::domain::{Reason, SessionStatus, ToolDefinition};

/// Connectors in one report, as the registry allows.
const BATCH: usize = 256;
/// Roughly how many bytes one report may have; well below the 4 MiB of a message.
const BATCH_BYTES: usize = 2 << 20;
/// Bytes of a report that a connector has without its tools, at most.
const STATUS_BYTES: usize = 1024;

/// What is known of all connectors.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    observed: HashMap<ConnectorUid, Observed>,
    dirty: BTreeSet<ConnectorUid>,
}

#[derive(Debug)]
struct Observed {
    status: Arc<SessionStatus>,
    /// The status that the registry took last, of this generation.
    shown: Option<Arc<SessionStatus>>,
    /// The list that the registry took last.
    taken: Option<Arc<Vec<ToolDefinition>>>,
}

/// One connector of a report.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) uid: ConnectorUid,
    pub(super) status: Arc<SessionStatus>,
    /// How it was last shown: what is reported until the registry has the definitions of its tools.
    pub(super) before: Arc<SessionStatus>,
    /// Its tools, if they are news.
    pub(super) tools: Option<Arc<Vec<ToolDefinition>>>,
}

impl Ledger {
    /// Takes an observation in. One of an older generation is no news.
    pub(super) fn observe(&mut self, uid: ConnectorUid, status: Arc<SessionStatus>) {
        let observed = self.observed.entry(uid).or_insert_with(|| Observed {
            status: Arc::clone(&status),
            shown: None,
            taken: None,
        });
        if status.generation < observed.status.generation {
            return;
        }
        if status.generation > observed.status.generation {
            // A new session reads the tools anew, and the registry is to hear when it has.
            observed.taken = None;
            observed.shown = None;
        }
        observed.status = status;
        self.dirty.insert(uid);
    }

    /// Forgets a connector that was deleted.
    pub(super) fn forget(&mut self, uid: ConnectorUid) {
        self.observed.remove(&uid);
        self.dirty.remove(&uid);
    }

    /// Everything is to be reported again: the registry may have listened to another instance meanwhile.
    pub(super) fn report_all(&mut self) {
        for observed in self.observed.values_mut() {
            observed.taken = None;
        }
        self.dirty.extend(self.observed.keys());
    }

    /// Whether there is news.
    pub(super) fn has_news(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// Takes out the next report's content.
    pub(super) fn batch(&mut self) -> Vec<Item> {
        let (mut items, mut bytes) = (Vec::new(), 0);
        while let Some(uid) = self.dirty.first().copied() {
            let Some(item) = self.item(uid) else {
                self.dirty.remove(&uid);
                continue;
            };
            let size = size(&item);
            if items.len() == BATCH || (!items.is_empty() && bytes + size > BATCH_BYTES) {
                break;
            }
            bytes += size;
            self.dirty.remove(&uid);
            items.push(item);
        }
        items
    }

    fn item(&self, uid: ConnectorUid) -> Option<Item> {
        let Observed {
            status,
            shown,
            taken,
        } = self.observed.get(&uid)?;
        let news = status.synced.is_some()
            && !taken
                .as_ref()
                .is_some_and(|taken| Arc::ptr_eq(taken, &status.tools));
        Some(Item {
            uid,
            status: Arc::clone(status),
            before: shown.clone().unwrap_or_else(|| connecting(status)),
            tools: news.then(|| Arc::clone(&status.tools)),
        })
    }

    /// The registry took a report, and the definitions it asked for.
    pub(super) fn taken(&mut self, batch: Vec<Item>) {
        self.shown(&batch);
        for Item {
            uid, tools, status, ..
        } in batch
        {
            if let (Some(observed), Some(tools)) = (self.observed.get_mut(&uid), tools)
                && observed.status.generation == status.generation
            {
                observed.taken = Some(tools);
            }
        }
    }

    /// The registry took the states of a report.
    pub(super) fn shown(&mut self, batch: &[Item]) {
        for Item { uid, status, .. } in batch {
            if let Some(observed) = self.observed.get_mut(uid)
                && observed.status.generation == status.generation
            {
                observed.shown = Some(Arc::clone(status));
            }
        }
    }

    /// The registry did not take a report, or not all of it: what is still the latest is news again.
    pub(super) fn returned(&mut self, batch: Vec<Item>) {
        let known = batch
            .into_iter()
            .map(|item| item.uid)
            .filter(|uid| self.observed.contains_key(uid));
        self.dirty.extend(known);
    }
}

/// A connector that was never shown, until its tools have arrived.
fn connecting(status: &SessionStatus) -> Arc<SessionStatus> {
    let mut before = SessionStatus::initial(status.generation, status.since);
    before.reason = Reason::Connecting;
    before.state = before.reason.state();
    Arc::new(before)
}

/// Roughly the bytes of one connector in a report.
fn size(item: &Item) -> usize {
    let tools = item.tools.iter().flat_map(|tools| tools.iter());
    STATUS_BYTES + tools.map(|tool| tool.name.len() + 80).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use bytes::Bytes;
    use uuid::Uuid;

    use super::*;
    use crate::domain::HeaderRule;

    fn uid(number: u128) -> ConnectorUid {
        ConnectorUid::new(Uuid::from_u128(number))
    }

    fn status(generation: i64) -> SessionStatus {
        SessionStatus::initial(generation, SystemTime::UNIX_EPOCH)
    }

    fn synced(generation: i64, tools: usize) -> Arc<SessionStatus> {
        let tool = |number| {
            let raw = format!(r#"{{"name":"tool-{number}","inputSchema":{{}}}}"#);
            ToolDefinition::parse(Bytes::from(raw), HeaderRule::Ignored).unwrap()
        };
        Arc::new(SessionStatus {
            tools: Arc::new((0..tools).map(tool).collect()),
            synced: Some(SystemTime::UNIX_EPOCH),
            ..status(generation)
        })
    }

    #[test]
    fn the_latest_observation_wins_and_an_older_generation_is_no_news() {
        let mut ledger = Ledger::default();
        ledger.observe(uid(1), Arc::new(status(2)));
        ledger.observe(uid(1), synced(2, 1));
        ledger.observe(uid(1), Arc::new(status(1)));
        let batch = ledger.batch();
        assert_eq!(batch.len(), 1);
        assert_eq!(batch[0].status.generation, 2);
        assert!(batch[0].tools.is_some());
        assert!(!ledger.has_news());
    }

    #[test]
    fn tools_are_reported_until_they_were_taken_and_not_again() {
        let mut ledger = Ledger::default();
        let observed = synced(1, 2);
        ledger.observe(uid(1), Arc::clone(&observed));
        let lost = ledger.batch();
        ledger.returned(lost);
        let batch = ledger.batch();
        assert!(
            batch[0].tools.is_some(),
            "a report that failed loses no tools"
        );
        ledger.taken(batch);
        ledger.observe(uid(1), observed);
        assert!(ledger.batch()[0].tools.is_none());
        ledger.report_all();
        assert!(ledger.batch()[0].tools.is_some());
    }

    #[test]
    fn until_its_tools_have_arrived_a_connector_is_shown_as_it_was() {
        let mut ledger = Ledger::default();
        ledger.observe(uid(1), synced(1, 1));
        let batch = ledger.batch();
        assert_eq!(batch[0].before.reason, Reason::Connecting);
        ledger.taken(batch);
        let failing = SessionStatus {
            state: Reason::ProbeFailed.state(),
            reason: Reason::ProbeFailed,
            ..SessionStatus::clone(&synced(1, 2))
        };
        ledger.observe(uid(1), Arc::new(failing));
        let batch = ledger.batch();
        assert_eq!(batch[0].before.reason, Reason::NotStarted);
        ledger.shown(&batch);
        ledger.returned(batch);
        let batch = ledger.batch();
        assert_eq!(batch[0].before.reason, Reason::ProbeFailed);
        assert!(batch[0].tools.is_some(), "shown is not yet taken");
    }

    #[test]
    fn a_report_is_bounded_in_count_and_in_size() {
        let mut ledger = Ledger::default();
        for number in 0..300 {
            ledger.observe(uid(number), Arc::new(status(1)));
        }
        assert_eq!(ledger.batch().len(), BATCH);
        assert_eq!(ledger.batch().len(), 44);
        for number in 0..40 {
            ledger.observe(uid(number), synced(2, 1_000));
        }
        let first = ledger.batch();
        assert!(first.len() < 40 && !first.is_empty(), "{}", first.len());
        assert!(ledger.has_news());
    }

    #[test]
    fn a_deleted_connector_is_not_reported_even_if_its_report_failed() {
        let mut ledger = Ledger::default();
        ledger.observe(uid(1), Arc::new(status(1)));
        let batch = ledger.batch();
        ledger.forget(uid(1));
        ledger.returned(batch);
        assert!(!ledger.has_news());
    }
}
