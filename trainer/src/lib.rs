//! Train and publish model versions.
//!
//! # Why LightGBM's own library, loaded at run time
//! On bank-marketing.csv.gz (45,211 rows, target `y`, 20 % held out, 10 % for early stopping, two threads):
//!
//! | | AUC | log loss | training | cold release build on two cores | needs |
//! |---|---|---|---|---|---|
//! | LightGBM 4.7 through `libloading` | 0.9351 | 0.1963 | 1.2 s | 1 s (9 MB library at run time) | libgomp1 |
//! | LightGBM through `lightgbm3` 1.0.11 | the same | the same | the same | 3 min | cmake 3.28, libclang |
//! | `forust-ml` 0.8.0 | 0.9336 | 0.1993 | 1.8 s | 47 s | nothing |
//! | `perpetual` 3.0.0-rc.2, budget 1 | 0.9296 | 0.2201 | 3.6 s | 88 s | nothing (2.3 needs a nightly compiler) |
//!
//! The two in Rust would in addition have to be written out as LightGBM's text; `forust-ml` has no categories, and
//! `perpetual` with categories came to an AUC of 0.71.

//!
//! # Layout
//! - [`args`]: what can be typed; [`report`]: what is told; [`error`]: why it fails
//! - [`data`]: files into a [`table`]; [`filter`]: which rows; [`scope`]: divided by a column's value
//! - [`plan`]: target and features; [`split`]; [`lightgbm`]: the library; [`evaluate`], [`golden`], [`statistics`];
//!   [`fit`]: all of these for one model; [`proof`]: it scores as the library does
//! - [`train`], [`publish`]: into the store, and perhaps released

pub mod args;
pub mod data;
pub mod error;
pub mod evaluate;
pub mod filter;
pub mod fit;
pub mod golden;
mod key;
pub mod lightgbm;
pub mod plan;
pub mod proof;
pub mod publish;
mod release;
pub mod report;
pub mod scope;
pub mod split;
pub mod statistics;
pub mod table;
pub mod train;

pub use args::{PublishArgs, TrainArgs};
pub use data::Source;
pub use error::{PublishError, TrainError};
pub use publish::publish;
pub use report::{Event, ModelReport, ModelResult, PublishReport, PublishedModel, TrainReport};
pub use train::{Context, train, train_sources};
