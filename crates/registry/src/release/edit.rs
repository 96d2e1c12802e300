//! What a promotion, a rollback and a restore do to releases. Pure.

use std::collections::BTreeMap;

use headgate_contract::catalog::{Shard, ShardId};
use headgate_contract::release::{Action, Entry, HISTORY_MAX, Labelled, Serve};
use headgate_contract::{ModelName, Release};

use super::swap::Note;

/// The label of the version that has the traffic.
pub(super) const STABLE: &str = "stable";
/// The label of the version that is tried beside it.
pub(super) const CANARY: &str = "canary";
/// All of the traffic, in percent.
pub(super) const WHOLE: u32 = 100;

/// The version that a candidate is compared with, and stands beside as a canary: the one labelled stable, else the one
/// with most traffic; none where nothing else is served.
pub(super) fn stable<'a>(release: &'a Release, candidate: &Labelled) -> Option<&'a Serve> {
    let others = || release.serve.iter().filter(|serve| serve.version != candidate.version && serve.weight > 0);
    let label = release.labels.get(STABLE);
    let labelled = others().find(|serve| label.is_some_and(|label| label.version == serve.version));
    labelled.or_else(|| others().max_by_key(|serve| serve.weight))
}

/// The release with `candidate` at `weight` percent; none where it says so already. The error is in words.
pub(super) fn promote(
    release: &Release,
    candidate: &Labelled,
    weight: u32,
    note: &Note,
    why: &str,
) -> Result<Option<Release>, String> {
    let part = |of: &Labelled, weight| Serve { version: of.version, digest: of.digest, weight };
    let beside = match weight {
        WHOLE => None,
        1..WHOLE => Some(stable(release, candidate).ok_or("no other version is served for a canary to stand beside")?),
        _ => return Err(format!("a weight of {weight} percent: 1 to 100 expected")),
    };
    let beside = beside.map(|serve| Labelled { version: serve.version, digest: serve.digest });
    let list: Vec<Serve> = match &beside {
        None => vec![part(candidate, WHOLE)],
        Some(stable) => vec![part(stable, WHOLE - weight), part(candidate, weight)],
    };
    if same(&release.serve, &list) {
        return Ok(None);
    }
    let mut next = release.clone();
    let action = if beside.is_some() { Action::Canary } else { Action::Promote };
    record(&mut next, action, list, note, why, steps_on(release, candidate));
    next.labels.remove(CANARY);
    match beside {
        None => drop(next.labels.insert(STABLE.to_owned(), candidate.clone())),
        Some(stable) => {
            next.labels.insert(STABLE.to_owned(), stable);
            next.labels.insert(CANARY.to_owned(), candidate.clone());
        }
    }
    next.shadow.retain(|shadow| shadow.version != candidate.version);
    Ok(Some(next))
}

/// The release after a rollback. The error is in words.
pub(super) fn rollback(release: &Release, note: &Note, why: &str) -> Result<Release, String> {
    let target = release.rollback_target().ok_or("there is no earlier version to go back to")?;
    if let Some(dead) = target.serve.iter().find(|serve| release.dead.contains(&serve.version)) {
        return Err(format!("version {}, to which it would go back, is dead", dead.version));
    }
    let mut next = release.clone();
    let back_to = release.history.iter().rposition(|entry| std::ptr::eq(entry, target)).unwrap_or(0);
    next.history.iter_mut().skip(back_to + 1).for_each(|left| left.rolled_back = true);
    record(&mut next, Action::Rollback, target.serve.clone(), note, why, false);
    relabel(&mut next);
    Ok(next)
}

