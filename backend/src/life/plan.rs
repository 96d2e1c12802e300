//! Which versions of a model should be here: a pure function of its release and of how its versions fare.

use headgate_contract::release::{Release, Serve};
use headgate_contract::{Digest, Version};

/// The rank of what is only kept: nothing waits for it.
pub const RANK_KEPT: u8 = 2;

/// How a version fares, as far as planning is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fares {
    /// Not known yet, or on its way.
    Unsettled,
    /// It can answer.
    Ready,
    /// It failed by its own fault.
    FailedOwn,
    /// The store gave something else than was published, or the machine lacks what runs it: as by its own fault, and yet it
    /// is looked at again.
    FailedDamaged,
    /// It failed by a cause that can pass.
    FailedPassing,
}

/// A version that should be here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The version.
    pub version: Version,
    /// Its manifest's digest.
    pub digest: Digest,
    /// 0 is loaded first: what is released now; then what stands in for it; then what is kept.
    pub rank: u8,
}

/// What should be here of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The versions that should be here.
    pub wanted: Vec<Wanted>,
    /// Whether the newest list has become ready or has failed.
    pub settled: bool,
    /// Whether the newest list can answer: only then may anything leave that can answer.
    pub newest_ready: bool,
    /// Whether all that could be served has failed by its own fault: waiting is of no use.
    pub hopeless: bool,
}

/// Plans for a model. `fares` tells how a version fares, by its digest.
pub fn plan(release: &Release, fares: impl Fn(&Digest) -> Fares) -> Plan {
    let lists: Vec<&[Serve]> = release.lists().into_iter().filter(|l| l.iter().any(|s| s.weight > 0)).collect();
    let mut wanted = Vec::new();
    let newest = lists.first().copied().unwrap_or_default();
    for serve in newest {
        want(&mut wanted, serve.version, serve.digest, 0);
    }
    for label in release.labels.values() {
        want(&mut wanted, label.version, label.digest, 0);
    }
    for shadow in &release.shadow {
        want(&mut wanted, shadow.version, shadow.digest, 0);
    }
    let newest_fares = together(newest, &fares);
    let newest_ready = newest_fares == Fares::Ready;
    let settled = newest_fares != Fares::Unsettled;
    let older = lists.get(1..).unwrap_or_default();
    if settled {
        if !newest_ready {
            stand_ins(older, &fares, &mut wanted);
        }
        kept(release.keep as usize, older, &fares, &mut wanted);
    }
    let hopeless = lists.iter().all(|list| is_lost(together(list, &fares)));
    Plan { wanted, settled, newest_ready, hopeless }
}

/// Versions of the first older list that can answer, and of those before it that might yet.
fn stand_ins(older: &[&[Serve]], fares: &impl Fn(&Digest) -> Fares, wanted: &mut Vec<Wanted>) {
    for list in older {
        let list_fares = together(list, fares);
        if list_fares == Fares::FailedOwn {
            continue;
        }
        list.iter().for_each(|s| want(wanted, s.version, s.digest, 1));
        if !matches!(list_fares, Fares::FailedPassing | Fares::FailedDamaged) {
            return;
        }
    }
}

/// So many versions of older lists, newest first, beyond what is wanted already. Those that failed do not count.
fn kept(keep: usize, older: &[&[Serve]], fares: &impl Fn(&Digest) -> Fares, wanted: &mut Vec<Wanted>) {
    let before = wanted.len();
    for list in older.iter().filter(|list| !is_lost(together(list, fares))) {
        for serve in *list {
            if wanted.len() - before >= keep {
                return;
            }
            want(wanted, serve.version, serve.digest, RANK_KEPT);
        }
    }
}

/// Whether waiting for a list that fares so is of no use.
fn is_lost(fares: Fares) -> bool {
    matches!(fares, Fares::FailedOwn | Fares::FailedDamaged)
}

fn want(wanted: &mut Vec<Wanted>, version: Version, digest: Digest, rank: u8) {
    if !wanted.iter().any(|w| w.digest == digest) {
        wanted.push(Wanted { version, digest, rank });
    }
}

