//! What two Headgate processes must agree on: names, the bucket's layout, manifests, releases and how one version is
//! picked from them, the catalog, paths, headers, error kinds and the fleet's state report. Pure: no IO, no async.
//!
//! # Layout
//! - [`name`], [`digest`], [`real`], [`format`]: the small types everything else is made of
//! - [`layout`]: where things are in the bucket
//! - [`manifest`]: what a version is; [`claim`]: who is making one
//! - [`release`]: which versions of a model are served, and [`release::pick`]; [`catalog`]: all releases of a store
//! - [`route`], [`header`], [`error`]: what a prediction call looks like from outside; [`openapi`]: the same, for tools;
//!   [`repository`]: a question
//! - [`proto`]: the messages of the gRPC door; [`wire`]: how any such message lies in bytes; [`grpc`]: what is around it;
//!   [`statistics`]: one of them added up
//! - [`csv`]: what a cell of CSV says
//! - [`fleet`]: what a backend tells a gateway; [`link`]: how calls go between them
//! - [`host`]: the one header that HTTP/1.1 needs
//! - `http1`, a feature: HTTP/1.1 as most predictions come
//! - [`config`]: flag over environment over file over default

pub mod catalog;
pub mod claim;
pub mod config;
pub mod csv;
pub mod digest;
pub mod error;
pub mod fleet;
pub mod format;
pub mod grpc;
pub mod header;
pub mod host;
#[cfg(feature = "http1")]
pub mod http1;
pub mod layout;
pub mod link;
pub mod manifest;
pub mod name;
pub mod openapi;
pub mod proto;
pub mod real;
pub mod release;
pub mod repository;
pub mod route;
pub mod statistics;
pub mod wire;

pub use digest::Digest;
pub use error::Kind;
pub use manifest::Manifest;
pub use name::{ModelName, Version};
pub use release::Release;
