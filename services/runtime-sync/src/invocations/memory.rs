//! The bounded table behind invocation ids.
//!
//! Running calls are never evicted: how many of those there are is bounded by who lets calls in. What is kept of an
//! answer is a copy of its own size: a slice would hold on to the whole message it was cut from. Nothing here waits.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use tokio::time::Instant;

use super::{Answer, Bounds, Completed, Fingerprint, Key, ticket::Running};
use crate::domain::{CallError, UpstreamError};

/// What is known of one invocation.
#[derive(Debug)]
pub(super) enum Entry {
    /// It is running; the answer will be here.
    Running(Running),
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
    /// Keys of answers that still hold what the server said, oldest first.
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

    /// How long an answer is remembered.
    pub(super) fn age(&self) -> Duration {
        self.bounds.age
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

    /// Keeps an answer, which is [`compact`], and drops what no longer fits beside it.
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
            self.strip(&oldest);
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
            self.strip(&key);
            self.slots.remove(&key);
        }
    }

    /// Forgets what the server said, but not that the call was made, nor what came of it.
    fn strip(&mut self, key: &Key) {
        if let Some(slot) = self.slots.get_mut(key)
            && let Entry::Done(answer) = &mut slot.entry
        {
            self.bytes -= size(answer);
            match answer {
                Ok(completed) => {
                    *completed = Arc::new(Completed {
                        result: None,
                        is_error: completed.is_error,
                        definition_hash: completed.definition_hash.clone(),
                    });
                }
                Err(error) => error.upstream = None,
            }
        }
    }

    #[cfg(test)]
    pub(super) fn held_bytes(&self) -> usize {
        self.bytes
    }

    #[cfg(test)]
    pub(super) fn answered(&self) -> usize {
        self.answered.len()
    }
}

/// An answer that holds on to nothing larger than itself.
pub(super) fn compact(answer: Answer) -> Answer {
    match answer {
        Ok(completed) => Ok(Arc::new(Completed {
            result: completed.result.as_deref().map(Bytes::copy_from_slice),
            is_error: completed.is_error,
            definition_hash: completed.definition_hash.clone(),
        })),
        Err(error) => Err(CallError {
            upstream: error.upstream.as_ref().map(|upstream| UpstreamError {
                code: upstream.code,
                message: upstream.message.as_str().to_owned(),
                data: upstream.data.as_deref().map(Bytes::copy_from_slice),
            }),
            ..error
        }),
    }
}

/// The bytes of what the server said that an answer holds.
fn size(answer: &Answer) -> usize {
    match answer {
        Ok(completed) => completed.result.as_ref().map_or(0, Bytes::len),
        Err(error) => error.upstream.as_ref().map_or(0, |upstream| {
            upstream.message.len() + upstream.data.as_ref().map_or(0, Bytes::len)
        }),
    }
}
