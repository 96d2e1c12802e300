//! A whole catalog, and what differs between two.

use std::collections::BTreeMap;
use std::sync::Arc;

use headgate_contract::catalog::{Head, Shard, ShardId};
use headgate_contract::{Digest, ModelName, Release};

/// A whole catalog, immutable: a head with all its shards. Catalogs that follow one another share the shards that did
/// not change.
#[derive(Debug)]
pub struct Catalog {
    pub(super) head: Head,
    pub(super) shards: BTreeMap<ShardId, KnownShard>,
}

/// A shard with the digest under which the head names it.
#[derive(Clone, Debug)]
pub(super) struct KnownShard {
    pub(super) digest: Digest,
    pub(super) shard: Arc<Shard>,
}

/// What differs between two catalogs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Models whose release is new or different, sorted within their shard.
    pub changed: Vec<ModelName>,
    /// Models without a release now.
    pub gone: Vec<ModelName>,
}

impl Catalog {
    /// Its head.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// The release of a model.
    pub fn release(&self, model: &ModelName) -> Option<&Release> {
        self.shards.get(&ShardId::of(model))?.shard.releases.get(model)
    }

    /// All releases, shard by shard.
    pub fn releases(&self) -> impl Iterator<Item = (&ModelName, &Release)> {
        self.shards.values().flat_map(|known| known.shard.releases.iter())
    }

    /// What differs from `older` (none: from nothing). Costs the shards that differ, whatever the number of models.
    pub fn changes_since(&self, older: Option<&Catalog>) -> Changes {
        let mut changes = Changes::default();
        let none = BTreeMap::new();
        let before = older.map_or(&none, |older| &older.shards);
        for (id, known) in &self.shards {
            let old = before.get(id);
            if old.is_some_and(|old| old.digest == known.digest) {
                continue;
            }
            let old = |model: &ModelName| old.and_then(|old| old.shard.releases.get(model));
            let differs = known.shard.releases.iter().filter(|(model, release)| old(model) != Some(release));
            changes.changed.extend(differs.map(|(model, _)| model.clone()));
        }
        for (id, old) in before {
            let now = self.shards.get(id);
            if now.is_some_and(|now| now.digest == old.digest) {
                continue;
            }
            let is_gone = |model: &&ModelName| now.is_none_or(|now| !now.shard.releases.contains_key(*model));
            changes.gone.extend(old.shard.releases.keys().filter(is_gone).cloned());
        }
        changes
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use headgate_contract::format;

    use super::*;

    fn catalog(models: &[(&str, u32)]) -> Catalog {
        let mut shards: BTreeMap<ShardId, Shard> = BTreeMap::new();
        for (name, keep) in models {
            let model: ModelName = name.parse().unwrap();
            let shard = shards.entry(ShardId::of(&model)).or_insert_with(Shard::empty);
            shard.releases.insert(model, Release { keep: *keep, ..Release::new() });
        }
        let known = |(id, shard): (ShardId, Shard)| {
            (id, KnownShard { digest: Digest::of(format::write(&shard)), shard: Arc::new(shard) })
        };
        let head = r#"{"format":"headgate.head/1.0","store_id":"s","generation":1,"change_id":"c","who":"w","what":"x",
            "at":"2026-01-01T00:00:00Z","shards":{}}"#;
        let head = format::read(format::HEAD, head.as_bytes()).unwrap();
        Catalog { head, shards: shards.into_iter().map(known).collect() }
    }

    #[test]
    fn what_differs_is_told_and_nothing_else() {
        let names = |models: &[ModelName]| models.iter().map(ToString::to_string).collect::<Vec<_>>();
        let old = catalog(&[("a", 1), ("b", 1), ("c/x", 1)]);
        let new = catalog(&[("a", 1), ("b", 2), ("d", 1)]);
        let changes = new.changes_since(Some(&old));
        let mut changed = names(&changes.changed);
        changed.sort();
        assert_eq!((changed, names(&changes.gone)), (vec!["b".to_owned(), "d".to_owned()], vec!["c/x".to_owned()]));
        assert_eq!(new.changes_since(Some(&new)), Changes::default());
        assert_eq!(new.changes_since(None).changed.len(), 3);
        assert_eq!(new.release(&"b".parse().unwrap()).unwrap().keep, 2);
        assert_eq!((new.releases().count(), new.release(&"c/x".parse().unwrap())), (3, None));
    }
}
