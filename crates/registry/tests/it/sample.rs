//! Versions to publish.

use std::path::Path;

use headgate_contract::manifest::{EngineSpec, Input, Output, Signature, signature::Role};
use headgate_contract::{Digest, ModelName, Version, manifest::Dtype};
use headgate_registry::release::Promotion;
use headgate_registry::{NewVersion, PublishError, Published, Store, StoreOptions};

pub(crate) const WHO: &str = "trainer@test";

pub(crate) fn model(name: &str) -> ModelName {
    name.parse().unwrap()
}

pub(crate) fn number(version: u64) -> Version {
    Version::new(version).unwrap()
}

/// A version of `model` whose one file says `build`, kept in `dir`.
pub(crate) fn version(model: &ModelName, build: &str, dir: &Path) -> NewVersion {
    let file = dir.join(format!("{}.txt", Digest::of(build)));
    // Another trainer of the same build may be reading it.
    if !file.exists() {
        std::fs::write(&file, format!("tree of {build}")).unwrap();
    }
    let output = Output { name: "p".into(), role: Role::Value, dtype: Dtype::Fp64, width: 1, classes: vec![] };
    NewVersion {
        model: model.clone(),
        build_key: Digest::of(build),
        engine: EngineSpec { name: "lightgbm".into(), ..Default::default() },
        signature: Signature { inputs: vec![Input::numeric("x")], outputs: vec![output] },
        golden: None,
        metrics: [("auc".to_owned(), 0.8)].into(),
        lineage: Default::default(),
        statistics: vec![],
        files: vec![("model.txt".into(), file)],
        who: WHO.into(),
    }
}

pub(crate) async fn publish(store: &Store, new: NewVersion) -> Result<Published, PublishError> {
    headgate_registry::publish(store, new, &mut |_| {}).await
}

/// Publishes the build; the version's number.
pub(crate) async fn published(store: &Store, model: &ModelName, build: &str, dir: &Path) -> Version {
    publish(store, version(model, build, dir)).await.unwrap().version
}

pub(crate) fn promotion(model: &ModelName, version: Version) -> Promotion {
    Promotion { model: model.clone(), version, weight: None, condition: None, force: false, why: String::new() }
}

pub(crate) async fn file_store(root: &Path) -> Store {
    Store::open(&format!("file://{}", root.display()).parse().unwrap(), &StoreOptions::default()).await.unwrap()
}
