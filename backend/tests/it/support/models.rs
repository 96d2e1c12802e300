//! A store in a folder, and versions to put there.

use std::path::PathBuf;

use headgate_contract::catalog::{Head, Shard, ShardId};
use headgate_contract::manifest::signature::Role;
use headgate_contract::manifest::{Cell, Dtype, EngineSpec, Golden, Input, Output, Signature, golden::GoldenInput};
use headgate_contract::real::Real;
use headgate_contract::release::{Release, Serve};
use headgate_contract::{Digest, ModelName, Version, format, layout};
use headgate_registry::release::{Promotion, Settings};
use headgate_registry::{NewVersion, Published, Store, StoreOptions};
use serde_json::json;
use tempfile::TempDir;

const WHO: &str = "trainer@test";

/// A store in a folder.
pub(crate) struct Bucket {
    pub(crate) store: Store,
    pub(crate) dir: TempDir,
}

pub(crate) fn name(model: &str) -> ModelName {
    model.parse().unwrap()
}

pub(crate) fn number(version: u64) -> Version {
    Version::new(version).unwrap()
}

/// The score of the model [`linear`].
pub(crate) fn score(weights: [f64; 2], row: [f64; 2]) -> f64 {
    1.0 + weights[0] * row[0] + weights[1] * row[1]
}

/// A linear model of `age` (required) and `balance`, with golden rows: `1 + weights . row`.
pub(crate) fn linear(model: &str, weights: [f64; 2]) -> (NewVersion, Vec<u8>) {
    let file = json!({
        "format": "headgate-linear/1", "features": ["age", "balance"], "weights": weights, "bias": 1.0, "link": "identity"
    });
    let rows = [[30.0, 7.5], [0.1, -0.2]];
    let column = |c: usize| rows.iter().map(|r| Cell::from(r[c])).collect();
    let scores: Vec<Real> = rows.iter().map(|r| Real(score(weights, *r))).collect();
    let inputs = ["age", "balance"].into_iter().enumerate();
    let golden = Golden {
        rows: rows.len(),
        inputs: inputs.map(|(c, name)| GoldenInput { name: name.into(), values: column(c) }).collect(),
        margins: scores.clone(),
        outputs: scores,
        tolerance: 0.0,
    };
    let inputs = vec![Input { required: true, ..Input::numeric("age") }, Input::numeric("balance")];
    let bytes = serde_json::to_vec(&file).unwrap();
    (version(model, "linear", inputs, "score", Some(golden), &bytes), bytes)
}

/// How many texts a row of the model [`hashed`] has.
pub(crate) const HASHED_FIELDS: usize = 40;

/// A linear model of texts `c0`, `c1`, ..., over 2^`bits` buckets that all weigh the same.
pub(crate) fn hashed(model: &str, bits: u32, weight: f32) -> (NewVersion, Vec<u8>) {
    let names: Vec<String> = (0..HASHED_FIELDS).map(|at| format!("c{at}")).collect();
    let fields: Vec<_> = names.iter().map(|name| json!({"kind": "category", "input": name})).collect();
    let header = json!({
        "hash": "sklearn-unsigned", "link": "identity", "buckets": 1u32 << bits, "weights": "f32", "bias": [0.0],
        "fields": fields
    });
    let header = serde_json::to_vec(&header).unwrap();
    let mut bytes = b"HGLINEAR\x02\0\0\0".to_vec();
    bytes.extend((header.len() as u32).to_le_bytes());
    bytes.extend((1u64 << bits).to_le_bytes());
    bytes.extend(header);
    bytes.resize(bytes.len().next_multiple_of(64), 0);
    bytes.extend(weight.to_le_bytes().repeat(1 << bits));
    let texts = |at: usize| vec![Cell::Text(format!("a{at}")), Cell::Missing];
    let inputs = names.iter().enumerate().map(|(at, name)| GoldenInput { name: name.clone(), values: texts(at) });
    let scores = vec![Real(HASHED_FIELDS as f64 * f64::from(weight)), Real(0.0)];
    let golden =
        Golden { rows: 2, inputs: inputs.collect(), margins: scores.clone(), outputs: scores, tolerance: 1e-9 };
    let inputs = names.into_iter().map(|name| Input { dtype: Dtype::Bytes, ..Input::numeric(name) }).collect();
    (version(model, "linear", inputs, "score", Some(golden), &bytes), bytes)
}

/// A LightGBM model of one tree: -0.5 up to age 30.5, else 0.25, as a probability.
pub(crate) fn lightgbm(model: &str, golden: Option<Golden>) -> (NewVersion, Vec<u8>) {
    let bytes = include_bytes!("stump.txt").to_vec();
    let inputs = vec![Input::numeric("age"), Input::numeric("balance")];
    (version(model, "lightgbm", inputs, "probability", golden, &bytes), bytes)
}

