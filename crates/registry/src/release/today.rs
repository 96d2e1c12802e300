//! The catalog as a change finds it, what the change does to it, and whether it is still what was decided upon. Pure.

use std::collections::{BTreeMap, BTreeSet};

use headgate_contract::catalog::{Frozen, Shard, ShardId};
use headgate_contract::{ModelName, Release};

use super::swap::Plan;
use super::{Change, ReleaseError};
use crate::catalog::ReadHead;

/// The catalog as it is.
#[derive(Debug, Default)]
pub(super) struct Today {
    pub(super) head: Option<ReadHead>,
    /// The shards that hold the edit's models.
    pub(super) shards: BTreeMap<ShardId, Shard>,
}

impl Today {
    pub(super) fn release(&self, model: &ModelName) -> Option<&Release> {
        self.shards.get(&ShardId::of(model))?.releases.get(model)
    }

    pub(super) fn frozen(&self) -> Option<&Frozen> {
        self.head.as_ref()?.head.frozen.as_ref()
    }

    /// The shards of these releases, with them.
    pub(super) fn with(&self, releases: BTreeMap<ModelName, Release>) -> BTreeMap<ShardId, Shard> {
        let mut shards: BTreeMap<ShardId, Shard> = BTreeMap::new();
        for (model, release) in releases {
            let id = ShardId::of(&model);
            let today = || self.shards.get(&id).cloned().unwrap_or_else(Shard::empty);
            shards.entry(id.clone()).or_insert_with(today).releases.insert(model, release);
        }
        shards
    }
}

/// What a plan does to what is served.
pub(super) fn changes(today: &Today, plan: &Plan) -> Vec<Change> {
    let change = |model: &ModelName, after: Option<&Release>| Change {
        model: model.clone(),
        before: today.release(model).map(|release| release.serve.clone()).unwrap_or_default(),
        after: after.map(|release| release.serve.clone()).unwrap_or_default(),
    };
    match plan {
        Plan::Nothing | Plan::Frozen { .. } => Vec::new(),
        Plan::Releases { releases, .. } => {
            releases.iter().map(|(model, release)| change(model, Some(release))).collect()
        }
        Plan::Catalog { shards, .. } => {
            let now = today.shards.values().flat_map(|shard| shard.releases.keys());
            let then = shards.values().flat_map(|shard| shard.releases.keys());
            let models: BTreeSet<&ModelName> = now.chain(then).collect();
            let after = |model| shards.get(&ShardId::of(model)).and_then(|shard| shard.releases.get(model));
            let all = models.into_iter().map(|model| change(model, after(model)));
            all.filter(|change| change.before != change.after).collect()
        }
    }
}

/// Refuses where somebody else has changed what the edit was decided upon. Marks of dead versions are no such change:
/// every check is repeated.
pub(super) fn still_ours(
    first: &Today,
    today: &Today,
    models: Option<&BTreeSet<ModelName>>,
) -> Result<(), ReleaseError> {
    let Some(models) = models else {
        let generation = |today: &Today| today.head.as_ref().map(|head| head.head.generation);
        return match generation(first) == generation(today) {
            true => Ok(()),
            false => Err(conflict("*".to_owned(), today, None)),
        };
    };
    let decided_on = |release: Option<&Release>| release.map(|r| Release { dead: Vec::new(), ..r.clone() });
    for model in models {
        let now = today.release(model);
        if decided_on(first.release(model)) != decided_on(now) {
            return Err(conflict(model.to_string(), today, now));
        }
    }
    Ok(())
}

fn conflict(model: String, today: &Today, release: Option<&Release>) -> ReleaseError {
    let head = today.head.as_ref().map(|head| (head.head.who.clone(), head.head.what.clone()));
    let (mut who, mut what) = head.unwrap_or_default();
    if let Some(last) = release.and_then(|release| release.history.last()) {
        let versions: Vec<String> = last.serve.iter().map(|serve| serve.version.to_string()).collect();
        (who, what) = (last.who.clone(), format!("{} is served", versions.join(" and ")));
    }
    ReleaseError::Conflict { model, who, what }
}
