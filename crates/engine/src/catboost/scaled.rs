//! A model whose sums are multiplied before its bias is added (`set_scale_and_bias`).

use super::loss::Loss;
use crate::Batch;
use crate::engine::{Categorical, Engine, MarginKind, OutputKind, Outputs, ScoreError, Scratch, Want};
use crate::forest::ForestEngine;

#[derive(Debug)]
pub(super) struct Scaled {
    /// Its margins are the sums.
    forest: ForestEngine,
    scale: f64,
    /// One for each margin.
    bias: Vec<f64>,
    loss: Loss,
}

impl Scaled {
    /// `bias` has one value for each of the forest's margins.
    pub(super) fn new(forest: ForestEngine, scale: f64, bias: Vec<f64>, loss: Loss) -> Self {
        Self { forest, scale, bias, loss }
    }
}

impl Engine for Scaled {
    fn inputs(&self) -> usize {
        self.forest.inputs()
    }

    fn input_names(&self) -> &[String] {
        self.forest.input_names()
    }

    fn categorical(&self) -> &[Option<Categorical>] {
        self.forest.categorical()
    }

    fn no_contributions(&self) -> Option<&'static str> {
        self.forest.no_contributions()
    }

    fn margin_width(&self) -> usize {
        self.forest.margin_width()
    }

    fn output_width(&self) -> usize {
        self.loss.transform.width(self.margin_width())
    }

    fn output_kind(&self) -> OutputKind {
        self.loss.kind
    }

    fn margin_kind(&self) -> MarginKind {
        MarginKind::F64
    }

    fn cost_ns_per_row(&self) -> f64 {
        self.forest.cost_ns_per_row() + self.margin_width() as f64
    }

    fn memory_bytes(&self) -> usize {
        self.forest.memory_bytes() + size_of_val(self.bias.as_slice())
    }

    fn score(&self, batch: &Batch, scratch: &mut Scratch, out: &mut Outputs, want: Want) -> Result<(), ScoreError> {
        let sums = Want { margins: want.margins || want.outputs, outputs: false, ..want };
        self.forest.score(batch, scratch, out, sums)?;
        let width = self.margin_width();
        for row in out.margins.chunks_exact_mut(width) {
            row.iter_mut().zip(&self.bias).for_each(|(margin, bias)| *margin = self.scale * *margin + bias);
        }
        for (i, margin) in out.contributions.chunks_exact_mut(self.inputs() + 1).enumerate() {
            margin.iter_mut().for_each(|value| *value *= self.scale);
            if let Some(rest) = margin.last_mut() {
                *rest += self.bias[i % width];
            }
        }
        if want.outputs {
            self.loss.transform.apply(&out.margins, width, &mut out.values);
        }
        if !want.margins {
            out.margins.clear();
        }
        Ok(())
    }
}
