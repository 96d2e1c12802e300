//! Model files that are scored where they lie: mapped, not read.

use std::fs::File;
use std::io;
use std::path::Path;

use memmap2::{Mmap, MmapOptions};

/// Maps a file of the cache. Its pages are the page cache's: several backends on a machine share them, and what memory
/// is short of can take them back.
///
/// A file that is cut short while it is mapped ends the process with SIGBUS at the next read beyond its end; nothing can
/// turn that into an error. So nothing must cut it: this house never writes to a file of the cache again once it has its
/// name, and what it removes lives on while it is mapped. Against others its write permissions are taken away.
pub(super) fn map(path: &Path) -> io::Result<Mmap> {
    let file = File::open(path)?;
    let mut permissions = file.metadata()?.permissions();
    if !permissions.readonly() {
        permissions.set_readonly(true);
        // A cache that belongs to another user stays as it is.
        let _ = file.set_permissions(permissions);
    }
    map_whole(&file)
}

#[allow(unsafe_code)]
fn map_whole(file: &File) -> io::Result<Mmap> {
    // SAFETY: the bytes of the slice that this becomes must not change while it lives. The file was put under the digest
    // of its content by a rename, and was read to have that digest before this. No code of this house opens it for writing
    // afterwards (`Cache` writes to temporary files of their own, renames and unlinks), and the folder is the backend's
    // own. An unlinked or replaced file keeps its pages until it is unmapped. The mapping is private and read-only.
    unsafe { MmapOptions::new().map_copy_read_only(file) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_mapped_file_outlives_its_name_and_its_successor() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, "before").unwrap();
        let mapped = map(&path).unwrap();
        assert!(std::fs::metadata(&path).unwrap().permissions().readonly());
        std::fs::write(dir.path().join("next"), "after!").unwrap();
        std::fs::rename(dir.path().join("next"), &path).unwrap();
        assert_eq!(&mapped[..], b"before");
        std::fs::remove_file(&path).unwrap();
        assert_eq!(&mapped[..], b"before");
        assert!(map(&path).is_err());
    }

    #[test]
    fn an_empty_file_is_no_bytes() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert_eq!(map(file.path()).unwrap().len(), 0);
    }
}
