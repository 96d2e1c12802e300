//! Forests in a JSON format of this house, `headgate-forest/1`, for libraries whose own formats can't be read without them:
//! scikit-learn's forests, gradient boosting and single trees, written by `trainer/python/export_sklearn.py`. The format is
//! defined in `docs/FORMATS.md`.
//!
//! Margins are summed in `f64`, `start` first, in the order of the trees.

mod describe;
mod doc;
mod tree;

pub use describe::Description;
pub use doc::FORMAT;

use crate::engine::{Categorical, MarginKind, OutputKind};
use crate::forest::{Builder, ForestEngine, Parts};
use crate::transform::Transform;
use crate::{Engine, Limits, LoadError};
use doc::{File, Link, Output};

/// What the file says of its model, without building it.
pub fn describe(bytes: &[u8]) -> Result<Description, LoadError> {
    Ok(Description::new(&File::read(bytes)?))
}

/// Builds the model.
pub(crate) fn load(bytes: &[u8], limits: &Limits) -> Result<Box<dyn Engine>, LoadError> {
    let file = File::read(bytes)?;
    let width = file.start.len();
    LoadError::within("the number of features", file.features.len(), limits.max_features)?;
    LoadError::within("the number of outputs", width, limits.max_outputs)?;
    let mut builder = Builder::new(file.features.len());
    let mut categorical: Vec<Option<Categorical>> = file.features.iter().map(doc::Feature::categorical).collect();
    for (i, tree) in file.trees.iter().enumerate() {
        tree::add(&mut builder, i, tree, &file, &mut categorical, limits.max_memory_bytes)?;
    }
    let parts = Parts {
        names: file.names(),
        categorical,
        transform: match file.transform {
            Link::Identity => Transform::Identity,
            Link::Exp => Transform::Exp,
            Link::Softmax => Transform::Softmax,
            Link::Sigmoid(slope) => Transform::Sigmoid(slope),
            Link::Isolation(expected) => Transform::Isolation { expected },
        },
        kind: match file.output {
            Output::Regression => OutputKind::Regression,
            Output::Binary => OutputKind::Binary,
            Output::Multiclass => OutputKind::Multiclass(width),
            Output::Score => OutputKind::Raw,
        },
        start: file.start,
        sums: MarginKind::F64,
        average_over: file.divide_by,
    };
    Ok(Box::new(ForestEngine::new(builder, parts, limits)?))
}
