#![allow(clippy::unwrap_used)]
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use async_trait::async_trait;
use bytes::Bytes;
use headgate_contract::Version;
use headgate_contract::manifest::signature::Role;
use headgate_contract::manifest::{Dtype, EngineSpec, Input, Output, Signature};
use headgate_registry::release::{Promotion, Settings, configure, promote};
use headgate_registry::store::{Bucket, ETag, Listing, Object, Part, StoreError, When};
use headgate_registry::watch::Watcher;
use headgate_registry::{NewVersion, Store, StoreOptions};

use super::room::ROOM_AGAIN;
use super::*;
use crate::cache::Cache;
use crate::config::Config;
use crate::engines::Context;

async fn store(dir: &Path) -> Store {
    let url = format!("file://{}", dir.join("store").display()).parse().unwrap();
    Store::open(&url, &StoreOptions::default()).await.unwrap()
}

fn keeper(store: Store, dir: &Path) -> Keeper {
    let metrics = Arc::new(Metrics::new());
    let views = Views {
        snapshot: Arc::new(ArcSwap::from_pointee(Snapshot::default())),
        board: Arc::new(Board::new("b1".to_owned())),
        metrics: Arc::clone(&metrics),
    };
    let cache = Cache::new(dir.join("cache"), 1 << 20);
    let flags = BTreeMap::from([("store".to_owned(), store.url().to_string())]);
    let engines = Context::new(&Config::from_flags(flags).unwrap());
    let workshop = Workshop {
        store,
        cache,
        metrics,
        engines,
        memory_used: Arc::default(),
        memory_bytes_max: 1 << 20,
        makes_room: false,
    };
    Keeper::new(views, workshop, 1, Duration::from_secs(15), None)
}

#[tokio::test]
async fn who_hears_of_a_catalog_hears_of_its_releases() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path()).await;
    let model: ModelName = "m".parse().unwrap();
    let settings = Settings { strict: Some(true), ..Settings::default() };
    configure(&store, &model, settings, "me").await.unwrap();
    let catalog = Watcher::new(store.clone()).poll().await.unwrap();
    let mut keeper = keeper(store, dir.path());
    let mut touched = HashSet::new();
    // A report made now has yesterday's releases: under the new generation it would take them back at the gateway.
    keeper.adopt(Seen { catalog, error: None, polls: 1 }, &mut touched);
    assert_eq!(keeper.out.board.report(None, 0).catalog, None);
    keeper.show(&touched.into_iter().collect::<Vec<_>>());
    let report = keeper.out.board.report(None, 0);
    assert_eq!(report.catalog.unwrap().generation, 1);
    assert!(report.models[0].model == model && report.models[0].release.strict);
}

/// Publishes and promotes a linear model of one feature, `m`.
async fn release(store: &Store, dir: &Path, weight: f64) -> Version {
    release_of("m", store, dir, weight).await
}

async fn release_of(model: &str, store: &Store, dir: &Path, weight: f64) -> Version {
    let bytes = format!(
        r#"{{"format":"headgate-linear/1","features":["x"],"weights":[{weight}],"bias":1.0,"link":"identity"}}"#
    );
    let file = dir.join("upload");
    std::fs::write(&file, &bytes).unwrap();
    let output = Output { name: "y".into(), role: Role::Value, dtype: Dtype::Fp64, width: 1, classes: vec![] };
    let new = NewVersion {
        model: model.parse().unwrap(),
        build_key: Digest::of_parts([model.as_bytes(), bytes.as_bytes()]),
        engine: EngineSpec { name: "linear".into(), ..EngineSpec::default() },
        signature: Signature { inputs: vec![Input::numeric("x")], outputs: vec![output] },
        golden: None,
        metrics: Default::default(),
        lineage: Default::default(),
        statistics: vec![],
        files: vec![("model.json".to_owned(), file)],
        who: "me".to_owned(),
    };
    let version = headgate_registry::publish(store, new, &mut |_| {}).await.unwrap().version;
    let model = model.parse().unwrap();
    let promotion = Promotion { model, version, weight: None, condition: None, force: true, why: String::new() };
    promote(store, promotion, "me").await.unwrap();
    version
}

impl Keeper {
    async fn sees(&mut self, store: &Store) {
        let mut touched = HashSet::new();
        let catalog = Watcher::new(store.clone()).poll().await.unwrap();
        self.adopt(Seen { catalog, error: None, polls: 1 }, &mut touched);
        self.settle(touched);
    }

    /// Hears until no load is under way.
    async fn rests(&mut self) {
        while self.running > 0 {
            let (message, mut touched) = (self.messages.1.recv().await.unwrap(), HashSet::new());
            self.hear(message, &mut touched);
            self.settle(touched);
        }
    }

