//! XGBoost's JSON and UBJSON (`Booster.save_model`), from version 1.0 on: gbtree, dart and gblinear.
//!
//! Decisions and sums are those of the CPU predictor (`src/predictor/cpu_predictor.cc`, `predict_fn.h`): `f32`, a sum
//! begins with the base score in margin space and goes on in the order of the trees. A dart tree's leaves are scaled
//! before they are added, as `Booster.predict` does; `inplace_predict` takes a base score off and adds it again on the
//! way, and can differ in the last bit. All rounds count, as in `Booster.predict`: where training stopped early,
//! [`Description::best_iteration`] says so.

mod describe;
mod doc;
mod gblinear;
mod json;
mod model;
mod objective;
mod tree;
mod ubj;

pub use describe::Description;

use crate::engine::{Categorical, MarginKind};
use crate::forest::{Builder, ForestEngine, Parts};
use crate::{Engine, Format, Limits, LoadError};
use doc::Value;
use gblinear::GbLinear;
use model::{Booster, Model};

/// What the file says of its model, without building it.
pub fn describe(format: Format, bytes: &[u8]) -> Result<Description, LoadError> {
    let doc = read(format, bytes)?;
    Description::new(&Model::read(&doc)?)
}

/// The first key of a JSON object that tells the formats apart, and its value where that is a text.
pub(crate) fn sniff_json(bytes: &[u8]) -> Option<(String, Option<String>)> {
    json::first_of(bytes, &["learner", "format", "features_info", "oblivious_trees"])
}

fn read(format: Format, bytes: &[u8]) -> Result<Value, LoadError> {
    if format == Format::XgboostUbj { ubj::read(bytes) } else { json::read(bytes) }
}

/// Builds the model.
pub(crate) fn load(format: Format, bytes: &[u8], limits: &Limits) -> Result<Box<dyn Engine>, LoadError> {
    let doc = read(format, bytes)?;
    let model = Model::read(&doc)?;
    LoadError::within("the number of features", model.features, limits.max_features)?;
    LoadError::within("the number of outputs", model.width, limits.max_outputs)?;
    let start = model.start()?;
    match &model.booster {
        Booster::Trees { .. } => forest(&model, start, limits),
        Booster::Linear { weights } => {
            let engine = GbLinear::new(&model, weights, &start)?;
            LoadError::within("the model's memory in bytes", engine.memory_bytes(), limits.max_memory_bytes)?;
            Ok(Box::new(engine))
        }
    }
}

fn forest(model: &Model<'_>, start: Vec<f32>, limits: &Limits) -> Result<Box<dyn Engine>, LoadError> {
    let mut builder = Builder::new(model.features);
    let mut categorical = model.categorical();
    for tree in model.trees()? {
        tree::add(&mut builder, &tree, &mut categorical, limits.max_memory_bytes)?;
        LoadError::within("the model's memory in bytes", builder.memory_bytes(), limits.max_memory_bytes)?;
    }
    let parts = Parts {
        names: model.names.clone(),
        categorical,
        start: start.into_iter().map(f64::from).collect(),
        sums: MarginKind::F32,
        average_over: None,
        transform: model.objective.transform,
        kind: model.objective.kind,
    };
    Ok(Box::new(ForestEngine::new(builder, parts, limits)?))
}

impl Categorical {
    /// Widens what is known of a column by the codes that a split names.
    pub(crate) fn see(column: &mut Option<Self>, code: u32) {
        let known = column.get_or_insert(Self { max_code: None });
        known.max_code = Some(known.max_code.map_or(code, |m| m.max(code)));
    }
}
