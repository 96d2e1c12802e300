//! What the tests share: LightGBM's library, a store, data.

use std::io::Write as _;
use std::sync::{Arc, Mutex};

use headgate_engine::{Batch, Engine, Format, Limits, Outputs, Scratch, Want};
use headgate_registry::{Store, StoreOptions};
use headgate_trainer::lightgbm::Library;
use headgate_trainer::{Context, Event, Source, TrainArgs, TrainError, TrainReport, train_sources};

/// LightGBM's library; where it is not here, says so, and the test has nothing to do.
pub(crate) fn library(test: &str) -> Option<Library> {
    match Library::open(None) {
        Ok(library) => Some(library),
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "skipped: {test}: {error}");
            None
        }
    }
}

/// A store in a folder of its own.
pub(crate) struct Rig {
    pub(crate) store: Store,
    pub(crate) events: Arc<Mutex<Vec<Event>>>,
    pub(crate) dir: tempfile::TempDir,
}

impl Rig {
    pub(crate) async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("file://{}/store", dir.path().display()).parse().unwrap();
        let store = Store::open(&url, &StoreOptions::default()).await.unwrap();
        Self { store, events: Arc::default(), dir }
    }

    pub(crate) fn context(&self) -> Context {
        let events = self.events.clone();
        let on_event = Arc::new(move |event| events.lock().unwrap().push(event));
        Context { store: self.store.clone(), options: StoreOptions::default(), on_event }
    }

    /// Options at their defaults, but for the threads: the machine is shared.
    pub(crate) fn args(&self, model: &str, target: &str) -> TrainArgs {
        let args = TrainArgs::new(model.parse().unwrap(), target);
        TrainArgs { threads: Some(1), ..args }
    }

    pub(crate) async fn train(&self, args: TrainArgs, csv: &[u8]) -> Result<TrainReport, TrainError> {
        let source = Source::Bytes { name: "memory.csv".to_owned(), bytes: csv.to_vec().into() };
        train_sources(args, vec![source], self.context()).await
    }

    /// The text of everything noted.
    pub(crate) fn notes(&self) -> String {
        let note = |event: &Event| if let Event::Note { text, .. } = event { Some(text.clone()) } else { None };
        self.events.lock().unwrap().iter().filter_map(note).collect::<Vec<_>>().join("\n")
    }

    /// A version's artifact, by its manifest.
    pub(crate) async fn artifact(
        &self,
        report: &headgate_trainer::ModelReport,
    ) -> (headgate_contract::Manifest, Vec<u8>) {
        let version = report.published().unwrap().version;
        let (manifest, _) = headgate_registry::manifest(&self.store, &report.model, version).await.unwrap();
        let file = &manifest.files[0];
        let key = headgate_contract::layout::file(&report.model, version, &file.sha256, &file.name);
        let bytes = self.store.get(&key, 1 << 30).await.unwrap().bytes.to_vec();
        (manifest, bytes)
    }
}

pub(crate) fn engine(text: &[u8]) -> Box<dyn Engine> {
    headgate_engine::load(Format::LightgbmText, text, &Limits::default()).unwrap()
}

pub(crate) fn score(engine: &dyn Engine, batch: &Batch) -> Outputs {
    let mut out = Outputs::default();
    engine
        .score(batch, &mut Scratch::default(), &mut out, Want { margins: true, outputs: true, contributions: false })
        .unwrap();
    out
}

/// Rows of a made-up shop: numbers, categories, dates, flags, gaps, and a target that follows from some of them.
pub(crate) fn shop(rows: usize) -> String {
    let mut csv = "day,price,city,member,visits,code,bought\n".to_owned();
    for row in 0..rows {
        let draw = |salt: usize| (row * 2_654_435_761 + salt * 40_503).wrapping_mul(2_246_822_519) >> 13 & 0xffff;
        let price = draw(1) % 1000;
        let city = ["Berlin", "São Paulo", "admin.", "N'Djamena"][draw(2) % 4];
        let (member, visits) = (draw(3) % 3 == 0, draw(4) % 20);
        let chance = if city == "Berlin" { 40_000 } else { 10_000 } + if member { 20_000 } else { 0 } - price * 10;
        let bought = if draw(5) < chance { "yes" } else { "no" };
        let price = if row % 11 == 0 { String::new() } else { format!("{}.5", price) };
        let day = format!("2024-{:02}-{:02}", row % 12 + 1, row % 28 + 1);
        csv += &format!("{day},{price},{city},{member},{visits},id-{row},{bought}\n");
    }
    csv
}
