//! Backends that announce themselves, for as long as their lease lasts.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use headgate_contract::fleet::{Register, Registered};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::{Discover, DiscoverError, Endpoint};
use crate::config::is_host_and_port;

/// Leases are at least this long: a beat may be late.
const LEASE_MS_MIN: u64 = 500;
/// And at most this long: who died without a word is forgotten.
const LEASE_MS_MAX: u64 = 300_000;
/// Announced backends at once.
const LEASES_MAX: usize = 4_096;
/// The longest instance name.
const NAME_BYTES_MAX: usize = 128;

/// Why an announcement is not taken.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The announcer's fault: it says something that makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// Another address bears that name, and said so a moment ago. Either two backends are named alike, or one has just
    /// moved: then a retry helps soon.
    #[error("instance '{name}' is registered at {address}, which is alive: every backend needs a name of its own")]
    Taken {
        /// The instance's name.
        name: String,
        /// Who bears it.
        address: String,
    },
    /// There are too many; a retry may help later.
    #[error("{LEASES_MAX} backends are registered: no room for another")]
    Full,
}

/// The announced backends, by instance. A clone is the same registry.
#[derive(Clone, Default)]
pub struct Registry {
    leases: Arc<Mutex<BTreeMap<String, Lease>>>,
    changed: Arc<Notify>,
    told: bool,
}

struct Lease {
    address: String,
    until: Instant,
    /// Until then nobody else takes the name: who is alive announces itself more often.
    fresh_until: Instant,
}

impl Registry {
    /// Takes an announcement, or with a lease of 0 takes it back; the reply says how long it stands.
    pub fn register(&self, announced: &Register) -> Result<Registered, Refused> {
        let name = &announced.instance;
        if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(|b| b.is_ascii_graphic()) {
            let why =
                format!("instance '{}': 1 to {NAME_BYTES_MAX} visible ASCII characters expected", name.escape_debug());
            return Err(Refused::Invalid(why));
        }
        if announced.lease_ms == 0 {
            let mut leases = self.lock();
            // One that has moved does not take its successor with it.
            if leases.get(name).is_some_and(|lease| lease.address == announced.address) {
                leases.remove(name);
                tracing::info!(backend = name, "backend left");
                self.changed.notify_one();
            }
            return Ok(Registered { lease_ms: 0 });
        }
        if !is_host_and_port(&announced.address) {
            return Err(Refused::Invalid(format!("address '{}' is no host:port", announced.address.escape_debug())));
        }
        let lease_ms = announced.lease_ms.clamp(LEASE_MS_MIN, LEASE_MS_MAX);
        let (now, length) = (Instant::now(), Duration::from_millis(lease_ms));
        let lease = Lease { address: announced.address.clone(), until: now + length, fresh_until: now + length / 2 };
        let mut leases = self.lock();
        if let Some(holder) = leases.get(name)
            && holder.address != announced.address
            && now < holder.fresh_until
        {
            return Err(Refused::Taken { name: name.clone(), address: holder.address.clone() });
        }
        if leases.len() >= LEASES_MAX && !leases.contains_key(name) {
            return Err(Refused::Full);
        }
        let before = leases.insert(name.clone(), lease);
        if before.is_none_or(|before| before.address != announced.address) {
            tracing::info!(backend = name, address = announced.address, "backend registered");
        }
        self.changed.notify_one();
        Ok(Registered { lease_ms })
    }

    /// The backends whose leases last.
    fn current(&self) -> Vec<Endpoint> {
        let now = Instant::now();
        let mut leases = self.lock();
        leases.retain(|name, lease| {
            let lasts = lease.until > now;
            if !lasts {
                tracing::warn!(backend = name, address = lease.address, "lease ended: the backend drains");
            }
            lasts
        });
        leases.iter().map(|(name, lease)| Endpoint::ours(&lease.address, Some(name))).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Lease>> {
        self.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Discover for Registry {
    fn name(&self) -> &'static str {
        "registration"
    }

    async fn next(&mut self) -> Result<Vec<Endpoint>, DiscoverError> {
        if self.told {
            let ends = self.lock().values().map(|lease| lease.until).min();
            match ends {
                Some(ends) => {
                    let _ = tokio::time::timeout_at(ends, self.changed.notified()).await;
                }
                None => self.changed.notified().await,
            }
        }
        self.told = true;
        Ok(self.current())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn register(instance: &str, address: &str, lease_ms: u64) -> Register {
        Register { instance: instance.into(), address: address.into(), lease_ms }
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_stands_until_it_ends_and_no_longer() {
        let mut registry = Registry::default();
        assert_eq!(registry.next().await.unwrap(), []);
        assert_eq!(registry.register(&register("a", "h:1", 2_000)).unwrap().lease_ms, 2_000);
        assert_eq!(registry.register(&register("b", "h:2", 1)).unwrap().lease_ms, LEASE_MS_MIN);
        assert_eq!(registry.next().await.unwrap().len(), 2);
        let began = Instant::now();
        let left = registry.next().await.unwrap();
        assert_eq!((left[0].address.as_str(), left.len()), ("h:1", 1));
        assert_eq!(began.elapsed().as_millis(), u128::from(LEASE_MS_MIN));
        registry.register(&register("a", "h:1", 0)).unwrap();
        assert_eq!(registry.next().await.unwrap(), []);
    }

    #[tokio::test(start_paused = true)]
    async fn an_instance_that_moved_leaves_its_old_address() {
        let mut registry = Registry::default();
        registry.register(&register("a", "h:1", 2_000)).unwrap();
        tokio::time::sleep(Duration::from_millis(1_000)).await;
        registry.register(&register("a", "h:2", 2_000)).unwrap();
        // The old one says farewell when its successor is here already.
        registry.register(&register("a", "h:1", 0)).unwrap();
        let listed = registry.next().await.unwrap();
        assert_eq!(listed, [Endpoint::ours("h:2", Some("a"))]);
    }

    #[tokio::test(start_paused = true)]
    async fn two_that_are_named_alike_do_not_take_turns() {
        let mut registry = Registry::default();
        for _ in 0..5 {
            registry.register(&register("a", "h:1", 2_000)).unwrap();
            let refused = registry.register(&register("a", "h:2", 2_000)).unwrap_err();
            assert_eq!(refused, Refused::Taken { name: "a".into(), address: "h:1".into() });
            tokio::time::sleep(Duration::from_millis(660)).await;
        }
        // Nor does the one that was refused take the name away when it goes.
        registry.register(&register("a", "h:2", 0)).unwrap();
        assert_eq!(registry.next().await.unwrap().len(), 1);
        registry.register(&register("a", "h:1", 0)).unwrap();
        registry.register(&register("a", "h:2", 2_000)).unwrap();
    }

    #[test]
    fn nonsense_is_refused() {
        let registry = Registry::default();
        for (instance, address) in [("", "h:1"), ("a b", "h:1"), ("a", "h"), ("a", "u@h:1"), ("a", "h:0"), ("a", ":1")]
        {
            let refused = registry.register(&register(instance, address, 1_000)).unwrap_err();
            assert!(matches!(refused, Refused::Invalid(_)), "{instance:?} {address:?}");
        }
    }
}
