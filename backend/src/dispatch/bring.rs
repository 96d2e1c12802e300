//! Waiting for a model that is loaded on demand.

use headgate_contract::route::{Choice, Target};
use headgate_contract::{Digest, Kind, ModelName, Version};
use tokio::time::{Instant, timeout_at};

use super::resolve::{self, Resolved};
use super::{Call, Chosen, Shared};
use crate::life::demand::Demand;
use crate::refusal::Refusal;
use crate::snapshot::Snapshot;

/// What is not here and may come: the model, and the version where one is named.
type Missing = (ModelName, Option<(Version, Digest)>);

impl Shared {
    /// Finds the version that is to answer a call; where the model is loaded on demand, waits for that. Whether it waited.
    pub(super) async fn brought(&self, call: &Call<'_>, came: Instant) -> (Result<Resolved, Refusal>, bool) {
        // Held no longer than this line: the version that it finds is.
        let resolved = resolve::resolve(&self.snapshot.load(), call.target, call.chosen, call.headers);
        match (&self.demand, resolved) {
            (Some(demand), Ok(resolved)) => {
                resolved.servable.touch(demand.clock(came));
                (Ok(resolved), false)
            }
            (Some(demand), Err(refusal)) => {
                let find = |snapshot: &_| resolve::resolve(snapshot, call.target, call.chosen, call.headers);
                let until = Demand::until(came, call.deadline);
                match self.bring(demand, call.target, call.chosen, until, find).await {
                    Some(resolved) => (resolved, true),
                    None => (Err(refusal), false),
                }
            }
            (None, resolved) => (resolved, false),
        }
    }

    /// Has a model loaded and waits for it. None where there is nothing to wait for.
    pub async fn bring<T>(
        &self,
        demand: &Demand,
        target: &Target,
        chosen: Option<Chosen>,
        until: Instant,
        find: impl Fn(&Snapshot) -> Result<T, Refusal>,
    ) -> Option<Result<T, Refusal>> {
        let (model, _) = missing(&self.snapshot.load(), target, chosen)?;
        let wait = demand.wait(&model);
        loop {
            let shown = wait.shown();
            let asked = {
                let snapshot = self.snapshot.load();
                match find(&snapshot) {
                    Ok(found) => return Some(Ok(found)),
                    Err(refusal) => missing(&snapshot, target, chosen).ok_or(refusal),
                }
            };
            match asked {
                Ok((model, version)) => demand.ask(&model, version),
                Err(refusal) => return Some(Err(refusal)),
            }
            if timeout_at(until, shown).await.is_err() {
                let words = format!("model '{model}' is being loaded, and was not there in time");
                return Some(Err(Refusal::new(Kind::Loading, words)));
            }
        }
    }
}

/// What a call needs that is not here and may come.
fn missing(snapshot: &Snapshot, target: &Target, chosen: Option<Chosen>) -> Option<Missing> {
    let (model, _) = resolve::find(snapshot, &target.model).ok()?;
    let of_release = |version: Version| Some((version, model.release.digest_of(version)?));
    let named = match (chosen, &target.choice) {
        (Some(chosen), _) => {
            let named = of_release(chosen.version)?;
            Some(named).filter(|(_, digest)| chosen.digest.is_none_or(|of| of == *digest))
        }
        (None, Choice::Version(version)) => of_release(*version),
        (None, Choice::Label(label)) => model.release.labels.get(label).map(|of| (of.version, of.digest)),
        (None, Choice::Any) => {
            return model.states.iter().any(|known| known.comes).then(|| (model.name.clone(), None));
        }
    };
    let (version, digest) = named.filter(|(version, _)| !model.release.dead.contains(version))?;
    let known = model.states.iter().find(|known| known.digest == digest);
    known.is_none_or(|known| known.comes).then(|| (model.name.clone(), Some((version, digest))))
}
