//! Training and publishing, end to end, into a store in a folder.
#![allow(clippy::unwrap_used)]

mod bad;
mod bank;
mod bucket;
mod elsewhere;
mod forests;
mod hashed;
mod onnx;
mod parquet;
mod process;
mod rig;
mod small;
