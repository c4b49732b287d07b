//! What was observed and what of it the registry has taken: pure bookkeeping for the reporter.
//!
//! Invariants: for each connector the latest observation is reported at last, an older one never after a newer one;
//! a list of tools counts as reported only once the registry has taken it; a batch is bounded in count and size, news is
//! reported in the order it came in, and no connector waits for another one's tools.

use std::{
    collections::{HashMap, HashSet, VecDeque},
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
/// For how long a state is held back for the definitions behind it.
const MAX_WAITED: u32 = 8;

/// What is known of all connectors.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    observed: HashMap<ConnectorUid, Observed>,
    /// Connectors of which there is news, the oldest first, each once.
    news: VecDeque<ConnectorUid>,
    /// The same, to look up.
    dirty: HashSet<ConnectorUid>,
}

#[derive(Debug)]
struct Observed {
    status: Arc<SessionStatus>,
    /// The status that the registry took last, of this generation.
    shown: Option<Arc<SessionStatus>>,
    /// The list that the registry took last.
    taken: Option<Arc<Vec<ToolDefinition>>>,
    /// For how long its state has been held back for definitions.
    waited: u32,
}

/// Whether a state waits for the definitions behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hold {
    /// It does.
    Back,
    /// They have kept it waiting for long enough.
    NoLonger,
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
    /// Whether it waits for their definitions.
    pub(super) hold: Hold,
}

impl Ledger {
    /// Takes an observation in. One of an older generation is no news.
    pub(super) fn observe(&mut self, uid: ConnectorUid, status: Arc<SessionStatus>) {
        let observed = self.observed.entry(uid).or_insert_with(|| Observed {
            status: Arc::clone(&status),
            shown: None,
            taken: None,
            waited: 0,
        });
        if status.generation < observed.status.generation {
            return;
        }
        if status.generation > observed.status.generation {
            // A new session reads the tools anew, and the registry is to hear when it has.
            observed.taken = None;
            observed.shown = None;
            observed.waited = 0;
        }
        observed.status = status;
        self.mark(uid);
    }

    fn mark(&mut self, uid: ConnectorUid) {
        if self.dirty.insert(uid) {
            self.news.push_back(uid);
        }
    }

    /// Forgets a connector that was deleted.
    pub(super) fn forget(&mut self, uid: ConnectorUid) {
        self.observed.remove(&uid);
        if self.dirty.remove(&uid) {
            self.news.retain(|news| *news != uid);
        }
    }

    /// Everything is to be reported again: the registry may have listened to another instance meanwhile.
    pub(super) fn report_all(&mut self) {
        for observed in self.observed.values_mut() {
            observed.taken = None;
        }
        let all: Vec<ConnectorUid> = self.observed.keys().copied().collect();
        for uid in all {
            self.mark(uid);
        }
    }

    /// Whether there is news.
    pub(super) fn has_news(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// Takes out the next report's content.
    pub(super) fn batch(&mut self) -> Vec<Item> {
        let (mut items, mut bytes, mut later) = (Vec::new(), 0, VecDeque::new());
        while items.len() < BATCH
            && let Some(uid) = self.news.pop_front()
        {
            let Some(item) = self.item(uid) else {
                self.dirty.remove(&uid);
                continue;
            };
            let size = size(&item);
            if !items.is_empty() && bytes + size > BATCH_BYTES {
                // It is first next time; smaller ones need not wait for it.
                later.push_back(uid);
                continue;
            }
            bytes += size;
            self.dirty.remove(&uid);
            items.push(item);
        }
        later.append(&mut self.news);
        self.news = later;
        items
    }

    fn item(&self, uid: ConnectorUid) -> Option<Item> {
        let Observed {
            status,
            shown,
            taken,
            waited,
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
            hold: if *waited < MAX_WAITED {
                Hold::Back
            } else {
                Hold::NoLonger
            },
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
                observed.waited = 0;
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

    /// The registry did not take a report, or not all of it: what is still the latest is news again, behind all other
    /// news. `waited` is how much longer their states have been held back.
    pub(super) fn returned(&mut self, batch: Vec<Item>, waited: u32) {
        for Item { uid, .. } in batch {
            if let Some(observed) = self.observed.get_mut(&uid) {
                observed.waited = observed.waited.saturating_add(waited);
                self.mark(uid);
            }
        }
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
pub(super) mod tests;
