//! Unwrapped data keys, at most 1,024 of them and none for longer than 15 minutes.
//!
//! What is cached is the key itself and not a cipher, because every message has a key of its own. An
//! entry is only given out for the scope it was unwrapped for.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use envelope::{Key, ScopeHash};
use lifecycle::Clock;
use tokio::time::Instant;
use uuid::Uuid;

const MOST: usize = 1024;
const LONGEST: Duration = Duration::from_secs(15 * 60);

pub(super) struct Cache {
    clock: Clock,
    entries: Mutex<HashMap<Uuid, Entry>>,
}

struct Entry {
    key: Arc<Key>,
    owner: ScopeHash,
    loaded: Instant,
    used: Instant,
}

impl Cache {
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            clock,
            entries: Mutex::default(),
        }
    }

    /// The key, if it is there, not too old, and of this owner.
    pub(super) fn get(&self, id: Uuid, owner: ScopeHash) -> Option<Arc<Key>> {
        let now = self.clock.instant();
        let mut entries = self.entries();
        let entry = entries.get_mut(&id)?;
        if now.duration_since(entry.loaded) >= LONGEST {
            entries.remove(&id);
            return None;
        }
        entry.used = now;
        (entry.owner == owner).then(|| Arc::clone(&entry.key))
    }

    /// Keeps the key, in place of the one that was used longest ago if there are too many.
    pub(super) fn put(&self, id: Uuid, owner: ScopeHash, key: &Arc<Key>) {
        let now = self.clock.instant();
        let mut entries = self.entries();
        if entries.len() >= MOST && !entries.contains_key(&id) {
            let oldest = entries
                .iter()
                .min_by_key(|(_, entry)| entry.used)
                .map(|(id, _)| *id);
            oldest.and_then(|oldest| entries.remove(&oldest));
        }
        entries.insert(
            id,
            Entry {
                key: Arc::clone(key),
                owner,
                loaded: now,
                used: now,
            },
        );
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<Uuid, Entry>> {
        // Consistent between any two statements, so a poisoned lock is harmless.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    fn key() -> Arc<Key> {
        Arc::new(Key::generate().unwrap())
    }

    #[tokio::test]
    async fn a_key_is_forgotten_after_its_time() {
        let clock = Clock::manual(SystemTime::UNIX_EPOCH);
        let cache = Cache::new(clock.clone());
        let (id, owner) = (Uuid::from_u128(1), ScopeHash::of("users/ada"));
        cache.put(id, owner, &key());
        clock.advance(LONGEST - Duration::from_secs(1));
        assert!(cache.get(id, owner).is_some());
        clock.advance(Duration::from_secs(1));
        assert!(
            cache.get(id, owner).is_none(),
            "using it does not prolong it"
        );
        assert!(cache.entries().is_empty());
    }

    #[tokio::test]
    async fn a_key_is_given_to_its_owner_only() {
        let cache = Cache::new(Clock::manual(SystemTime::UNIX_EPOCH));
        let id = Uuid::from_u128(1);
        cache.put(id, ScopeHash::of("users/ada"), &key());
        assert!(cache.get(id, ScopeHash::of("users/eve")).is_none());
        assert!(cache.get(id, ScopeHash::of("users/ada")).is_some());
    }

    #[tokio::test]
    async fn there_is_a_largest_number_and_the_least_used_goes_first() {
        let clock = Clock::manual(SystemTime::UNIX_EPOCH);
        let cache = Cache::new(clock.clone());
        let owner = ScopeHash::of("users/ada");
        let id = |number: usize| Uuid::from_u128(number as u128);
        for number in 0..MOST {
            cache.put(id(number), owner, &key());
            clock.advance(Duration::from_millis(1));
        }
        assert!(cache.get(id(0), owner).is_some(), "used again just now");
        cache.put(id(MOST), owner, &key());
        assert_eq!(cache.entries().len(), MOST);
        assert!(cache.get(id(0), owner).is_some());
        assert!(cache.get(id(1), owner).is_none());
        assert!(cache.get(id(MOST), owner).is_some());
    }
}
