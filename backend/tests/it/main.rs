//! The model server from outside: a real store in a folder, a real server on port 0, real HTTP.
#![allow(clippy::unwrap_used)]

mod arrow;
mod bad_bodies;
mod bad_versions;
mod binary;
mod clients;
mod codings;
mod doors;
mod grpc;
mod http1;
mod info;
mod invocations;
mod life;
mod link;
mod mapped;
mod on_demand;
mod onnx;
mod outages;
mod processes;
mod program;
mod smuggling;
mod support;
mod tls;
