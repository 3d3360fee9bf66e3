//! Recently used groups of an account: a moka cache of names, whose evictions tell the sender keys which groups to unload.

use crate::account::Recency;
use crate::wire::Jid;
use moka::sync::Cache;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How many groups' keys an account holds in memory, and how long without use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupCache {
    pub groups: u64,
    pub idle: Duration,
}

impl Default for GroupCache {
    /// The numbers of `signal-protocol.txt`, "In-memory sender key device cache".
    fn default() -> Self {
        Self { groups: 500, idle: Duration::from_secs(60 * 60) }
    }
}

/// The cache is made with the first group: most accounts may have none.
pub(in crate::actors) struct RecentGroups {
    limits: GroupCache,
    cache: Option<Cache<Jid, ()>>,
    evicted: Arc<Mutex<Vec<Jid>>>,
}

impl RecentGroups {
    pub(in crate::actors) fn new(limits: GroupCache) -> Self {
        Self { limits, cache: None, evicted: Arc::default() }
    }

    fn cache(&mut self) -> &Cache<Jid, ()> {
        let (limits, noted) = (self.limits, self.evicted.clone());
        self.cache.get_or_insert_with(|| {
            Cache::builder()
                .max_capacity(limits.groups)
                .time_to_idle(limits.idle)
                .eviction_listener(move |group: Arc<Jid>, (), _| {
                    noted.lock().unwrap_or_else(PoisonError::into_inner).push((*group).clone());
                })
                .build()
        })
    }
}

impl Recency for RecentGroups {
    fn used(&mut self, group: &Jid) {
        let cache = self.cache();
        if cache.get(group).is_none() {
            cache.insert(group.clone(), ());
        }
    }

    fn idle(&mut self) -> Vec<Jid> {
        let Some(cache) = &self.cache else { return Vec::new() };
        cache.run_pending_tasks();
        let evicted = std::mem::take(&mut *self.evicted.lock().unwrap_or_else(PoisonError::into_inner));
        evicted.into_iter().filter(|group| !cache.contains_key(group)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Server;

    #[test]
    fn groups_beyond_the_capacity_are_evicted() {
        let mut recent = RecentGroups::new(GroupCache { groups: 10, ..GroupCache::default() });
        let mut gone = 0;
        for number in 0..100 {
            recent.used(&Jid::new(number.to_string(), Server::Group));
            gone += recent.idle().len();
        }
        assert!((85..=95).contains(&gone), "{gone} of a hundred were let go");
    }
}
