//! One call on one version: decode, score, encode. The one path that requests and golden rows take.

use headgate_contract::Kind;
use headgate_engine::{Batch, Outputs, Scratch, Want};

use crate::decode::{self, Asked, Bounds, CELLS_MAX, Form, Ignored, Staging, transpose};
use crate::encode::{self, Encoded};
use crate::refusal::Refusal;
use crate::servable::Servable;

/// Values beyond which a desk gives its memory back after a call: 1 MiB.
const KEPT_VALUES: usize = 1 << 17;

/// The working memory of a call, used again by the next one.
#[derive(Debug, Default)]
pub struct Desk {
    staging: Staging,
    batch: Batch,
    scratch: Scratch,
    outputs: Outputs,
}

/// An answer on its way out.
#[derive(Debug)]
pub struct Answer {
    /// The reply's body.
    pub body: Encoded,
    /// Rows that were scored.
    pub rows: usize,
    /// Features that the version does not know.
    pub ignored: Ignored,
}

impl Desk {
    /// Decodes a body; its rows are now on the desk.
    pub fn read(&mut self, servable: &Servable, form: Form, body: &[u8], bounds: Bounds) -> Result<Asked, Refusal> {
        let schema = &servable.schema;
        let asked = decode::decode(form, body, schema, bounds, &mut self.staging, &mut self.batch)?;
        if asked.contributions {
            self.check_contributions(servable)?;
        }
        Ok(asked)
    }

    /// Whether contributions of the rows on the desk can be had, and are not too many.
    fn check_contributions(&self, servable: &Servable) -> Result<(), Refusal> {
        let (model, version) = (&servable.schema.model, servable.schema.version);
        if let Some(why) = servable.no_contributions() {
            let words = format!("model '{model}' version {version}: contributions are not to be had: {why}");
            return Err(Refusal::invalid(words));
        }
        let most = CELLS_MAX / servable.contributions_per_row();
        if self.rows() > most {
            let words = format!("model '{model}': {} rows came, contributions are for {most} at most", self.rows());
            return Err(Refusal::new(Kind::TooLarge, words));
        }
        Ok(())
    }

    /// Rows on the desk.
    pub fn rows(&self) -> usize {
        self.batch.rows()
    }

    /// The rows on the desk.
    pub fn batch(&self) -> &Batch {
        &self.batch
    }

    /// Puts rows on the desk, row-major, all numbers.
    pub fn rows_from(&mut self, values: &[f64], rows: usize) -> &mut Self {
        transpose(values, values.len() / rows.max(1), rows, &mut self.batch);
        self
    }

    /// Puts rows on the desk that were taken off another.
    pub fn put(&mut self, asked: Asked, batch: Batch) -> Asked {
        self.batch = batch;
        asked
    }

    /// Scores the rows on the desk.
    pub fn score(&mut self, servable: &Servable, want: Want) -> Result<&Outputs, Refusal> {
        let model = &servable.schema.model;
        let engine = servable
            .engine()
            .ok_or_else(|| Refusal::new(Kind::Unavailable, format!("model '{model}' is being unloaded")))?;
        engine
            .score(&self.batch, &mut self.scratch, &mut self.outputs, want)
            .map_err(|e| Refusal::new(Kind::Internal, format!("model '{model}': {e}")))?;
        Ok(&self.outputs)
    }

    /// Takes the rows off the desk, for what scores them elsewhere.
    pub fn take(&mut self) -> Batch {
        std::mem::take(&mut self.batch)
    }

    /// Scores the rows on the desk and writes the reply.
    pub fn answer(&mut self, servable: &Servable, asked: Asked) -> Result<Answer, Refusal> {
        if self.rows() == 0 {
            // Every row is at fault: there is nothing to score.
            return Ok(Answer::new(servable, asked, &Outputs::default()));
        }
        let outputs = self.score(servable, encode::want(&servable.schema, &asked))?;
        Ok(Answer::new(servable, asked, outputs))
    }

    /// Gives back what a large call took, whatever became of it.
    pub fn shrink(&mut self) {
        self.staging.shrink(KEPT_VALUES);
        let contributions = self.outputs.contributions.capacity();
        if contributions.max(self.batch.rows() * self.batch.columns()) > KEPT_VALUES {
            *self = Self::default();
        }
    }
}

impl Answer {
    /// Writes the reply for rows that were scored.
    pub fn new(servable: &Servable, asked: Asked, outputs: &Outputs) -> Self {
        let body = encode::encode(&servable.schema, &asked, outputs);
        Self { body, rows: asked.rows - asked.faults.len(), ignored: asked.ignored }
    }
}
