//! Scoring: columns in, scores out. Pure, synchronous, no IO.
//!
//! [`load`] makes an [`Engine`] from the bytes of a model file: LightGBM text, XGBoost JSON and UBJSON, CatBoost JSON, or
//! this house's JSON for forests and linear models. An engine scores a [`Batch`] of columns into [`Outputs`]: raw margins
//! equal to the bit with the training library's own, and outputs through the one fixed `exp` of [`math`], so that a build
//! gives the same bits everywhere.
//!
//! What a bad file can cause is a [`LoadError`] that names the place: no panic, no endless loop, no allocation beyond
//! the input's size and [`Limits`].

mod batch;
pub mod catboost;
mod engine;
mod explain;
mod forest;
pub mod forest_json;
mod level;
pub mod lightgbm;
pub mod linear;
mod load;
pub mod math;
pub mod onnx;
mod transform;
pub mod xgboost;

pub use batch::{Batch, Texts};
pub use engine::{Categorical, Engine, MarginKind, OutputKind, Outputs, ScoreError, Scratch, Want};
pub use level::{Level, UnknownLevel};
pub use load::{Category, Format, Limits, LoadError, UnknownFormat, load, sniff};
