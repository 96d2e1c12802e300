#![allow(clippy::unwrap_used)]
use std::path::Path;

use headgate_registry::release::{Settings, configure};
use headgate_registry::watch::Watcher;
use headgate_registry::{Store, StoreOptions};

use super::*;
use crate::cache::Cache;

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
    let workshop = Workshop { store, cache, metrics, memory_used: Arc::default(), memory_bytes_max: 1 << 20 };
    Keeper::new(views, workshop, 1, Duration::from_secs(15))
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
