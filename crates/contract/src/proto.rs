//! The messages of the gRPC door, as `proto/inference.proto` has them.

/// The compiled `.proto` file, for reflection.
pub const DESCRIPTOR: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/inference.bin"));

/// The gRPC service's full name.
pub const SERVICE: &str = "inference.GRPCInferenceService";

#[allow(missing_docs, clippy::all)]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/inference.rs"));
}

pub use generated::*;
