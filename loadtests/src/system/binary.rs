//! Where the `headgate` executable is.

use std::path::{Path, PathBuf};

use super::SystemError;

/// The one that was named, else the one beside this program.
pub(super) fn find(named: Option<PathBuf>) -> Result<PathBuf, SystemError> {
    let path = named.unwrap_or_else(|| {
        let here = std::env::current_exe().unwrap_or_default();
        here.parent().unwrap_or(Path::new(".")).join(format!("headgate{}", std::env::consts::EXE_SUFFIX))
    });
    if path.is_file() { Ok(path.canonicalize().unwrap_or(path)) } else { Err(SystemError::NoBinary(path)) }
}
