//! Rows whose columns are named once, before them or after: `dataframe_split`, CSV with a header, Arrow.

use headgate_engine::Batch;

use super::Body;
use crate::refusal::{Refusal, shorten};

/// Which feature the values at each place of a row are.
#[derive(Debug)]
pub(super) struct Head {
    /// For each column its feature; none for one that the version does not know.
    columns: Vec<Option<usize>>,
    /// For each feature, whether it has a column.
    has: Vec<bool>,
    /// What a row without any value is.
    absent: Vec<f64>,
}

impl Head {
    /// A head without columns.
    pub(super) fn new(body: &Body<'_>) -> Self {
        let features = &body.schema.features;
        let absent = features.iter().map(|f| f.absent).collect();
        Self { columns: Vec::new(), has: vec![false; features.len()], absent }
    }

    /// The features in the signature's order, as rows without a head have them.
    pub(super) fn signature(body: &Body<'_>) -> Self {
        let width = body.schema.features.len();
        Self { columns: (0..width).map(Some).collect(), has: vec![true; width], ..Self::new(body) }
    }

    /// Adds a column.
    pub(super) fn push(&mut self, body: &mut Body<'_>, name: &str) -> Result<(), Refusal> {
        let feature = body.schema.feature(name);
        match feature {
            None => body.ignore(name)?,
            Some(known) if std::mem::replace(&mut self.has[known], true) => {
                return Err(body.refuse(format_args!("feature '{}' is sent twice", shorten(name, 80))));
            }
            Some(_) => {}
        }
        self.columns.push(feature);
        Ok(())
    }

    /// Checks, once all columns are there, that they make rows.
    pub(super) fn check(&self, body: &Body<'_>) -> Result<(), Refusal> {
        body.check_known(self.has.contains(&true))?;
        let mut features = body.schema.features.iter().zip(&self.has);
        match features.find(|(feature, has)| feature.required && !**has) {
            Some((feature, _)) => Err(body.refuse(format_args!("feature '{}' is required and absent", feature.name))),
            None => Ok(()),
        }
    }

    /// For each column, how many from there on are features that take numbers only.
    pub(super) fn numeric_runs(&self, body: &Body<'_>) -> Vec<usize> {
        let mut runs = vec![0; self.columns.len()];
        let mut run = 0;
        for (at, column) in self.columns.iter().enumerate().rev() {
            run = if column.is_some_and(|feature| body.schema.features[feature].is_numeric()) { run + 1 } else { 0 };
            runs[at] = run;
        }
        runs
    }

    /// How many columns there are.
    pub(super) fn len(&self) -> usize {
        self.columns.len()
    }

    /// The feature at a place; none for one that is not known, or beyond the columns.
    pub(super) fn feature(&self, at: usize) -> Option<usize> {
        self.columns.get(at).copied().flatten()
    }

    /// Gives a batch its shape: so many rows, the features without a column as they are absent.
    pub(super) fn shape(&self, body: &Body<'_>, rows: usize, batch: &mut Batch) {
        batch.reset(body.schema.features.len(), rows);
        for (at, absent) in self.absent.iter().enumerate().filter(|(at, absent)| !self.has[*at] && !absent.is_nan()) {
            batch.column_mut(at).fill(*absent);
        }
    }

    /// Begins a row in the staging area, and answers where it begins.
    pub(super) fn begin(&self, values: &mut Vec<f64>) -> usize {
        values.extend_from_slice(&self.absent);
        values.len() - self.absent.len()
    }
}
