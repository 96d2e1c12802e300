//! CatBoost's JSON export (`model.save_model(file, format="json", pool=pool)`).
//!
//! Decisions and sums are those of CatBoost's CPU evaluator (`catboost/libs/model/cpu`): a value is rounded to `f32` and
//! goes right where it is over the border; a one-hot split sends its one category right; leaves are summed in `f64` in the
//! order of the trees, then `scale * sum + bias`. Outputs are those of `predict`, by the loss: probabilities, exponents or
//! margins as they are. CatBoost's own softmax and exponent go through an approximate `exp` that differs between
//! processors by several units in the last place; here they go through [`crate::math`].
//!
//! CatBoost's own reader of its JSON rounds numbers wrongly: the model that was saved is the measure, not the one it loads.
//!
//! A categorical feature is served where its splits are one-hot, and where the file has the texts of its categories, which
//! it has when it is saved with `pool=`. Statistics of categories (CTR), texts and embeddings are not served.

mod describe;
mod doc;
mod features;
mod loss;
mod scaled;
mod tree;

pub use describe::Description;

use crate::engine::MarginKind;
use crate::forest::{Builder, ForestEngine, Parts};
use crate::{Engine, Limits, LoadError};
use doc::{File, Trees};
use features::Features;
use loss::Loss;
use scaled::Scaled;
use tree::Adder;

/// What the file says of its model, without building it.
pub fn describe(bytes: &[u8]) -> Result<Description, LoadError> {
    let file = File::read(bytes)?;
    let features = Features::read(&file, Limits::default().max_features)?;
    Description::new(&file, features)
}

/// Builds the model.
pub(crate) fn load(bytes: &[u8], limits: &Limits) -> Result<Box<dyn Engine>, LoadError> {
    let file = File::read(bytes)?;
    let features = Features::read(&file, limits.max_features)?;
    let width = file.width()?;
    LoadError::within("the number of outputs", width, limits.max_outputs)?;
    let loss = Loss::read(&file, width)?;
    let (scale, bias) = file.scale_and_bias(width)?;
    let mut adder = Adder::new(Builder::new(features.columns.len()), &features, width, limits.max_memory_bytes);
    match file.trees() {
        Trees::Oblivious(trees) => adder.oblivious(trees)?,
        Trees::Nested(trees) => adder.nested(trees)?,
    }
    if scale == 1.0 {
        // The same sum: a last tree that is one leaf.
        adder.constants(&bias)?;
    }
    let plain = scale == 1.0;
    let parts = Parts {
        names: features.names(),
        categorical: features.categorical(),
        start: vec![0.0; width],
        sums: MarginKind::F64,
        average_over: None,
        transform: if plain { loss.transform } else { crate::transform::Transform::Identity },
        kind: loss.kind,
    };
    let forest = ForestEngine::new(adder.done(), parts, limits)?;
    Ok(if plain { Box::new(forest) } else { Box::new(Scaled::new(forest, scale, bias, loss)) })
}
