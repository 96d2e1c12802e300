//! This project's engine, called as the backend calls it, for raw margins, as the peers give.

use std::path::Path;
use std::rc::Rc;

use headgate_engine::{Batch, Engine, Format, Level, Limits, Outputs, Scratch, Want, load};

use crate::contender::{Contender, Failed, Rows, read};

/// An engine and batches for it.
pub(crate) struct Ours {
    engine: Box<dyn Engine>,
    rows: Rc<Rows>,
    batches: Vec<Batch>,
    scratch: Scratch,
    out: Outputs,
}

impl Ours {
    /// From LightGBM's text, with the instructions of a level.
    pub(crate) fn lightgbm(path: &Path, rows: &Rc<Rows>, level: Level) -> Result<Self, Failed> {
        Self::of(Format::LightgbmText, path, rows, level)
    }

    /// From XGBoost's JSON.
    pub(crate) fn xgboost(path: &Path, rows: &Rc<Rows>) -> Result<Self, Failed> {
        Self::of(Format::XgboostJson, path, rows, Level::best())
    }

    fn of(format: Format, path: &Path, rows: &Rc<Rows>, level: Level) -> Result<Self, Failed> {
        let engine = load(format, &read(path)?, &Limits { level, ..Limits::default() })?;
        let (scratch, out) = (Scratch::default(), Outputs::default());
        Ok(Self { engine, rows: rows.clone(), batches: Vec::new(), scratch, out })
    }
}

impl Contender for Ours {
    fn prepare(&mut self, rows: usize) -> Result<(), Failed> {
        let features = self.rows.features;
        self.batches = (0..self.rows.count / rows)
            .map(|batch| {
                let rows: Vec<&[f64]> = self.rows.batch(batch, rows).chunks_exact(features).collect();
                Batch::from_rows(features, &rows)
            })
            .collect();
        Ok(())
    }

    fn score(&mut self, batch: usize) -> Result<(), Failed> {
        let want = Want { margins: true, ..Want::default() };
        self.engine.score(&self.batches[batch], &mut self.scratch, &mut self.out, want)?;
        std::hint::black_box(&self.out.margins);
        Ok(())
    }

    fn margins(&mut self, batch: usize) -> Result<Vec<f64>, Failed> {
        let want = Want { margins: true, ..Want::default() };
        self.engine.score(&self.batches[batch], &mut self.scratch, &mut self.out, want)?;
        Ok(self.out.margins.clone())
    }
}
