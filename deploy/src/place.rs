//! Where the store and the gateway are: as told, else those of `headgate up` in this directory.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The default of `up --dir`.
pub(crate) const DIR: &str = ".headgate";
const FILE: &str = "up.json";

/// What a running `headgate up` leaves for the other commands: `<dir>/up.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Running {
    /// Its process id.
    pub(crate) pid: u32,
    /// The store's URL.
    pub(crate) store: String,
    /// Where the gateway answers.
    pub(crate) gateway: String,
    /// Where the gateway's admin port answers.
    pub(crate) admin: String,
}

/// Nothing says where the store or the gateway is. The caller's fault.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlaceError {
    /// No store is named.
    #[error("no store is named: pass --store URL, set HEADGATE_STORE, or run in the directory of a `headgate up`")]
    Store,
    /// No gateway is named.
    #[error(
        "no gateway is named: pass --admin ADDRESS, set HEADGATE_ADMIN, or run in the directory of a `headgate up`"
    )]
    Admin,
}

/// The file in which `up` says where it runs.
pub(crate) fn file(dir: &Path) -> PathBuf {
    dir.join(FILE)
}

/// The store's URL.
pub(crate) fn store(told: Option<&str>) -> Result<String, PlaceError> {
    match told {
        Some(url) => Ok(url.to_owned()),
        None => read(Path::new(DIR)).map(|running| running.store).ok_or(PlaceError::Store),
    }
}

/// The gateway's admin address.
pub(crate) fn admin(told: Option<&str>) -> Result<String, PlaceError> {
    match told {
        Some(address) => Ok(address.to_owned()),
        None => read(Path::new(DIR)).map(|running| running.admin).ok_or(PlaceError::Admin),
    }
}

fn read(dir: &Path) -> Option<Running> {
    serde_json::from_slice(&std::fs::read(file(dir)).ok()?).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_told_comes_first() {
        assert_eq!(store(Some("s3://b")).unwrap(), "s3://b");
        assert_eq!(admin(Some("1.2.3.4:5")).unwrap(), "1.2.3.4:5");
    }
}
