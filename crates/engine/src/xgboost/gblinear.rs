//! The gblinear booster: `bias + base score + sum(value * weight)` over the values that are there, in `f32`, in order.

use super::model::Model;
use crate::engine::{Categorical, Engine, MarginKind, OutputKind, Outputs, ScoreError, Scratch, Want};
use crate::transform::Transform;
use crate::{Batch, LoadError, explain};

#[derive(Debug)]
pub(super) struct GbLinear {
    names: Vec<String>,
    categorical: Vec<Option<Categorical>>,
    /// `weights[feature * width + output]`.
    weights: Vec<f32>,
    /// Bias and base score of each output.
    start: Vec<f32>,
    transform: Transform,
    kind: OutputKind,
}

impl GbLinear {
    pub(super) fn new(model: &Model<'_>, weights: &[f32], base: &[f32]) -> Result<Self, LoadError> {
        let expected = model.features.checked_add(1).and_then(|rows| rows.checked_mul(model.width));
        if expected != Some(weights.len()) {
            let what = format!("{} for {} features and {} outputs", weights.len(), model.features, model.width);
            return Err(LoadError::at("learner.gradient_booster.model.weights", what));
        }
        if let Some(i) = weights.iter().position(|w| !w.is_finite()) {
            let what = format!("weight {i} is {}, not finite", weights[i]);
            return Err(LoadError::at("learner.gradient_booster.model.weights", what));
        }
        let (weights, biases) = weights.split_at(model.features * model.width);
        // The first output's base score counts for all.
        let base = base.first().copied().unwrap_or(0.0);
        Ok(Self {
            names: model.names.clone(),
            categorical: model.categorical(),
            weights: weights.to_vec(),
            start: biases.iter().map(|b| b + base).collect(),
            transform: model.objective.transform,
            kind: model.objective.kind,
        })
    }

    /// A column that is there adds its weight times its value, in `f32`.
    fn explain(&self, batch: &Batch, margins: &[f64], contributions: &mut Vec<f64>) -> Result<(), ScoreError> {
        let (width, columns) = (self.start.len(), batch.columns() + 1);
        contributions.reserve(margins.len() * columns);
        for row in 0..batch.rows() {
            for output in 0..width {
                let weights = self.weights.iter().skip(output).step_by(width);
                contributions.extend(weights.enumerate().map(|(column, weight)| {
                    let value = batch.column(column)[row] as f32;
                    if value.is_nan() { 0.0 } else { f64::from(value * weight) }
                }));
                contributions.push(self.start[output].into());
            }
        }
        let rounding = columns as f64 * f64::from(f32::EPSILON);
        explain::check(contributions, columns, margins, |_, whole| rounding * whole)
    }
}

impl Engine for GbLinear {
    fn inputs(&self) -> usize {
        self.categorical.len()
    }

    fn input_names(&self) -> &[String] {
        &self.names
    }

    fn categorical(&self) -> &[Option<Categorical>] {
        &self.categorical
    }

    fn no_contributions(&self) -> Option<&'static str> {
        None
    }

    fn contributions_cost_ns_per_row(&self) -> f64 {
        2.0 * self.weights.len() as f64
    }

    fn margin_width(&self) -> usize {
        self.start.len()
    }

    fn output_width(&self) -> usize {
        self.transform.width(self.start.len())
    }

    fn output_kind(&self) -> OutputKind {
        self.kind
    }

    fn margin_kind(&self) -> MarginKind {
        MarginKind::F32
    }

    fn cost_ns_per_row(&self) -> f64 {
        20.0 + 2.0 * self.weights.len() as f64 + 10.0 * self.start.len() as f64
    }

    fn memory_bytes(&self) -> usize {
        size_of::<Self>()
            + size_of_val(self.weights.as_slice())
            + size_of_val(self.start.as_slice())
            + size_of_val(self.categorical.as_slice())
            + self.names.iter().map(|n| size_of::<String>() + n.len()).sum::<usize>()
    }

    fn score(&self, batch: &Batch, scratch: &mut Scratch, out: &mut Outputs, want: Want) -> Result<(), ScoreError> {
        if batch.columns() != self.inputs() {
            return Err(ScoreError::Columns { expected: self.inputs(), came: batch.columns() });
        }
        let width = self.start.len();
        let margins = &mut scratch.margins;
        margins.clear();
        for _ in 0..batch.rows() {
            margins.extend(self.start.iter().map(|&s| f64::from(s)));
        }
        for (column, weights) in self.weights.chunks_exact(width).enumerate() {
            for (&value, row) in batch.column(column).iter().zip(margins.chunks_exact_mut(width)) {
                let value = value as f32;
                if !value.is_nan() {
                    row.iter_mut().zip(weights).for_each(|(m, w)| *m = f64::from(*m as f32 + value * w));
                }
            }
        }
        out.margins.clear();
        out.values.clear();
        out.contributions.clear();
        if want.contributions {
            self.explain(batch, margins, &mut out.contributions)?;
        }
        if want.outputs {
            self.transform.apply(margins, width, &mut out.values);
        }
        if want.margins {
            out.margins.extend_from_slice(margins);
        }
        Ok(())
    }
}
