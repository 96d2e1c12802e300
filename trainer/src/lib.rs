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

pub mod data;
pub mod evaluate;
pub mod filter;
pub mod lightgbm;
pub mod plan;
pub mod split;
pub mod table;
