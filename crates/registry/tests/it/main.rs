//! The registry against its stores: a folder, a bucket of a real server (MinIO), and a bucket of an in-process double
//! that counts requests and injects faults.
#![allow(clippy::unwrap_used)]

mod bad;
mod conformance;
mod faults;
mod files;
mod flow;
mod interleave;
mod memory;
mod minio;
mod s3double;
mod sample;
mod watching;
