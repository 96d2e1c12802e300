//! Which models are resident, and which of them goes when there is no room: the one whose last call is longest ago.

use std::collections::{BTreeSet, HashMap};

use headgate_contract::ModelName;

/// Resident models, by their last use as far as it was looked at. A later use is found when it is their turn to go, so that
/// a call costs nothing here.
#[derive(Debug, Default)]
pub struct Residents {
    by_use: BTreeSet<(u64, ModelName)>,
    used: HashMap<ModelName, u64>,
}

/// How a resident model is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// Its last call came at this time, and none is in flight.
    Idle(u64),
    /// It has calls in flight, or something of it is being loaded.
    Busy,
}

impl Residents {
    /// How many there are.
    pub fn count(&self) -> usize {
        self.used.len()
    }

    /// Whether a model is among them.
    pub fn contains(&self, model: &ModelName) -> bool {
        self.used.contains_key(model)
    }

    /// A model is resident from now on.
    pub fn insert(&mut self, model: &ModelName, at: u64) {
        self.remove(model);
        self.used.insert(model.clone(), at);
        self.by_use.insert((at, model.clone()));
    }

    /// A model is resident no more.
    pub fn remove(&mut self, model: &ModelName) {
        if let Some(at) = self.used.remove(model) {
            self.by_use.remove(&(at, model.clone()));
        }
    }

    /// Takes out the one whose last use is longest ago; none where all are busy. `look` tells how a model is used.
    pub fn evict(&mut self, look: impl Fn(&ModelName) -> Use) -> Option<ModelName> {
        let mut busy = Vec::new();
        let found = loop {
            let Some((at, model)) = self.by_use.pop_first() else { break None };
            match look(&model) {
                Use::Idle(used) if used <= at => break Some(model),
                // It was used since: its turn is later.
                Use::Idle(used) => {
                    self.used.insert(model.clone(), used);
                    self.by_use.insert((used, model));
                }
                Use::Busy => busy.push((at, model)),
            }
        };
        self.by_use.extend(busy);
        if let Some(model) = &found {
            self.used.remove(model);
        }
        found
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn name(number: usize) -> ModelName {
        format!("m{number}").parse().unwrap()
    }

    proptest! {
        #[test]
        fn the_least_recently_used_that_is_idle_goes(uses in proptest::collection::vec((0u64..50, 50u64..100, any::<bool>()), 1..30)) {
            let mut residents = Residents::default();
            uses.iter().enumerate().for_each(|(at, (loaded, _, _))| residents.insert(&name(at), *loaded));
            let number = |model: &ModelName| model.as_str()[1..].parse::<usize>().unwrap();
            let look = |model: &ModelName| match uses[number(model)] {
                (_, _, true) => Use::Busy,
                (_, used, false) => Use::Idle(used),
            };
            let mut gone = Vec::new();
            while let Some(model) = residents.evict(look) {
                prop_assert!(!residents.contains(&model));
                gone.push(uses[number(&model)].1);
            }
            prop_assert!(gone.is_sorted(), "{:?}", gone);
            prop_assert_eq!(residents.count(), uses.iter().filter(|(_, _, busy)| *busy).count());
            prop_assert_eq!(residents.by_use.len(), residents.count());
            prop_assert_eq!(gone.len() + residents.count(), uses.len());
        }
    }
}