fn version(
    model: &str,
    engine: &str,
    inputs: Vec<Input>,
    value: &str,
    golden: Option<Golden>,
    bytes: &[u8],
) -> NewVersion {
    let output = |name: &str, role| Output { name: name.into(), role, dtype: Dtype::Fp64, width: 1, classes: vec![] };
    let parts = [model.as_bytes(), bytes, &serde_json::to_vec(&(&inputs, &golden)).unwrap()];
    NewVersion {
        model: name(model),
        build_key: Digest::of_parts(parts.iter().map(|p| p.as_ref())),
        engine: EngineSpec { name: engine.into(), ..EngineSpec::default() },
        signature: Signature { inputs, outputs: vec![output(value, Role::Value), output("margin", Role::Margin)] },
        golden,
        metrics: Default::default(),
        lineage: Default::default(),
        statistics: vec![],
        files: vec![],
        who: WHO.into(),
    }
}

impl Bucket {
    pub(crate) async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("file://{}", dir.path().join("store").display()).parse().unwrap();
        let store = Store::open(&url, &StoreOptions::default()).await.unwrap();
        Self { store, dir }
    }

    pub(crate) fn path(&self, key: &str) -> PathBuf {
        self.dir.path().join("store").join(key)
    }

    pub(crate) async fn publish(&self, (mut version, bytes): (NewVersion, Vec<u8>)) -> Published {
        let file = self.dir.path().join(format!("{}.upload", version.build_key));
        std::fs::write(&file, bytes).unwrap();
        version.files = vec![("model.bin".to_owned(), file)];
        headgate_registry::publish(&self.store, version, &mut |_| {}).await.unwrap()
    }

    pub(crate) async fn promote(&self, model: &str, version: Version, weight: Option<u32>) {
        let promotion =
            Promotion { model: name(model), version, weight, condition: None, force: true, why: String::new() };
        headgate_registry::release::promote(&self.store, promotion, WHO).await.unwrap();
    }

    /// Publishes and promotes.
    pub(crate) async fn release(&self, version: (NewVersion, Vec<u8>)) -> Published {
        let model = version.0.model.to_string();
        let published = self.publish(version).await;
        self.promote(&model, published.version, None).await;
        published
    }

    pub(crate) async fn configure(&self, model: &str, settings: Settings) {
        headgate_registry::release::configure(&self.store, &name(model), settings, WHO).await.unwrap();
    }

    /// Where the one file of a version is.
    pub(crate) fn file_of(&self, model: &str, version: Version) -> PathBuf {
        let files = self.path(&layout::version_dir(&name(model), version)).join("files");
        std::fs::read_dir(files).unwrap().next().unwrap().unwrap().path()
    }

    /// Rewrites the manifest of a version with its `_SUCCESS`, as a publisher that follows no rule would. The digest.
    pub(crate) fn forge(&self, model: &str, version: Version, edit: impl Fn(&mut serde_json::Value)) -> Digest {
        let path = self.path(&layout::manifest(&name(model), version));
        let mut manifest = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        edit(&mut manifest);
        let bytes = serde_json::to_vec(&manifest).unwrap();
        std::fs::write(&path, &bytes).unwrap();
        std::fs::write(self.path(&layout::success(&name(model), version)), Digest::of(&bytes).to_string()).unwrap();
        Digest::of(&bytes)
    }

    /// Releases a version past all checks, as a registry that is not ours might.
    pub(crate) fn force(&self, model: &str, version: Version, digest: Digest) {
        let mut head: Head = serde_json::from_slice(&std::fs::read(self.path(layout::HEAD)).unwrap()).unwrap();
        let id = ShardId::of(&name(model));
        let mut shard = match head.shards.get(&id) {
            Some(digest) => serde_json::from_slice(&std::fs::read(self.path(&layout::shard(digest))).unwrap()).unwrap(),
            None => Shard::empty(),
        };
        let release = shard.releases.entry(name(model)).or_insert_with(Release::new);
        release.serve = vec![Serve { version, digest, weight: 1 }];
        let entry = json!({
            "change_id": "forced", "at": "2026-01-01T00:00:00Z", "who": "x", "action": "promote", "serve": release.serve
        });
        release.history.push(serde_json::from_value(entry).unwrap());
        let bytes = format::write(&shard);
        let digest = Digest::of(&bytes);
        std::fs::write(self.path(&layout::shard(&digest)), bytes).unwrap();
        head.shards.insert(id, digest);
        head.generation += 1;
        head.change_id = "forced".into();
        let temporary = self.dir.path().join("head");
        std::fs::write(&temporary, format::write(&head)).unwrap();
        std::fs::rename(temporary, self.path(layout::HEAD)).unwrap();
    }
}
