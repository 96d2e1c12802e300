//! How far each store's catalog has come: what backends reported, and what a nudge said before any of them did.

use std::collections::HashMap;

use headgate_balance::Millis;

/// Stores that are remembered.
const STORES_MAX: usize = 16;
/// How long a generation is believed that no backend has reached: each of them asks the bucket for it every second.
const BELIEVED_MS: Millis = 30_000;

/// The catalogs' heads, by store.
#[derive(Debug, Default)]
pub(super) struct Heads {
    stores: HashMap<String, Head>,
}

#[derive(Debug, Default)]
struct Head {
    /// The highest generation that a backend reported.
    reported: Option<u64>,
    /// A higher one that was only heard of, and when.
    heard: Option<(u64, Millis)>,
}

impl Heads {
    /// A backend serves this generation. What was only heard of stores that none serves is forgotten.
    pub(super) fn reported(&mut self, store: &str, generation: u64) {
        if !self.stores.contains_key(store) {
            self.stores.retain(|_, head| head.reported.is_some());
            if self.stores.len() >= STORES_MAX {
                return;
            }
        }
        let head = self.stores.entry(store.to_owned()).or_default();
        head.reported = head.reported.max(Some(generation));
        head.heard = head.heard.filter(|(heard, _)| Some(*heard) > head.reported);
    }

    /// Someone says that the catalog has come so far. It counts for a store that a backend reported, and for one store
    /// before any did.
    pub(super) fn heard(&mut self, store: &str, generation: u64, now: Millis) {
        if self.stores.is_empty() {
            self.stores.insert(store.to_owned(), Head::default());
        }
        let Some(head) = self.stores.get_mut(store) else { return };
        let known = head.heard.filter(|heard| believed(heard, now)).map(|(known, _)| known);
        if Some(generation) > head.reported.max(known) {
            head.heard = Some((generation, now));
        }
    }

    /// The highest generation that is believed of each store.
    pub(super) fn all(&self, now: Millis) -> HashMap<String, u64> {
        let known = self.stores.iter().filter_map(|(store, head)| Some((store.clone(), head.highest(now)?)));
        known.collect()
    }

    /// A store and the highest generation that is believed of it; the only store where none is named.
    pub(super) fn highest(&self, store: Option<&str>, now: Millis) -> Option<(&str, u64)> {
        let (store, head) = match store {
            Some(store) => self.stores.get_key_value(store)?,
            None if self.stores.len() == 1 => self.stores.iter().next()?,
            None => return None,
        };
        Some((store, head.highest(now)?))
    }
}

impl Head {
    fn highest(&self, now: Millis) -> Option<u64> {
        let heard = self.heard.filter(|heard| believed(heard, now)).map(|(generation, _)| generation);
        heard.max(self.reported)
    }
}

fn believed(heard: &(u64, Millis), now: Millis) -> bool {
    now.saturating_sub(heard.1) < BELIEVED_MS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_backend_reaches_is_forgotten() {
        let mut heads = Heads::default();
        heads.reported("s", 7);
        heads.heard("s", 6, 0);
        assert_eq!(heads.highest(Some("s"), 0), Some(("s", 7)));
        heads.heard("s", u64::MAX, 0);
        heads.heard("s", u64::MAX, 29_000);
        assert_eq!(heads.highest(Some("s"), 29_999), Some(("s", u64::MAX)));
        assert_eq!(heads.highest(Some("s"), 30_000), Some(("s", 7)), "backends were to ask for it for ever");
        heads.heard("s", 9, 40_000);
        assert_eq!(heads.highest(None, 40_000), Some(("s", 9)));
        heads.reported("s", 9);
        assert_eq!(heads.highest(None, 90_000), Some(("s", 9)), "a backend has reached it");
    }

    #[test]
    fn only_stores_that_backends_serve_count() {
        let mut heads = Heads::default();
        heads.heard("first", 3, 0);
        (0..100).for_each(|n| heads.heard(&format!("bogus-{n}"), 5, 0));
        assert_eq!(heads.highest(None, 0), Some(("first", 3)), "one store is believed before any is reported");
        heads.reported("s", 1);
        heads.heard("bogus", 5, 0);
        assert_eq!(heads.all(0), HashMap::from([("s".to_owned(), 1)]));
        (0..100).for_each(|n| heads.reported(&format!("s-{n}"), 1));
        assert_eq!(heads.all(0).len(), STORES_MAX);
    }
}
