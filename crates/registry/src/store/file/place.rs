//! Putting a synced temporary file in its place, so that it is there whole or not at all, also after a power cut.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{CWD, RenameFlags};
use rustix::io::Errno;
use tempfile::NamedTempFile;

/// How often the folder is made anew when a concurrent deletion has taken it away.
const TRIES: usize = 5;
/// How long a temporary file lies untouched before its writer counts as dead.
const LEFT_AFTER: Duration = Duration::from_secs(24 * 3600);

/// Puts `staged` at `path` where nothing is; `AlreadyExists` where something is.
pub(super) fn create(root: &Path, staged: NamedTempFile, path: &Path) -> io::Result<()> {
    let folder = path.parent().unwrap_or(root);
    for _ in 0..TRIES {
        make_folder(folder)?;
        match rename_new(staged.path(), path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            result => return result.and_then(|()| sync_folder(folder)),
        }
    }
    Err(io::ErrorKind::NotFound.into())
}

/// Puts `staged` at `path` over what is there. The caller holds the lock.
pub(super) fn replace(staged: NamedTempFile, path: &Path) -> io::Result<()> {
    fs::rename(staged.path(), path)?;
    path.parent().map_or(Ok(()), sync_folder)
}

/// Makes a folder and those above it, each entered durably in the one above.
pub(super) fn make_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let Some(above) = folder.parent() else { return Ok(()) };
    make_folder(above)?;
    match fs::create_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => sync_folder(above),
    }
}

/// Takes away the folders that a deletion left empty: a bucket has none either.
pub(super) fn tidy(root: &Path, path: &Path) {
    for folder in path.ancestors().skip(1).take_while(|folder| *folder != root) {
        if fs::remove_dir(folder).is_err() {
            return;
        }
    }
}

/// Takes away what writers left that were killed long ago; one that still runs has touched its file since.
pub(super) fn sweep(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let modified = entry.metadata().and_then(|metadata| metadata.modified());
        if modified.is_ok_and(|modified| modified.elapsed().is_ok_and(|age| age > LEFT_AFTER)) {
            // Somebody else may sweep too; what can't be taken away does no harm.
            _ = fs::remove_file(entry.path());
        }
    }
}

fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // Some file systems know no such rename; on them a link is what can't replace anything.
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => fs::hard_link(from, to),
        Err(error) => Err(error.into()),
        Ok(()) => Ok(()),
    }
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