/// The shards of an earlier catalog as they become today's: today's dead versions stay dead. The error is in words.
pub(super) fn restore(
    today: &BTreeMap<ShardId, Shard>,
    old: BTreeMap<ShardId, Shard>,
    note: &Note,
    why: &str,
) -> Result<BTreeMap<ShardId, Shard>, String> {
    let mut shards = old;
    let now = |model: &ModelName| today.get(&ShardId::of(model)).and_then(|shard| shard.releases.get(model));
    for (model, release) in shards.values_mut().flat_map(|shard| &mut shard.releases) {
        let today = now(model);
        release.dead = today.map(|today| today.dead.clone()).unwrap_or_default();
        refuse_dead(model, release)?;
        let dead = release.dead.clone();
        release.history.retain(|entry| !entry.serve.iter().any(|serve| dead.contains(&serve.version)));
        if !release.serve.is_empty() && today.is_none_or(|today| today.serve != release.serve) {
            record(release, Action::Restore, release.serve.clone(), note, why, false);
        }
    }
    // A model that the earlier catalog does not know keeps its dead versions, and serves nothing.
    for (id, shard) in today {
        for (model, release) in shard.releases.iter().filter(|(_, release)| !release.dead.is_empty()) {
            let kept = Release { dead: release.dead.clone(), ..Release::new() };
            shards.entry(id.clone()).or_insert_with(Shard::empty).releases.entry(model.clone()).or_insert(kept);
        }
    }
    Ok(shards)
}

fn refuse_dead(model: &ModelName, release: &Release) -> Result<(), String> {
    let served = release.serve.iter().map(|serve| serve.version);
    let labelled = release.labels.values().map(|label| label.version);
    let shadowed = release.shadow.iter().map(|shadow| shadow.version);
    match served.chain(labelled).chain(shadowed).find(|version| release.dead.contains(version)) {
        Some(version) => Err(format!("it names version {version} of model {model}, whose files are being deleted")),
        None => Ok(()),
    }
}

/// Whether a promotion of `candidate` is the next step of the canary that today's list is.
fn steps_on(release: &Release, candidate: &Labelled) -> bool {
    release.history.last().is_some_and(|last| {
        last.action == Action::Canary
            && last.serve == release.serve
            && last.serve.last().is_some_and(|serve| serve.version == candidate.version)
    })
}

/// Serves `list`, and enters it in the history: as a step of its last entry, or as a new one.
fn record(release: &mut Release, action: Action, list: Vec<Serve>, note: &Note, why: &str, step: bool) {
    let first = if step { release.history.pop() } else { None };
    release.history.push(Entry {
        change_id: first.map_or_else(|| note.change_id.clone(), |first| first.change_id),
        at: note.at,
        who: note.who.clone(),
        action,
        why: why.to_owned(),
        serve: list.clone(),
        rolled_back: false,
    });
    let surplus = release.history.len().saturating_sub(HISTORY_MAX);
    release.history.drain(..surplus);
    release.serve = list;
}

/// Lets the kept labels name what is served.
fn relabel(release: &mut Release) {
    let label = |serve: &Serve| Labelled { version: serve.version, digest: serve.digest };
    let mut by_weight: Vec<&Serve> = release.serve.iter().collect();
    by_weight.sort_by_key(|serve| std::cmp::Reverse(serve.weight));
    let named = [(STABLE, by_weight.first().map(|s| label(s))), (CANARY, by_weight.get(1).map(|s| label(s)))];
    for (name, version) in named {
        match version {
            Some(version) => drop(release.labels.insert(name.to_owned(), version)),
            None => drop(release.labels.remove(name)),
        }
    }
}

