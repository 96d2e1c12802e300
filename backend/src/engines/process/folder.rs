//! A version's folder: what its process is given, and where it may write.
//!
//! ```text
//! <dir>/<id>/lock              locked as long as a backend holds the folder
//! <dir>/<id>/files/<name>      the version's files, to be read only: links to the cache's, or copies
//! <dir>/<id>/signature.json    what goes in and what comes out
//! <dir>/<id>/runner.py         the runner that this build carries, where the command asks for it
//! <dir>/<id>/work/             its working directory, HOME and TMPDIR; emptied whenever it is started
//! <dir>/<id>/socket            where it answers
//! ```
//! The functions here block.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::engines::{Content, Files};

/// Folders younger than this are left alone by [`sweep`]: one that is being made is not locked yet.
const YOUNG: Duration = Duration::from_secs(60);
/// The runner that this build carries.
const RUNNER: &str = include_str!("../../../../runners/python/headgate_runner.py");

/// A version's folder. It goes with this value.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    /// Held open: it carries the lock.
    _lock: File,
}

impl Folder {
    /// Makes a folder of a version's files.
    pub(super) fn make(dir: &Path, files: Files, signature: &[u8]) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        // What versions bring is nobody else's business.
        fs::set_permissions(dir, Permissions::from_mode(0o700))?;
        let path = dir.join(format!("{:016x}", rand::random::<u64>()));
        fs::create_dir(&path)?;
        let lock = File::create(path.join("lock"))?;
        lock.try_lock()?;
        let folder = Self { path, _lock: lock };
        let list = folder.files();
        fs::create_dir(&list)?;
        for (name, content) in files.list {
            let to = list.join(name);
            match content {
                Content::Bytes(bytes) => fs::write(&to, bytes)?,
                // On another file system there are no links.
                Content::Path(from) => fs::hard_link(&from, &to).or_else(|_| fs::copy(&from, &to).map(drop))?,
            }
            fs::set_permissions(&to, Permissions::from_mode(0o444))?;
        }
        fs::set_permissions(&list, Permissions::from_mode(0o555))?;
        fs::write(folder.signature(), signature)?;
        Ok(folder)
    }

    /// Makes it ready for a start: nothing is left of the one before.
    pub(super) fn refresh(&self) -> io::Result<()> {
        let work = work(&self.path);
        open_up(&work);
        for gone in [fs::remove_dir_all(&work), fs::remove_file(self.socket())] {
            match gone {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        fs::create_dir(work)
    }

    /// Where the carried runner lies, which is written there.
    pub(super) fn runner(&self) -> io::Result<PathBuf> {
        let path = self.path.join("runner.py");
        fs::write(&path, RUNNER)?;
        Ok(path)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn files(&self) -> PathBuf {
        self.path.join("files")
    }

    pub(super) fn signature(&self) -> PathBuf {
        self.path.join("signature.json")
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.path.join("socket")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        remove(&self.path);
    }
}

/// The working directory below a version's folder.
pub(super) fn work(folder: &Path) -> PathBuf {
    folder.join("work")
}

/// Removes a version's folder, as far as that can be done.
pub(super) fn remove(folder: &Path) {
    open_up(folder);
    open_up(&folder.join("files"));
    open_up(&work(folder));
    let _ = fs::remove_dir_all(folder);
}

/// Removes the folders of backends that were killed together with their guards.
pub(super) fn sweep(dir: &Path) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        let young =
            entry.metadata().and_then(|m| m.modified()).is_ok_and(|at| at.elapsed().is_ok_and(|age| age < YOUNG));
        let held = File::open(path.join("lock")).is_ok_and(|lock| lock.try_lock().is_err());
        if path.is_dir() && !young && !held {
            tracing::info!(path = %path.display(), "a folder that a killed process left: removed");
            remove(&path);
        }
    }
}

/// What can't be written can't be emptied.
fn open_up(folder: &Path) {
    let _ = fs::set_permissions(folder, Permissions::from_mode(0o700));
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn files_are_there_under_their_names_and_all_goes_again() {
        let dir = tempfile::tempdir().unwrap();
        let blob = dir.path().join("blob");
        fs::write(&blob, "abc").unwrap();
        let list =
            vec![("model.py".to_owned(), Content::Path(blob.clone())), ("x".to_owned(), Content::Bytes(b"x".to_vec()))];
        let folder = Folder::make(&dir.path().join("run"), Files { list }, b"{}").unwrap();
        let model = folder.files().join("model.py");
        assert_eq!(fs::read(&model).unwrap(), b"abc");
        assert_eq!(fs::metadata(&model).unwrap().permissions().mode() & 0o777, 0o444);
        folder.refresh().unwrap();
        fs::write(work(folder.path()).join("left"), "").unwrap();
        folder.refresh().unwrap();
        assert_eq!(fs::read_dir(work(folder.path())).unwrap().count(), 0);
        drop(folder);
        assert_eq!(fs::read_dir(dir.path().join("run")).unwrap().count(), 0);
        assert_eq!(fs::read(&blob).unwrap(), b"abc");
    }

    #[test]
    fn only_what_nobody_holds_is_swept() {
        let dir = tempfile::tempdir().unwrap();
        let held = Folder::make(dir.path(), Files { list: vec![] }, b"").unwrap();
        let left = dir.path().join("left");
        fs::create_dir(&left).unwrap();
        sweep(dir.path());
        assert!(left.exists());
        let old = std::time::SystemTime::now() - 2 * YOUNG;
        for path in [held.path(), &left] {
            File::open(path).unwrap().set_modified(old).unwrap();
        }
        sweep(dir.path());
        assert!(held.path().exists() && !left.exists());
    }
}
