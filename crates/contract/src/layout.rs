//! Where things are in the bucket: keys below the store's root.

use crate::{Digest, ModelName, Version};

/// The one object that a watcher polls.
pub const HEAD: &str = "catalog/head.json";
/// Below it are all models.
pub const MODELS: &str = "models/";

/// The folder of one version, with a slash at its end.
pub fn version_dir(model: &ModelName, version: Version) -> String {
    format!("models/{model}/version={version}/")
}

/// Who is uploading a version: create-only, never deleted.
pub fn claim(model: &ModelName, version: Version) -> String {
    format!("models/{model}/version={version}/claim.json")
}

/// Which version a build is: create-only.
pub fn build(model: &ModelName, key: &Digest) -> String {
    format!("models/{model}/build={key}.json")
}

/// An artifact. `name` must have passed [`crate::manifest::check_file_name`].
pub fn file(model: &ModelName, version: Version, sha256: &Digest, name: &str) -> String {
    format!("models/{model}/version={version}/files/{sha256}-{name}")
}

/// What a version is: create-only.
pub fn manifest(model: &ModelName, version: Version) -> String {
    format!("models/{model}/version={version}/manifest.json")
}

/// The manifest's digest: create-only, last. A version without it is none.
pub fn success(model: &ModelName, version: Version) -> String {
    format!("models/{model}/version={version}/_SUCCESS")
}

/// A head as it was before it was replaced.
pub fn old_head(generation: u64) -> String {
    format!("catalog/heads/{generation:020}.json")
}

/// A shard, under the digest of its bytes.
pub fn shard(digest: &Digest) -> String {
    format!("catalog/shards/{digest}.json")
}

/// A publisher's request for a release.
pub fn request(model: &ModelName, version: Version) -> String {
    format!("requests/{model}/version={version}.json")
}

/// The version number in a listed folder `version=<n>/`; none for anything else.
pub fn parse_version_dir(folder: &str) -> Option<Version> {
    folder.trim_end_matches('/').rsplit('/').next()?.strip_prefix("version=")?.parse().ok()
}
