//! A model's release, and the one function that says what is served of it: [`pick`].

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Digest, ModelName, Version};

/// The most entries a history keeps; the oldest go first.
pub const HISTORY_MAX: usize = 32;
/// The most versions a serve list names.
pub const SERVE_MAX: usize = 8;

/// What is served of one model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Release {
    /// The versions that share the traffic, by weight.
    pub serve: Vec<Serve>,
    /// Versions that get a copy of some traffic, whose replies nobody sees.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shadow: Vec<Shadow>,
    /// Names for versions: `stable`, `canary`, ...
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, Labelled>,
    /// How many earlier good versions stay resident.
    #[serde(default = "keep_default")]
    pub keep: u32,
    /// The request header whose hash picks the version; without it each request draws.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sticky: Option<String>,
    /// Whether unknown features are refused.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub strict: bool,
    /// The model that answers for this model's unknown scopes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback: Option<ModelName>,
    /// What was served before, oldest first, today's list last; at most [`HISTORY_MAX`].
    #[serde(default)]
    pub history: Vec<Entry>,
    /// Versions whose files are being deleted; they can't be released again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dead: Vec<Version>,
    /// Fields of a later minor version, kept.
    #[serde(flatten)]
    pub extra: BTreeMap<String, Value>,
}

/// A version in a serve list. Equal digests mean equal versions, in every store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Serve {
    /// The version.
    pub version: Version,
    /// Its manifest's digest.
    pub digest: Digest,
    /// Its part of the traffic, relative to the other weights of the list.
    pub weight: u32,
}

/// A version that gets a copy of some traffic.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Shadow {
    /// The version.
    pub version: Version,
    /// Its manifest's digest.
    pub digest: Digest,
    /// The part of the traffic, 0 to 1.
    pub fraction: f64,
}

/// What a label names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Labelled {
    /// The version.
    pub version: Version,
    /// Its manifest's digest.
    pub digest: Digest,
}

/// One change of what is served.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// The id of the catalog change that made it (the first one's, for a canary's steps).
    pub change_id: String,
    /// When.
    pub at: Timestamp,
    /// User and host.
    pub who: String,
    /// What was done.
    pub action: Action,
    /// The reason given, or the condition that held.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
    /// The serve list that it made.
    pub serve: Vec<Serve>,
    /// Whether it was taken back later: a rollback never returns to it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub rolled_back: bool,
}

/// What a history entry did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// A version took over.
    Promote,
    /// A version got a part of the traffic.
    Canary,
    /// An earlier list came back.
    Rollback,
    /// An earlier catalog came back.
    Restore,
    /// Something that this build does not know.
    #[serde(other)]
    Other,
}

/// What [`pick`] found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pick<'a> {
    /// The list that is served.
    pub serve: &'a [Serve],
    /// The part of the capacity that can serve all of it, above 0 to 1.
    pub capacity: f64,
    /// Whether it is today's list, and not an earlier one that stands in for it.
    pub current: bool,
}

fn keep_default() -> u32 {
    1
}

// === impl Release ===

impl Release {
    /// A release of nothing, with the defaults.
    pub fn new() -> Self {
        Self { keep: keep_default(), ..Self::default() }
    }

    /// The serve lists worth serving, newest first: today's, then those of the history that were not taken back, then
    /// (better than nothing) those that were. No list comes twice.
    pub fn lists(&self) -> Vec<&[Serve]> {
        let newest_first = || self.history.iter().rev();
        let mut lists: Vec<&[Serve]> = Vec::with_capacity(self.history.len() + 1);
        let all = std::iter::once(&self.serve)
            .chain(newest_first().filter(|entry| !entry.rolled_back).map(|entry| &entry.serve))
            .chain(newest_first().filter(|entry| entry.rolled_back).map(|entry| &entry.serve));
        for serve in all {
            if !serve.is_empty() && !lists.contains(&serve.as_slice()) {
                lists.push(serve);
            }
        }
        lists
    }

    /// The newest earlier serve list that was not itself taken back: where a rollback goes.
    pub fn rollback_target(&self) -> Option<&Entry> {
        self.history.iter().rev().skip(1).find(|entry| !entry.rolled_back && entry.serve != self.serve)
    }

    /// The digest of `version` where this release or its history names it.
    pub fn digest_of(&self, version: Version) -> Option<Digest> {
        let served = self.serve.iter().chain(self.history.iter().rev().flat_map(|entry| &entry.serve));
        let served = served.filter(|serve| serve.version == version).map(|serve| serve.digest);
        let labelled = self.labels.values().filter(|l| l.version == version).map(|l| l.digest);
        let shadowed = self.shadow.iter().filter(|s| s.version == version).map(|s| s.digest);
        served.chain(labelled).chain(shadowed).next()
    }
}

/// Says what is served of a model: the newest serve list all of whose versions are usable (`usable` >= 1), else the one
/// that is usable on most capacity, else nothing. `usable` tells the part of the capacity, 0 to 1, that can serve a
/// version: in a backend 1 when it is proven, at the edge the part of the backends that hold it. Two bad promotions in a
/// row so leave the good list before them serving.
pub fn pick(release: &Release, usable: impl Fn(&Serve) -> f64) -> Option<Pick<'_>> {
    let mut best: Option<Pick<'_>> = None;
    for (at, serve) in release.lists().into_iter().enumerate() {
        let capacity = serve.iter().filter(|s| s.weight > 0).map(&usable).fold(1.0, f64::min);
        let current = at == 0 && serve == release.serve.as_slice();
        if serve.iter().all(|s| s.weight == 0) {
            continue;
        }
        if capacity >= 1.0 {
            return Some(Pick { serve, capacity: 1.0, current });
        }
        if capacity > best.map_or(0.0, |b| b.capacity) {
            best = Some(Pick { serve, capacity, current });
        }
    }
    best
}

