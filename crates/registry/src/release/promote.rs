//! Promotions of one or many models in one swap.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::{StreamExt, TryStreamExt, stream};
use headgate_contract::release::Labelled;
use headgate_contract::{Digest, Manifest, ModelName, Release, Version};

use super::edit::{WHOLE, promote, stable};
use super::swap::{Edit, Note, Plan};
use super::today::Today;
use super::{Promotion, ReleaseError};
use crate::gate::{self, Condition};
use crate::store::Store;
use crate::versions::manifest;

/// How many manifests are read at once.
const AT_ONCE: usize = 32;
/// The most models of one batch.
const BATCH_MAX: usize = 100_000;
/// How many models the log names one by one.
const NAMED_MAX: usize = 3;

/// A batch of promotions whose versions are whole.
pub(super) struct Promote {
    store: Store,
    batch: BTreeMap<ModelName, Candidate>,
    /// Manifests of what is served now: they never change.
    served: HashMap<Digest, Arc<Manifest>>,
}

struct Candidate {
    promotion: Promotion,
    condition: Option<Condition>,
    label: Labelled,
    manifest: Manifest,
}

impl Promote {
    /// Reads every version's manifest: only whole versions can be promoted.
    pub(super) async fn prepare(store: &Store, promotions: Vec<Promotion>) -> Result<Self, ReleaseError> {
        if promotions.is_empty() || promotions.len() > BATCH_MAX {
            let why = format!("{} promotions in one batch: 1 to {BATCH_MAX} expected", promotions.len());
            return Err(ReleaseError::Invalid(why));
        }
        let mut models = BTreeSet::new();
        if let Some(twice) = promotions.iter().find(|promotion| !models.insert(&promotion.model)) {
            return Err(ReleaseError::Invalid(format!("model {} is in the batch twice", twice.model)));
        }
        let reads = promotions.into_iter().map(|promotion| async move {
            let condition = promotion.condition.as_deref().map(str::parse).transpose()?;
            let (read, digest) = manifest(store, &promotion.model, promotion.version).await?;
            let label = Labelled { version: promotion.version, digest };
            let candidate = Candidate { condition, label, manifest: slim(read), promotion };
            Ok::<_, ReleaseError>((candidate.promotion.model.clone(), candidate))
        });
        let batch = stream::iter(reads).buffer_unordered(AT_ONCE).boxed().try_collect().await?;
        Ok(Self { store: store.clone(), batch, served: HashMap::new() })
    }

    /// Reads the manifests of the stable versions that the candidates are compared with.
    async fn read_stable(&mut self, today: &Today) -> Result<(), ReleaseError> {
        let stable: Vec<(&ModelName, Version, Digest)> =
            self.batch.values().filter_map(|candidate| candidate.compared_with(today)).collect();
        let missing = stable.into_iter().filter(|(_, _, digest)| !self.served.contains_key(digest));
        let store = &self.store;
        let reads = missing.map(|(model, version, digest)| async move {
            let (read, _) = manifest(store, model, version).await?;
            Ok::<_, ReleaseError>((digest, Arc::new(slim(read))))
        });
        let read: Vec<_> = stream::iter(reads).buffer_unordered(AT_ONCE).boxed().try_collect().await?;
        self.served.extend(read);
        Ok(())
    }

    fn what(&self, changed: &BTreeMap<ModelName, Release>) -> String {
        let one = |model: &ModelName| match self.batch.get(model).map(|candidate| &candidate.promotion) {
            Some(Promotion { version, weight: Some(weight), .. }) if *weight < WHOLE => {
                format!("{model} to {version} at {weight} %")
            }
            Some(promotion) => format!("{model} to {}", promotion.version),
            None => model.to_string(),
        };
        let named: Vec<String> = changed.keys().take(NAMED_MAX).map(one).collect();
        let more = match changed.len().saturating_sub(NAMED_MAX) {
            0 => String::new(),
            more => format!(" and {more} more models"),
        };
        format!("promote {}{more}", named.join(", "))
    }
}

#[async_trait]
impl Edit for Promote {
    fn models(&self) -> Option<BTreeSet<ModelName>> {
        Some(self.batch.keys().cloned().collect())
    }

    async fn apply(&mut self, today: &Today, note: &Note) -> Result<Plan, ReleaseError> {
        self.read_stable(today).await?;
        let mut releases = BTreeMap::new();
        for (model, candidate) in &self.batch {
            let none = Release::new();
            let release = today.release(model).unwrap_or(&none);
            let Promotion { version, weight, why, .. } = &candidate.promotion;
            if release.dead.contains(version) {
                return Err(ReleaseError::Dead { model: model.clone(), version: *version });
            }
            let stable = candidate.compared_with(today).and_then(|(_, _, digest)| self.served.get(&digest));
            candidate.pass(stable.map(|stable| &**stable))?;
            let invalid = |why| ReleaseError::Invalid(format!("model {model}: {why}"));
            let next = promote(release, &candidate.label, weight.unwrap_or(WHOLE), note, why).map_err(invalid)?;
            releases.extend(next.map(|next| (model.clone(), next)));
        }
        match releases.is_empty() {
            true => Ok(Plan::Nothing),
            false => Ok(Plan::Releases { what: self.what(&releases), releases }),
        }
    }
}

impl Candidate {
    /// The served version that the gate compares with; none where nothing else is served, or the gate is passed by.
    fn compared_with(&self, today: &Today) -> Option<(&ModelName, Version, Digest)> {
        if self.promotion.force {
            return None;
        }
        let stable = stable(today.release(&self.promotion.model)?, &self.label)?;
        Some((&self.promotion.model, stable.version, stable.digest))
    }

    fn pass(&self, stable: Option<&Manifest>) -> Result<(), ReleaseError> {
        if self.promotion.force {
            return Ok(());
        }
        gate::check(&self.manifest, stable, self.condition.as_ref()).map_err(|refusal| ReleaseError::Refused {
            model: self.promotion.model.clone(),
            version: self.promotion.version,
            refusal,
        })
    }
}

/// The manifest without what the gate does not look at: ten thousand are held at once.
fn slim(manifest: Manifest) -> Manifest {
    Manifest { golden: None, statistics: Vec::new(), files: Vec::new(), lineage: Default::default(), ..manifest }
}