/// Whether two lists serve the same; the weight of a single version means nothing.
fn same(one: &[Serve], other: &[Serve]) -> bool {
    match (one, other) {
        ([one], [other]) => one.version == other.version && one.digest == other.digest,
        _ => one == other,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use headgate_contract::{Digest, Version};
    use jiff::Timestamp;

    use super::*;

    fn note(id: &str) -> Note {
        Note { change_id: id.to_owned(), at: Timestamp::UNIX_EPOCH, who: "ops@here".to_owned() }
    }

    fn version(number: u64) -> Labelled {
        Labelled { version: Version::new(number).unwrap(), digest: Digest::of(number.to_le_bytes()) }
    }

    fn promoted(release: &Release, number: u64, weight: u32) -> Release {
        let next = promote(release, &version(number), weight, &note(&format!("{number}-{weight}")), "better").unwrap();
        next.unwrap_or_else(|| release.clone())
    }

    fn served(release: &Release) -> Vec<(u64, u32)> {
        release.serve.iter().map(|serve| (serve.version.get(), serve.weight)).collect()
    }

    #[test]
    fn a_canarys_steps_are_one_entry() {
        let one = promoted(&Release::new(), 1, 100);
        let canary = promoted(&one, 2, 5);
        assert_eq!(served(&canary), [(1, 95), (2, 5)]);
        assert_eq!((canary.labels[STABLE].version.get(), canary.labels[CANARY].version.get()), (1, 2));
        let more = promoted(&canary, 2, 75);
        assert_eq!(served(&more), [(1, 25), (2, 75)]);
        let two = promoted(&more, 2, 100);
        assert_eq!((two.history.len(), two.history[1].change_id.as_str()), (2, "2-5"));
        assert_eq!((two.history[1].action, two.labels.len()), (Action::Promote, 1));
        assert_eq!(served(&rollback(&two, &note("back"), "").unwrap()), [(1, 100)]);
        // Another candidate is no step.
        assert_eq!(promoted(&more, 3, 5).history.len(), 3);
        assert_eq!(served(&promoted(&more, 3, 5)), [(1, 95), (3, 5)]);
    }

    #[test]
    fn a_rollback_marks_what_it_leaves_and_never_returns_there() {
        let three = (1..=3).fold(Release::new(), |release, number| promoted(&release, number, 100));
        let back = rollback(&three, &note("b"), "bad").unwrap();
        assert_eq!((served(&back), back.labels[STABLE].version.get()), (vec![(2, 100)], 2));
        let marks: Vec<bool> = back.history.iter().map(|entry| entry.rolled_back).collect();
        assert_eq!(marks, [false, false, true, false]);
        let again = rollback(&back, &note("c"), "bad too").unwrap();
        assert_eq!(served(&again), [(1, 100)]);
        assert!(rollback(&again, &note("d"), "").unwrap_err().contains("no earlier version"));
        // What comes after is a new life.
        let four = promoted(&again, 4, 100);
        assert_eq!(served(&rollback(&four, &note("e"), "").unwrap()), [(1, 100)]);
    }

    #[test]
    fn what_is_so_already_is_no_change() {
        let one = promoted(&Release::new(), 1, 100);
        assert!(promote(&one, &version(1), 100, &note("x"), "").unwrap().is_none());
        let canary = promoted(&one, 2, 5);
        assert!(promote(&canary, &version(2), 5, &note("x"), "").unwrap().is_none());
    }

    #[test]
    fn a_canary_needs_a_version_beside_it_and_a_sane_weight() {
        let one = promoted(&Release::new(), 1, 100);
        for (release, number, weight) in [(&Release::new(), 1, 5), (&one, 1, 5), (&one, 2, 0), (&one, 2, 101)] {
            assert!(promote(release, &version(number), weight, &note("x"), "").is_err(), "{number} {weight}");
        }
    }

    #[test]
    fn histories_are_bounded_and_keep_the_newest() {
        let many = (1..=100).fold(Release::new(), |release, number| promoted(&release, number, 100));
        assert_eq!(many.history.len(), HISTORY_MAX);
        assert_eq!(many.history.last().unwrap().serve[0].version.get(), 100);
    }

    #[test]
    fn a_restore_keeps_the_dead_dead() {
        let model: ModelName = "flights".parse().unwrap();
        let other: ModelName = "other".parse().unwrap();
        let catalog = |all: Vec<(&ModelName, Release)>| {
            let mut shards: BTreeMap<ShardId, Shard> = BTreeMap::new();
            for (model, release) in all {
                let shard = shards.entry(ShardId::of(model)).or_insert_with(Shard::empty);
                shard.releases.insert(model.clone(), release);
            }
            shards
        };
        let one = promoted(&Release::new(), 1, 100);
        let two = promoted(&one, 2, 100);
        let mut three = promoted(&two, 3, 100);
        three.dead = vec![version(1).version];
        let mut gone = Release::new();
        gone.dead = vec![version(7).version];
        let today = catalog(vec![(&model, three), (&other, gone)]);
        let restored = restore(&today, catalog(vec![(&model, two)]), &note("r"), "").unwrap();
        let release = &restored[&ShardId::of(&model)].releases[&model];
        assert_eq!((served(release), release.dead.len()), (vec![(2, 100)], 1));
        let versions: Vec<u64> = release.history.iter().map(|entry| entry.serve[0].version.get()).collect();
        assert_eq!(versions, [2, 2]);
        assert_eq!(restored[&ShardId::of(&other)].releases[&other].dead, [version(7).version]);
        let refused = restore(&today, catalog(vec![(&model, one)]), &note("r"), "").unwrap_err();
        assert!(refused.contains("version 1 of model flights"), "{refused}");
    }
}
