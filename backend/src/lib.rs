//! The model server.

pub mod config;
pub mod decode;
pub mod encode;
pub mod refusal;
pub mod schema;
