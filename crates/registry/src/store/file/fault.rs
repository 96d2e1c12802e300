//! What the system's errors mean to a store.

use std::io::{self, ErrorKind};

use crate::store::StoreError;

/// Whether there is no such file: a part of its path may also be a file where a folder is expected, or be too long.
pub(super) fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::InvalidFilename)
}

/// Why a read failed.
pub(super) fn on_read(at: String, error: &io::Error) -> StoreError {
    let why = error.to_string();
    match error.kind() {
        ErrorKind::PermissionDenied => StoreError::Forbidden { at, why },
        ErrorKind::UnexpectedEof => StoreError::Damaged { at, why },
        _ => StoreError::Unreachable { at, why },
    }
}

/// Why a write failed. The folder's permissions forbid what a read-only file system forbids: to the writer it is the
/// same.
pub(in crate::store) fn on_write(at: String, error: &io::Error) -> StoreError {
    let why = error.to_string();
    match error.kind() {
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => StoreError::ReadOnly { at, why },
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => StoreError::Full { at, why },
        ErrorKind::NotADirectory | ErrorKind::InvalidFilename | ErrorKind::InvalidInput => {
            StoreError::Refused { at, why }
        }
        _ => StoreError::Unreachable { at, why },
    }
}
