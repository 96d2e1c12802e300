//! The model server: doors in front, versions' lives behind.
//!
//! # Layout
//! - [`program`], [`serve`], [`config`]: the process: [`entry`] runs it, [`run`] is for those who bring their listener
//! - [`doors`]: HTTP; thin, each door makes a call; [`openapi`]: what they say of a model to tools
//! - [`dispatch`]: from a call to a reply: which version answers, and on which thread ([`compute`])
//! - [`predict`]: decode, score, encode; [`decode`], [`encode`], [`schema`], [`refusal`]: its parts
//! - [`snapshot`]: what is served at one moment, of [`servable`] versions
//! - [`life`]: how versions come and go; the keeper alone changes the snapshot
//! - [`runtime`]: what scores a version's rows, built by [`engines`]
//! - [`cache`], [`prove`]: what stands between a bucket and a servable version
//! - [`fleet`]: what gateways are told; [`metrics`]: what operators are

pub mod cache;
pub mod compute;
pub mod config;
pub mod decode;
pub mod dispatch;
pub mod doors;
pub mod encode;
pub mod engines;
pub mod fleet;
pub mod gather;
pub mod life;
pub mod metrics;
pub mod openapi;
pub mod predict;
pub mod program;
pub mod prove;
pub mod refusal;
pub mod runtime;
pub mod schema;
pub mod servable;
pub mod serve;
pub mod snapshot;
pub mod turn;

pub use config::{Cli, Config};
pub use engines::process::guard::entry as guard;
pub use program::entry;
pub use serve::{Error, run};