/// A list fares as its worst version does; those without weight do not count.
fn together(list: &[Serve], fares: &impl Fn(&Digest) -> Fares) -> Fares {
    let mut together = Fares::Ready;
    for serve in list.iter().filter(|s| s.weight > 0) {
        match (fares(&serve.digest), together) {
            (Fares::FailedOwn, _) => return Fares::FailedOwn,
            (Fares::FailedDamaged, _) | (_, Fares::FailedDamaged) => together = Fares::FailedDamaged,
            (Fares::FailedPassing, _) | (_, Fares::FailedPassing) => together = Fares::FailedPassing,
            (Fares::Unsettled, _) => together = Fares::Unsettled,
            (Fares::Ready, _) => {}
        }
    }
    if list.is_empty() { Fares::Unsettled } else { together }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use headgate_contract::release::{Entry, Labelled};

    use super::*;
    use Fares::{FailedDamaged, FailedOwn, FailedPassing, Ready, Unsettled};

    fn serve(version: u64) -> Serve {
        Serve { version: Version::new(version).unwrap(), digest: digest(version), weight: 1 }
    }

    fn digest(version: u64) -> Digest {
        Digest::of(version.to_le_bytes())
    }

    fn release(lists: &[&[u64]]) -> Release {
        let entry = |versions: &&[u64]| {
            let serve: Vec<Serve> = versions.iter().map(|v| serve(*v)).collect();
            let text = serde_json::json!({"change_id": "c", "at": "2026-01-01T00:00:00Z", "who": "w", "action": "promote", "serve": serve});
            serde_json::from_value::<Entry>(text).unwrap()
        };
        let history: Vec<Entry> = lists.iter().map(entry).collect();
        Release { serve: history.last().unwrap().serve.clone(), history, ..Release::new() }
    }

    fn versions(release: &Release, fares: &[(u64, Fares)]) -> Vec<(u64, u8)> {
        let plan = planned(release, fares);
        plan.wanted.iter().map(|w| (w.version.get(), w.rank)).collect()
    }

    fn planned(release: &Release, fares: &[(u64, Fares)]) -> Plan {
        plan(release, |d| fares.iter().find(|(v, _)| digest(*v) == *d).map_or(Unsettled, |(_, f)| *f))
    }

    #[test]
    fn the_newest_comes_first_and_then_what_is_kept() {
        let release = release(&[&[1], &[2], &[3]]);
        assert_eq!(versions(&release, &[]), [(3, 0)]);
        assert_eq!(versions(&release, &[(3, Ready)]), [(3, 0), (2, 2)]);
        assert_eq!(versions(&release, &[(3, Ready), (2, FailedOwn)]), [(3, 0), (1, 2)]);
    }

    #[test]
    fn two_bad_promotions_go_back_to_the_last_good_one() {
        let mut release = release(&[&[1], &[2], &[3]]);
        release.keep = 0;
        assert_eq!(versions(&release, &[(3, FailedOwn)]), [(3, 0), (2, 1)]);
        assert_eq!(versions(&release, &[(3, FailedOwn), (2, FailedOwn)]), [(3, 0), (1, 1)]);
        let plan = planned(&release, &[(3, FailedOwn), (2, FailedOwn), (1, Ready)]);
        assert!(!plan.newest_ready && plan.settled && !plan.hopeless);
        assert!(planned(&release, &[(3, FailedOwn), (2, FailedOwn), (1, FailedOwn)]).hopeless);
    }

    #[test]
    fn while_the_store_is_away_whatever_is_there_is_tried() {
        let release = release(&[&[1], &[2], &[3]]);
        let away = [(3, FailedPassing), (2, FailedPassing)];
        assert_eq!(versions(&release, &away), [(3, 0), (2, 1), (1, 1)]);
        assert!(!planned(&release, &away).hopeless);
    }

    #[test]
    fn what_is_damaged_is_passed_by_and_still_wanted() {
        let mut release = release(&[&[1], &[2], &[3]]);
        release.keep = 0;
        assert_eq!(versions(&release, &[(3, FailedOwn), (2, FailedDamaged)]), [(3, 0), (2, 1), (1, 1)]);
        release.keep = 1;
        assert_eq!(versions(&release, &[(3, Ready), (2, FailedDamaged)]), [(3, 0), (1, 2)]);
        assert!(planned(&release, &[(3, FailedDamaged), (2, FailedOwn), (1, FailedDamaged)]).hopeless);
    }

    #[test]
    fn canaries_labels_and_versions_without_weight() {
        let mut release = release(&[&[1], &[1, 2]]);
        release.serve[1].weight = 0;
        release.labels.insert("next".into(), Labelled { version: serve(9).version, digest: digest(9) });
        let plan = planned(&release, &[(1, Ready)]);
        assert!(plan.newest_ready);
        assert_eq!(versions(&release, &[(1, Ready)]), [(1, 0), (2, 0), (9, 0)]);
    }

    #[test]
    fn a_release_that_serves_nothing_is_not_settled() {
        let plan = planned(&Release::new(), &[]);
        assert_eq!((plan.wanted.len(), plan.settled, plan.newest_ready), (0, false, false));
    }
}
