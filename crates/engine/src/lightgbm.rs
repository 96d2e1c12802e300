//! LightGBM's text format (`Booster.save_model`), versions 2 to 4 of it.
//!
//! Decisions are those of LightGBM 4's `Tree::Decision` (`include/LightGBM/tree.h`), sums those of
//! `GBDT::PredictRaw`, outputs those of each objective's `ConvertOutput`.

mod describe;
mod objective;
mod text;
mod tree;

pub use describe::{Description, FeatureInfo};

use crate::engine::{Categorical, MarginKind};
use crate::forest::{Builder, ForestEngine, Parts};
use crate::{Engine, Limits, LoadError};
use objective::Objective;
pub(crate) use text::shown;
use text::{Header, Text};

/// What the file says of its model, without building it.
pub fn describe(bytes: &[u8]) -> Result<Description, LoadError> {
    let text = Text::read(bytes)?;
    let header = Header::read(&text)?;
    Description::new(&text, header)
}

/// Builds the model.
pub(crate) fn load(bytes: &[u8], limits: &Limits) -> Result<Box<dyn Engine>, LoadError> {
    let text = Text::read(bytes)?;
    let header = Header::read(&text)?;
    LoadError::within("the number of features", header.features, limits.max_features)?;
    LoadError::within("the number of outputs", header.trees_per_iteration, limits.max_outputs)?;
    let objective = Objective::read(&header)?;
    let mut builder = Builder::new(header.features);
    for (i, block) in text.trees.iter().enumerate() {
        let group = (i % header.trees_per_iteration) as u32;
        tree::add(&mut builder, i, group, block)?;
        LoadError::within("the model's memory in bytes", builder.memory_bytes(), limits.max_memory_bytes)?;
    }
    let description = Description::new(&text, header)?;
    let iterations = description.iterations;
    let parts = Parts {
        categorical: description.feature_infos.iter().map(Categorical::of).collect(),
        names: description.feature_names,
        start: vec![0.0; description.trees_per_iteration],
        sums: MarginKind::F64,
        average_over: description.average_output.then_some(iterations as f64),
        transform: objective.transform,
        kind: objective.kind,
    };
    Ok(Box::new(ForestEngine::new(builder, parts, limits)?))
}

impl Categorical {
    fn of(info: &FeatureInfo) -> Option<Self> {
        match info {
            FeatureInfo::Categories(codes) => {
                Some(Self { max_code: codes.iter().max().and_then(|&c| u32::try_from(c).ok()) })
            }
            FeatureInfo::Unused | FeatureInfo::Range { .. } => None,
        }
    }
}
