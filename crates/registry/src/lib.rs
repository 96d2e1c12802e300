//! The bucket: store, publish, release, watch. The only crate that speaks S3.
//!
//! A store is a folder (`file:///dir`) or a bucket (`s3://bucket/prefix`). Everything that Headgate remembers is in it,
//! under the keys of [`headgate_contract::layout`]; there is no other database.
//!
//! # Layout
//! - [`store`]: objects by key: conditional reads, create-only and compare-and-swap writes, listings. The two kinds of
//!   store are behind [`store::Bucket`]; [`Store`] is what everybody holds
//! - [`publish`]: a new version goes in: claim, build key, files, manifest, `_SUCCESS`; killable anywhere
//! - [`versions`]: what versions and models are there
//! - [`release`]: the catalog changes: promote, roll back, label, shadow, freeze, restore. Each is one swap of the head
//! - [`gate`]: whether a version may take over from another: signature and condition on metrics. Pure
//! - [`watch`]: the catalog as it changes, for one conditional GET a poll
//! - [`request`]: a publisher without the right to release asks for it
//!
//! # Who needs which rights
//! Readers (serving, listing) need reads alone. Publishers write below `models/<model>/`, releasers below `catalog/`. The
//! first write of a process is a probe of what the store can do, `models/<model>/build=probe.json` or
//! `catalog/probe.json`; nobody needs the right to delete.
//!
//! # What a failure means
//! Every error says whose fault it is in words, and [`StoreError::retryable`] whether the same call can succeed later. The
//! S3 client tries [`StoreOptions::attempts`] times by itself. Writes whose reply was lost are looked up, never guessed.

mod catalog;
mod documents;
pub mod gate;
pub mod publish;
pub mod release;
pub mod request;
pub mod store;
pub mod versions;
pub mod watch;
mod who;

pub use publish::{NewVersion, Progress, PublishError, Published, lookup_build, publish};
pub use store::{ETag, Object, Store, StoreError, StoreOptions, StoreUrl};
pub use versions::{VersionInfo, VersionState, manifest, models, versions};
pub use who::whoami;