    /// What gateways are told of each version, and what calls get.
    fn tells(&self) -> (Vec<(u64, VersionState)>, Vec<u64>) {
        let report = self.out.board.report(None, 0);
        let serving = |model: &crate::snapshot::Model| model.serving.iter().map(|s| s.version.get()).collect();
        let states = report.models[0].versions.iter().map(|v| (v.version.get(), v.state)).collect();
        (states, self.out.snapshot.load().get(&"m".parse().unwrap()).map_or(Vec::new(), |m| serving(m)))
    }
}

/// The one file of a version.
fn file_of(dir: &Path, version: Version) -> PathBuf {
    let files = headgate_contract::layout::version_dir(&"m".parse().unwrap(), version);
    std::fs::read_dir(dir.join("store").join(files).join("files")).unwrap().next().unwrap().unwrap().path()
}

#[tokio::test]
async fn a_store_that_is_mended_is_found_so_without_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path()).await;
    release(&store, dir.path(), 0.5).await;
    let mut keeper = keeper(store.clone(), dir.path());
    keeper.sees(&store).await;
    keeper.rests().await;
    let file = file_of(dir.path(), release(&store, dir.path(), 0.6).await);
    let away = dir.path().join("away");
    std::fs::rename(&file, &away).unwrap();
    keeper.sees(&store).await;
    keeper.rests().await;
    let failed = (vec![(1, VersionState::Ready), (2, VersionState::Failed)], vec![1]);
    assert_eq!(keeper.tells(), failed);
    let known = keeper.out.snapshot.load().get(&"m".parse().unwrap()).unwrap().states.clone();
    assert!(known[1].reason.contains("model.json") && !known[1].retried, "{known:?}");
    // It is looked at again, and nobody is told otherwise before it is proven.
    for mended in [false, true] {
        if mended {
            std::fs::rename(&away, &file).unwrap();
        }
        tokio::time::pause();
        tokio::time::advance(crate::life::PAUSE_MAX).await;
        tokio::time::resume();
        let mut touched = HashSet::new();
        keeper.wake(&mut touched);
        keeper.settle(touched);
        assert_eq!((keeper.running, keeper.tells()), (1, failed.clone()));
        keeper.rests().await;
    }
    assert_eq!(keeper.tells(), (vec![(1, VersionState::Ready), (2, VersionState::Ready)], vec![2]));
}

/// What a bad store does when an object is asked for first.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// It flips a byte.
    Lies,
    /// It says that the reader has no right to.
    Forbids,
    /// It says nothing.
    Hangs,
}

/// A store in a folder that is bad when an object is asked for first.
#[derive(Clone, Debug)]
struct Bad {
    dir: PathBuf,
    fault: Fault,
    asked: Arc<Mutex<HashSet<String>>>,
}

impl Bad {
    fn new(dir: &Path, fault: Fault) -> Self {
        Self { dir: dir.join("store"), fault, asked: Arc::default() }
    }

    /// All that is there now, but for what has `part` in its key, was asked for before.
    fn spare_all_but(&self, part: &str) {
        let keys = walk(&self.dir).into_iter().filter(|key| !key.contains(part));
        self.asked.lock().unwrap().extend(keys);
    }

    async fn read(&self, key: &str) -> Result<Bytes, StoreError> {
        let missing = |_| StoreError::NotFound { at: key.to_owned() };
        let mut bytes = std::fs::read(self.dir.join(key)).map_err(missing)?;
        if self.asked.lock().unwrap().insert(key.to_owned()) {
            match self.fault {
                Fault::Lies => bytes[7] ^= 1,
                Fault::Forbids => return Err(StoreError::Forbidden { at: key.to_owned(), why: "planned".to_owned() }),
                Fault::Hangs => std::future::pending().await,
            }
        }
        Ok(bytes.into())
    }

    fn refused<T>(key: &str) -> Result<T, StoreError> {
        Err(StoreError::ReadOnly { at: key.to_owned(), why: "for reading only".to_owned() })
    }
}

#[async_trait]
impl Bucket for Bad {
    async fn get(&self, key: &str, _: u64, _: Option<&ETag>) -> Result<Option<Object>, StoreError> {
        let bytes = self.read(key).await?;
        Ok(Some(Object { etag: ETag(Digest::of(&bytes).to_string()), bytes }))
    }

    async fn get_part(&self, key: &str, _: u64, _: u64) -> Result<Part, StoreError> {
        let bytes = self.read(key).await?;
        Ok(Part { total: bytes.len() as u64, bytes })
    }

