//! Turns within one scope: nobody's many connectors keep everybody else's waiting.
//!
//! Take a turn here before one that all scopes share, so that whoever waits for his own scope holds nothing up. How
//! long a turn is held is its taker's.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use names::ScopeName;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The turns of each scope; scopes in which nothing happens cost nothing.
#[derive(Debug)]
pub struct ScopeTurns {
    each: usize,
    scopes: Mutex<HashMap<ScopeName, Weak<Semaphore>>>,
}

impl ScopeTurns {
    /// So many turns at once in each scope.
    pub fn new(each: usize) -> Self {
        Self {
            each: each.max(1),
            scopes: Mutex::default(),
        }
    }

    /// Waits for a turn; dropping it gives it back. Cancel safe.
    pub(crate) async fn take(&self, scope: &ScopeName) -> Option<OwnedSemaphorePermit> {
        // Nobody closes these semaphores, so there always is a turn in the end.
        self.of(scope).acquire_owned().await.ok()
    }

    fn of(&self, scope: &ScopeName) -> Arc<Semaphore> {
        let mut scopes = self.scopes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(turns) = scopes.get(scope).and_then(Weak::upgrade) {
            return turns;
        }
        scopes.retain(|_, turns| turns.strong_count() > 0);
        let turns = Arc::new(Semaphore::new(self.each));
        scopes.insert(scope.clone(), Arc::downgrade(&turns));
        turns
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::{ScopeName, ScopeTurns};

    fn scope(name: &str) -> ScopeName {
        name.parse().unwrap()
    }

    #[tokio::test]
    async fn a_scope_that_has_all_its_turns_waits_and_no_other() {
        let turns = ScopeTurns::new(2);
        let (ada, bob) = (scope("users/ada"), scope("users/bob"));
        let _first = turns.take(&ada).await;
        let second = turns.take(&ada).await;
        assert!(turns.take(&ada).now_or_never().is_none());
        assert!(turns.take(&bob).now_or_never().is_some());
        drop(second);
        assert!(turns.take(&ada).now_or_never().is_some());
    }

    #[tokio::test]
    async fn scopes_that_are_done_are_forgotten() {
        let turns = ScopeTurns::new(2);
        for n in 0..100 {
            drop(turns.take(&scope(&format!("users/u{n}"))).await);
        }
        assert!(turns.scopes.lock().unwrap().len() <= 1);
    }
}