/// Which version of a list a call gets: `draw` is a number that is uniform over all of u64 (a random one, or the hash of
/// the sticky header), mapped onto the weights.
pub fn draw(serve: &[Serve], draw: u64) -> Option<&Serve> {
    let total: u64 = serve.iter().map(|s| u64::from(s.weight)).sum();
    // The high part of draw x total is uniform over 0..total, without the bias of a remainder.
    let mut at = ((u128::from(draw) * u128::from(total)) >> 64) as u64;
    for candidate in serve {
        let weight = u64::from(candidate.weight);
        if at < weight {
            return Some(candidate);
        }
        at -= weight;
    }
    None
}

/// The draw for a caller's value of the sticky header: the same at every gateway and backend.
pub fn sticky_draw(model: &ModelName, value: &[u8]) -> u64 {
    Digest::of_parts([model.as_str().as_bytes(), value]).to_u64()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn serve(version: u64, weight: u32) -> Serve {
        Serve { version: Version::new(version).unwrap(), digest: Digest::of(version.to_le_bytes()), weight }
    }

    fn entry(lists: &[Serve], rolled_back: bool) -> Entry {
        Entry {
            change_id: String::new(),
            at: Timestamp::UNIX_EPOCH,
            who: String::new(),
            action: Action::Promote,
            why: String::new(),
            serve: lists.to_vec(),
            rolled_back,
        }
    }

    fn release(history: Vec<Entry>) -> Release {
        Release { serve: history.last().unwrap().serve.clone(), history, ..Release::new() }
    }

    fn picked(release: &Release, usable: &[u64]) -> Option<u64> {
        pick(release, |s| f64::from(usable.contains(&s.version.get()))).map(|p| p.serve[0].version.get())
    }

    #[test]
    fn two_bad_promotions_leave_the_good_version_serving() {
        let release = release((1..=3).map(|v| entry(&[serve(v, 1)], false)).collect());
        assert_eq!(picked(&release, &[1, 2, 3]), Some(3));
        assert_eq!(picked(&release, &[1, 2]), Some(2));
        assert_eq!(picked(&release, &[1]), Some(1));
        assert_eq!(picked(&release, &[]), None);
    }

    #[test]
    fn what_was_taken_back_comes_last() {
        let mut release =
            release(vec![entry(&[serve(1, 1)], false), entry(&[serve(2, 1)], false), entry(&[serve(3, 1)], true)]);
        release.history.push(entry(&[serve(2, 1)], false));
        release.serve = vec![serve(2, 1)];
        assert_eq!(picked(&release, &[1, 3]), Some(1));
        assert_eq!(picked(&release, &[3]), Some(3));
        assert_eq!(release.rollback_target().unwrap().serve[0].version.get(), 1);
    }

    #[test]
    fn a_canary_whose_version_fails_falls_back_whole() {
        let canary = [serve(1, 95), serve(2, 5)];
        let release = release(vec![entry(&[serve(1, 1)], false), entry(&canary, false)]);
        assert_eq!(pick(&release, |_| 1.0).unwrap().serve.len(), 2);
        let picked = pick(&release, |s| f64::from(s.version.get() == 1)).unwrap();
        assert_eq!((picked.serve.len(), picked.current), (1, false));
    }

    #[test]
    fn the_list_on_most_capacity_stands_in() {
        let release = release(vec![entry(&[serve(1, 1)], false), entry(&[serve(2, 1)], false)]);
        let picked = pick(&release, |s| if s.version.get() == 2 { 0.25 } else { 0.5 }).unwrap();
        assert_eq!((picked.serve[0].version.get(), picked.capacity), (1, 0.5));
    }

    proptest! {
        #[test]
        fn what_is_picked_is_usable_and_none_newer_is(usable in proptest::collection::vec(0u8..=2, 6), lists in proptest::collection::vec(proptest::collection::vec(0u64..6, 1..3), 1..6)) {
            let lists: Vec<Vec<Serve>> = lists.into_iter().map(|l| l.into_iter().map(|v| serve(v + 1, 1)).collect()).collect();
            let release = release(lists.iter().map(|l| entry(l, false)).collect());
            let share = |s: &Serve| f64::from(usable[s.version.get() as usize - 1]) / 2.0;
            let capacity = |l: &[Serve]| l.iter().map(share).fold(1.0, f64::min);
            match pick(&release, share) {
                None => prop_assert!(lists.iter().all(|l| capacity(l) == 0.0)),
                Some(picked) => {
                    prop_assert!(picked.capacity > 0.0 && picked.capacity == capacity(picked.serve));
                    let newer = lists.iter().rev().take_while(|l| l.as_slice() != picked.serve);
                    for list in newer {
                        prop_assert!(capacity(list) < 1.0 && capacity(list) <= picked.capacity);
                    }
                }
            }
        }

        #[test]
        fn draws_follow_the_weights(weights in proptest::collection::vec(0u32..100, 1..5)) {
            let list: Vec<Serve> = weights.iter().enumerate().map(|(i, w)| serve(i as u64 + 1, *w)).collect();
            let total: u64 = weights.iter().map(|w| u64::from(*w)).sum();
            let mut counts = vec![0u64; list.len()];
            for step in 0..total {
                let at = ((u128::from(step) << 64) / u128::from(total) + 1) as u64;
                counts[draw(&list, at).unwrap().version.get() as usize - 1] += 1;
            }
            let expected: Vec<u64> = weights.iter().map(|w| u64::from(*w)).collect();
            prop_assert_eq!(counts, expected);
            prop_assert_eq!(draw(&list, u64::MAX).is_none(), total == 0);
        }
    }
}
