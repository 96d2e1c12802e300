//! Training and publishing, end to end.
#![allow(clippy::unwrap_used)]

mod parquet;
