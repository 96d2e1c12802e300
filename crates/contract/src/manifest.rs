//! What a version is: files, signature, golden rows, metrics, lineage.

use std::collections::{BTreeMap, HashSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::format::{self, FormatError};
use crate::{Digest, ModelName, Version};

pub mod golden;
pub mod signature;

pub use golden::{Cell, Golden};
pub use signature::{Dtype, Input, Output, Signature};

/// The largest manifest that is read, in bytes.
pub const BYTES_MAX: u64 = 64 << 20;
/// The most files a version has.
pub const FILES_MAX: usize = 1024;

/// `manifest.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`crate::format::MANIFEST`].
    pub format: String,
    /// The model.
    pub model: ModelName,
    /// The version's number.
    pub version: Version,
    /// When it was made.
    pub created: Timestamp,
    /// The hash of data, code and parameters that it was made from.
    pub build_key: Digest,
    /// Set on a manifest that only closes an unfinished version: why. Such a version is never served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub abandoned: Option<String>,
    /// What runs it.
    pub engine: EngineSpec,
    /// The artifacts.
    pub files: Vec<FileEntry>,
    /// What goes in and what comes out.
    pub signature: Signature,
    /// Rows whose results the trainer knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub golden: Option<Golden>,
    /// The evaluation: `auc`, `log_loss`, ...
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metrics: BTreeMap<String, f64>,
    /// Where it comes from.
    #[serde(default)]
    pub lineage: Lineage,
    /// What the training data looked like, by feature, for drift.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub statistics: Vec<FeatureStatistics>,
    /// Fields of a later minor version, kept.
    #[serde(flatten)]
    pub extra: BTreeMap<String, Value>,
}

/// Which engine runs a version.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EngineSpec {
    /// `lightgbm`, `xgboost`, `linear`, ...
    pub name: String,
    /// The version of the library that made the artifact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// What a backend must have to run it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requires: Vec<String>,
}

/// An artifact of a version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Its name, one plain path segment.
    pub name: String,
    /// Its size in bytes.
    pub size: u64,
    /// Its digest.
    pub sha256: Digest,
}

/// Where a version comes from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Lineage {
    /// The data, as URIs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<String>,
    /// The code: a commit, a package's version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The container image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The parameters.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, Value>,
    /// The scope's value as text, where the model is one of a scope.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
}

/// What the training data looked like in one feature.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FeatureStatistics {
    /// The feature.
    pub name: String,
    /// Rows seen.
    pub count: u64,
    /// Rows without a value.
    pub missing: u64,
    /// Mean of a numeric feature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean: Option<f64>,
    /// Standard deviation of a numeric feature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub std: Option<f64>,
    /// Values at 0, 10, ..., 100 % of a numeric feature.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deciles: Vec<f64>,
    /// How often each category was seen, most frequent first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub categories: Vec<(String, u64)>,
}

/// Why a manifest is refused. The publisher's fault; a retry does not help.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// It can't be read.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// A file's name would leave the version's folder, or is otherwise no plain name.
    #[error("file name '{0}' is refused: one plain path segment of letters, digits, '.', '_', '-' expected")]
    FileName(String),
    /// It contradicts itself.
    #[error("{0}")]
    Invalid(String),
}

// === impl Manifest ===

impl Manifest {
    /// Reads and checks a manifest.
    pub fn read(bytes: &[u8]) -> Result<Self, ManifestError> {
        let manifest: Self = format::read(format::MANIFEST, bytes)?;
        manifest.check()?;
        Ok(manifest)
    }

    /// Checks what must hold of every manifest: plain file names that differ, a signature and golden rows that fit.
    pub fn check(&self) -> Result<(), ManifestError> {
        if self.files.len() > FILES_MAX {
            return Err(ManifestError::Invalid(format!("{} files, at most {FILES_MAX}", self.files.len())));
        }
        let mut names = HashSet::new();
        for file in &self.files {
            check_file_name(&file.name)?;
            if !names.insert(&file.name) {
                return Err(ManifestError::Invalid(format!("file '{}' is listed twice", file.name)));
            }
        }
        if self.abandoned.is_some() {
            return Ok(());
        }
        self.signature.check().map_err(ManifestError::Invalid)?;
        match &self.golden {
            Some(golden) => golden.check(&self.signature).map_err(ManifestError::Invalid),
            None => Ok(()),
        }
    }
}

/// Checks that a file's name can't leave its folder.
pub fn check_file_name(name: &str) -> Result<(), ManifestError> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    if name.is_empty() || name.len() > 128 || name.starts_with('.') || !name.bytes().all(plain) {
        return Err(ManifestError::FileName(name.chars().take(80).collect()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn text(file: &str) -> String {
        format!(
            r#"{{"format":"headgate.manifest/1.0","model":"m","version":1,"created":"2026-01-01T00:00:00Z",
            "build_key":"{d}","engine":{{"name":"linear"}},"files":[{{"name":"{file}","size":1,"sha256":"{d}"}}],
            "signature":{{"inputs":[{{"name":"x","dtype":"FP64"}}],"outputs":[{{"name":"score","dtype":"FP64"}}]}},"future":1}}"#,
            d = Digest::of("")
        )
    }

    #[test]
    fn a_manifest_reads_back_with_fields_it_does_not_know() {
        let manifest = Manifest::read(text("model.json").as_bytes()).unwrap();
        assert_eq!(manifest.extra["future"], 1);
        assert_eq!(Manifest::read(&format::write(&manifest)).unwrap(), manifest);
    }

    #[test]
    fn no_file_name_leaves_the_folder() {
        for bad in ["../x", "/etc/passwd", "a/b", "..", "", ".hidden", "a\\u0000b"] {
            let error = Manifest::read(text(bad).as_bytes()).unwrap_err();
            assert!(matches!(error, ManifestError::FileName(_)), "{bad}: {error}");
        }
    }
}
