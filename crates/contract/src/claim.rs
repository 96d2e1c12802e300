//! Small documents beside a version: who is making it, which build it is, who asks for its release.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Digest, ModelName, Version};

/// `claim.json`: who is uploading a version, since when, for which build.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Claim {
    /// [`crate::format::CLAIM`].
    pub format: String,
    /// User and host.
    pub who: String,
    /// When the number was claimed.
    pub since: Timestamp,
    /// The build that the number was claimed for.
    pub build_key: Digest,
    /// A random id of the one attempt that wrote this claim, so that a lost reply can be told from a lost race.
    pub attempt: String,
}

/// `build=<key>.json`: that build is this version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Build {
    /// [`crate::format::CLAIM`].
    pub format: String,
    /// The version's number.
    pub version: Version,
    /// The random id of the attempt that wrote it.
    pub attempt: String,
}

/// `requests/<model>/version=<n>.json`: a publisher without the right to release asks for it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReleaseRequest {
    /// [`crate::format::REQUEST`].
    pub format: String,
    /// The model.
    pub model: ModelName,
    /// The version to release.
    pub version: Version,
    /// User and host.
    pub who: String,
    /// When it was asked.
    pub at: Timestamp,
    /// The condition on metrics that the publisher wants held, as in `--if`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
}