    async fn size(&self, key: &str) -> Result<Option<u64>, StoreError> {
        Ok(Some(self.read(key).await?.len() as u64))
    }

    async fn put(&self, key: &str, _: Bytes, _: When<'_>) -> Result<ETag, StoreError> {
        Self::refused(key)
    }

    async fn put_file(
        &self,
        key: &str,
        _: &Path,
        _: &Digest,
        _: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<ETag, StoreError> {
        Self::refused(key)
    }

    async fn list(&self, prefix: &str) -> Result<Listing, StoreError> {
        Self::refused(prefix)
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        Self::refused(key)
    }
}

#[tokio::test]
async fn one_reply_that_lies_fails_no_version() {
    for part in ["/_SUCCESS", "/manifest.json", "/files/"] {
        let dir = tempfile::tempdir().unwrap();
        let honest = store(dir.path()).await;
        release(&honest, dir.path(), 0.5).await;
        let lying = Bad::new(dir.path(), Fault::Lies);
        lying.spare_all_but(part);
        let mut keeper = keeper(Store::over(honest.url().clone(), lying), dir.path());
        keeper.sees(&honest).await;
        keeper.rests().await;
        assert_eq!(keeper.tells(), (vec![(1, VersionState::Ready)], vec![1]), "{part}");
    }
}

#[tokio::test]
async fn a_store_that_forbids_or_hangs_takes_nothing_from_what_is_served() {
    for fault in [Fault::Forbids, Fault::Hangs] {
        let dir = tempfile::tempdir().unwrap();
        let honest = store(dir.path()).await;
        release(&honest, dir.path(), 0.5).await;
        let bad = Bad::new(dir.path(), fault);
        bad.spare_all_but("none");
        let mut keeper = keeper(Store::over(honest.url().clone(), bad.clone()), dir.path());
        keeper.sees(&honest).await;
        keeper.rests().await;
        release(&honest, dir.path(), 0.6).await;
        keeper.sees(&honest).await;
        let state = match fault {
            Fault::Hangs => VersionState::Fetching,
            _ => {
                keeper.rests().await;
                VersionState::Failed
            }
        };
        assert_eq!(keeper.tells(), (vec![(1, VersionState::Ready), (2, state)], vec![1]), "{fault:?}");
        let known = keeper.out.snapshot.load().get(&"m".parse().unwrap()).unwrap().states.clone();
        assert_eq!(known[1].retried, state == VersionState::Failed, "{known:?}");
        // The one after it, which is given, takes its place in the one load at once.
        release(&honest, dir.path(), 0.7).await;
        bad.spare_all_but("none");
        keeper.sees(&honest).await;
        keeper.rests().await;
        assert_eq!(keeper.tells().1, [3], "{fault:?}");
    }
}

#[tokio::test]
async fn a_model_with_calls_in_flight_makes_no_room() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path()).await;
    for model in ["m", "n"] {
        release_of(model, &store, dir.path(), 0.5).await;
    }
    let demand = Arc::new(Demand::default());
    let on_demand = OnDemand { demand: Arc::clone(&demand), models_max: 1 };
    let mut keeper = Keeper { on_demand: Some(on_demand), ..keeper(store.clone(), dir.path()) };
    keeper.sees(&store).await;
    let held = |keeper: &Keeper, model: &str| {
        keeper.out.snapshot.load().get(&model.parse().unwrap()).unwrap().held.first().cloned()
    };
    let call = async |keeper: &mut Keeper, model: &str| {
        demand.ask(&model.parse().unwrap(), None);
        let mut touched = HashSet::new();
        keeper.answer_asks(&mut touched);
        keeper.settle(touched);
        keeper.rests().await;
        held(keeper, model)
    };
    let in_flight = call(&mut keeper, "m").await;
    assert!(in_flight.is_some() && keeper.ready);
    assert!(call(&mut keeper, "n").await.is_none() && held(&keeper, "m").is_some());
    drop(in_flight);
    let mut touched = HashSet::new();
    tokio::time::sleep(ROOM_AGAIN).await;
    keeper.wake(&mut touched);
    keeper.settle(touched);
    keeper.rests().await;
    assert!(held(&keeper, "n").is_some() && held(&keeper, "m").is_none());
    assert_eq!((keeper.residents.count(), keeper.queue.len()), (1, 0));
}

/// The keys of all objects below a folder.
fn walk(root: &Path) -> Vec<String> {
    let (mut folders, mut keys) = (vec![root.to_owned()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            match path.is_dir() {
                true => folders.push(path),
                false => keys.push(path.strip_prefix(root).unwrap().display().to_string()),
            }
        }
    }
    keys
}
