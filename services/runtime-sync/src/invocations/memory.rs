//! The bounded table behind invocation ids.
//!
//! Running calls are never evicted: how many of those there are is bounded by who lets calls in. Nothing here waits.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use tokio::{sync::watch, time::Instant};

use super::{Answer, Bounds, Completed, Fingerprint, Key};

/// What is known of one invocation.
#[derive(Debug)]
pub(super) enum Entry {
    /// It is running; the answer will be here.
    Running(watch::Sender<Option<Answer>>),
    /// It was answered.
    Done(Answer),
}

#[derive(Debug)]
struct Slot {
    fingerprint: Fingerprint,
    entry: Entry,
}

/// The table, and the order in which calls were answered.
#[derive(Debug)]
pub(super) struct Memory {
    bounds: Bounds,
    slots: HashMap<Key, Slot>,
    answered: VecDeque<(Instant, Key)>,
    /// Keys of answers that still hold their result, oldest first.
    held: VecDeque<Key>,
    bytes: usize,
}

impl Memory {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            slots: HashMap::new(),
            answered: VecDeque::new(),
            held: VecDeque::new(),
            bytes: 0,
        }
    }

    pub(super) fn get(&self, key: &Key) -> Option<(Fingerprint, &Entry)> {
        let slot = self.slots.get(key)?;
        Some((slot.fingerprint, &slot.entry))
    }

    pub(super) fn insert(&mut self, key: Key, fingerprint: Fingerprint, entry: Entry) {
        self.slots.insert(key, Slot { fingerprint, entry });
    }

    pub(super) fn forget(&mut self, key: &Key) {
        self.slots.remove(key);
    }

    /// Keeps an answer, and drops what no longer fits beside it.
    pub(super) fn finish(&mut self, key: &Key, answer: Answer, now: Instant) {
        let Some(slot) = self.slots.get_mut(key) else {
            return;
        };
        let size = size(&answer);
        slot.entry = Entry::Done(answer);
        self.answered.push_back((now, key.clone()));
        if size > 0 {
            self.bytes += size;
            self.held.push_back(key.clone());
        }
        while self.bytes > self.bounds.bytes {
            let Some(oldest) = self.held.pop_front() else {
                break;
            };
            self.drop_result(&oldest);
        }
        while self.answered.len() > self.bounds.calls {
            self.evict_oldest();
        }
    }

    /// Drops what is too old.
    pub(super) fn expire(&mut self, now: Instant) {
        while let Some((at, _)) = self.answered.front() {
            if now.saturating_duration_since(*at) < self.bounds.age {
                break;
            }
            self.evict_oldest();
        }
    }

    fn evict_oldest(&mut self) {
        if let Some((_, key)) = self.answered.pop_front() {
            if self.held.front() == Some(&key) {
                self.held.pop_front();
            }
            self.drop_result(&key);
            self.slots.remove(&key);
        }
    }

    /// Forgets a result, but not that the call was made.
    fn drop_result(&mut self, key: &Key) {
        if let Some(slot) = self.slots.get_mut(key)
            && let Entry::Done(Ok(completed)) = &slot.entry
            && let Some(result) = &completed.result
        {
            self.bytes -= result.len();
            slot.entry = Entry::Done(Ok(Arc::new(Completed {
                result: None,
                is_error: completed.is_error,
                definition_hash: completed.definition_hash.clone(),
            })));
        }
    }
}

/// The bytes that an answer holds.
fn size(answer: &Answer) -> usize {
    let Ok(completed) = answer else { return 0 };
    completed.result.as_ref().map_or(0, bytes::Bytes::len)
}
