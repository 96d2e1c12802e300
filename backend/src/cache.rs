//! The local cache: artifacts by their digest, and manifests that were checked against `_SUCCESS`.
//!
//! ```text
//! <dir>/blobs/<sha256>        an artifact's bytes
//! <dir>/manifests/<sha256>    a manifest's bytes; here only after its version's _SUCCESS was seen
//! <dir>/catalog/              heads and shards, by store: the registry's
//! <dir>/tmp/                  what is being written
//! ```
//! Manifests and artifacts have one bound together; the longest unused go first. Everything is written to a temporary file, synced and renamed, and checked against its digest whenever it is read.
//! Several backends may share a cache. Its functions block: callers run them off the request threads.

use std::collections::HashMap;
use std::fs::{self, File, FileTimes};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use headgate_contract::Digest;
use sha2::{Digest as _, Sha256};

/// Temporary files older than this were left by a process that is gone.
const STALE: Duration = Duration::from_secs(3600);

/// A local cache. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Cache {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    dir: PathBuf,
    bytes_max: u64,
    /// Bytes of all artifacts and manifests, as far as this process knows.
    bytes: AtomicU64,
    /// How many loaded or loading versions use an artifact or a manifest.
    pins: Mutex<HashMap<Digest, usize>>,
}

/// Keeps artifacts and manifests from being thrown out as long as it lives.
#[derive(Debug)]
pub struct Pins {
    cache: Cache,
    digests: Vec<Digest>,
}

/// A file that is about to be written: it goes with this value unless it is adopted, so that a load that is given up
/// leaves nothing behind.
#[derive(Debug)]
pub struct Temporary {
    path: PathBuf,
}

/// Why the cache can't be read or written: a full disk, missing rights. It can pass.
#[derive(Debug, thiserror::Error)]
#[error("cache {path}: can't {what}: {source}")]
pub struct CacheError {
    path: String,
    what: &'static str,
    source: io::Error,
}

/// What a cache holds.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// An artifact.
    Blob,
    /// A manifest whose `_SUCCESS` was seen.
    Manifest,
}

impl Cache {
    /// A cache in a folder. Nothing is made or checked yet: what can't be written is told by the first write.
    pub fn new(dir: PathBuf, bytes_max: u64) -> Self {
        let inner = Inner { dir, bytes_max, bytes: AtomicU64::new(0), pins: Mutex::default() };
        Self { inner: Arc::new(inner) }
    }

    /// Counts what is there, and removes what processes that are gone left half-written.
    pub fn sweep(&self) {
        self.inner.bytes.store(self.kept().map(|(_, size, _)| size).sum(), Ordering::Relaxed);
        for (path, _, used) in files(&self.folder("tmp")) {
            if used.elapsed().is_ok_and(|age| age > STALE) {
                let _ = fs::remove_file(path);
            }
        }
    }

    /// The folder of the catalogs.
    pub fn catalog_dir(&self) -> PathBuf {
        self.folder("catalog")
    }

    /// What is kept under a digest; none where nothing is, or where it is no longer what it was (it is then removed).
    pub fn read(&self, kind: Kind, digest: &Digest) -> Result<Option<Vec<u8>>, CacheError> {
        let path = self.path(kind, digest);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(failed(&path, "read", e)),
        };
        if Digest::of(&bytes) != *digest {
            tracing::warn!(path = %path.display(), "a cached file has changed on disk: fetched again");
            let _ = fs::remove_file(&path);
            return Ok(None);
        }
        touch(&path);
        Ok(Some(bytes))
    }

    /// Where what is kept under a digest lies, once it is seen to be what it was: for files that are not to be read into
    /// memory. None where nothing is, or where it has changed (it is then removed).
    pub fn check(&self, kind: Kind, digest: &Digest) -> Result<Option<PathBuf>, CacheError> {
        let path = self.path(kind, digest);
        match digest_of(&path) {
            Ok(came) if came == *digest => {
                touch(&path);
                Ok(Some(path))
            }
            Ok(_) => {
                tracing::warn!(path = %path.display(), "a cached file has changed on disk: fetched again");
                let _ = fs::remove_file(&path);
                Ok(None)
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(failed(&path, "read", e)),
        }
    }

    /// Whether something is kept under a digest, unchecked.
    pub fn has(&self, kind: Kind, digest: &Digest) -> bool {
        self.path(kind, digest).exists()
    }

    /// Keeps bytes under their digest.
    pub fn write(&self, kind: Kind, digest: &Digest, bytes: &[u8]) -> Result<(), CacheError> {
        let size = bytes.len() as u64;
        let temporary = self.temporary()?;
        let write = || File::create(temporary.path()).and_then(|mut file| file.write_all(bytes));
        let written = match write() {
            Err(e) if e.kind() == io::ErrorKind::StorageFull && self.give_way(size) => write(),
            written => written,
        };
        written.map_err(|e| self.unwritten(e))?;
        self.adopt(kind, digest, temporary, size)
    }

    /// The disk is full: removes what was not used for longest until `size` bytes are free again, or only what is pinned
    /// is left. Whether anything went.
    pub fn give_way(&self, size: u64) -> bool {
        let before = self.kept().map(|(_, size, _)| size).sum::<u64>();
        let left = self.shrink(before.saturating_sub(size));
        if left < before {
            tracing::warn!(dir = %self.inner.dir.display(), bytes = before - left, "the cache's disk is full: unused files removed");
        }
        left < before
    }

    /// Why a temporary file could not be written. Its name, which is never the same, is left out.
    pub fn unwritten(&self, source: io::Error) -> CacheError {
        failed(&self.folder("tmp"), "write", source)
    }

    /// A path for a file that is about to be written, on the same file system.
    pub fn temporary(&self) -> Result<Temporary, CacheError> {
        let folder = self.folder("tmp");
        fs::create_dir_all(&folder).map_err(|e| failed(&folder, "make the folder", e))?;
        Ok(Temporary { path: folder.join(format!("{:032x}", rand::random::<u128>())) })
    }

    /// Takes over a temporary file whose content has this digest: syncs and renames it, and makes room.
    pub fn adopt(&self, kind: Kind, digest: &Digest, temporary: Temporary, size: u64) -> Result<(), CacheError> {
        let path = self.path(kind, digest);
        let adopted = (|| {
            File::open(temporary.path())?.sync_all()?;
            let folder = path.parent().unwrap_or(&self.inner.dir);
            fs::create_dir_all(folder)?;
            fs::rename(temporary.path(), &path)?;
            File::open(folder)?.sync_all()
        })();
        adopted.map_err(|e| failed(&path, "write", e))?;
        if self.inner.bytes.fetch_add(size, Ordering::Relaxed) + size > self.inner.bytes_max {
            self.shrink(self.inner.bytes_max);
        }
        Ok(())
    }

    /// Keeps artifacts and manifests from being thrown out.
    pub fn pin(&self, digests: Vec<Digest>) -> Pins {
        let mut pins = self.inner.pins.lock().unwrap_or_else(PoisonError::into_inner);
        digests.iter().for_each(|digest| *pins.entry(*digest).or_default() += 1);
        drop(pins);
        Pins { cache: self.clone(), digests }
    }

    /// Removes what was not used for longest, until `most` bytes or only what is pinned is left. What is left, in bytes.
    fn shrink(&self, most: u64) -> u64 {
        let mut kept: Vec<_> = self.kept().collect();
        kept.sort_by_key(|(_, _, used)| *used);
        let mut bytes: u64 = kept.iter().map(|(_, size, _)| size).sum();
        for (path, size, _) in kept {
            if bytes <= most {
                break;
            }
            let digest = path.file_name().and_then(|n| n.to_str()).and_then(|n| n.parse::<Digest>().ok());
            let pins = self.inner.pins.lock().unwrap_or_else(PoisonError::into_inner);
            if digest.is_some_and(|d| pins.contains_key(&d)) {
                continue;
            }
            if fs::remove_file(&path).is_ok() {
                bytes -= size;
            }
        }
        self.inner.bytes.store(bytes, Ordering::Relaxed);
        bytes
    }

    fn kept(&self) -> impl Iterator<Item = (PathBuf, u64, SystemTime)> {
        files(&self.folder("blobs")).chain(files(&self.folder("manifests")))
    }

    fn folder(&self, name: &str) -> PathBuf {
        self.inner.dir.join(name)
    }

    fn path(&self, kind: Kind, digest: &Digest) -> PathBuf {
        let folder = match kind {
            Kind::Blob => "blobs",
            Kind::Manifest => "manifests",
        };
        self.folder(folder).join(digest.to_string())
    }
}

impl Temporary {
    /// Where to write.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // An adopted one is there no more.
        let _ = fs::remove_file(&self.path);
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        let mut pins = self.cache.inner.pins.lock().unwrap_or_else(PoisonError::into_inner);
        for digest in &self.digests {
            if let Some(count) = pins.get_mut(digest) {
                *count -= 1;
                if *count == 0 {
                    pins.remove(digest);
                }
            }
        }
    }
}

fn failed(path: &Path, what: &'static str, source: io::Error) -> CacheError {
    CacheError { path: path.display().to_string(), what, source }
}

/// Marks a file as used now; a cache that can only be read stays as it is.
fn touch(path: &Path) {
    if let Ok(file) = File::open(path) {
        let _ = file.set_times(FileTimes::new().set_modified(SystemTime::now()));
    }
}

/// The files of a folder with size and time of last use; none where it can't be read.
fn files(folder: &Path) -> impl Iterator<Item = (PathBuf, u64, SystemTime)> + use<> {
    fs::read_dir(folder).into_iter().flatten().filter_map(|entry| {
        let entry = entry.ok()?;
        let metadata = entry.metadata().ok()?;
        Some((entry.path(), metadata.len(), metadata.modified().ok()?))
    })
}

/// The digest of a file of any size, which is never in memory whole.
pub(crate) fn digest_of(path: &Path) -> io::Result<Digest> {
    let mut hasher = Sha256::new();
    io::copy(&mut File::open(path)?, &mut hasher)?;
    Ok(Digest::from_bytes(hasher.finalize().into()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_kept_reads_back_until_it_changes_on_disk() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::new(dir.path().join("cache"), 1 << 20);
        let digest = Digest::of("abc");
        assert!(cache.read(Kind::Blob, &digest).unwrap().is_none());
        cache.write(Kind::Blob, &digest, b"abc").unwrap();
        assert_eq!(cache.read(Kind::Blob, &digest).unwrap().as_deref(), Some(&b"abc"[..]));
        assert!(!cache.has(Kind::Manifest, &digest));
        fs::write(cache.path(Kind::Blob, &digest), b"abd").unwrap();
        assert!(cache.read(Kind::Blob, &digest).unwrap().is_none());
        assert!(!cache.has(Kind::Blob, &digest));
    }

    #[test]
    fn what_is_given_up_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::new(dir.path().to_owned(), 1 << 20);
        let temporary = cache.temporary().unwrap();
        fs::write(temporary.path(), b"half").unwrap();
        drop(temporary);
        cache.write(Kind::Blob, &Digest::of("abc"), b"abc").unwrap();
        assert_eq!(files(&cache.folder("tmp")).count(), 0);
    }

    #[test]
    fn the_longest_unused_goes_first_and_what_is_pinned_stays() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::new(dir.path().to_owned(), 10);
        let keep = |content: &str, age: u64| {
            let digest = Digest::of(content);
            cache.write(Kind::Blob, &digest, content.as_bytes()).unwrap();
            let file = File::options().write(true).open(cache.path(Kind::Blob, &digest)).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(age)).unwrap();
            digest
        };
        let oldest = keep("aaaa", 300);
        let older = keep("bbbb", 200);
        let pins = cache.pin(vec![oldest]);
        let newest = keep("cccc", 0);
        let has = |digest| cache.has(Kind::Blob, &digest);
        assert_eq!((has(oldest), has(older), has(newest)), (true, false, true));
        drop(pins);
        keep("dddd", 0);
        assert!(!has(oldest));
    }

    #[test]
    fn a_folder_that_cannot_be_written_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        let error = Cache::new(file, 10).write(Kind::Blob, &Digest::of(""), b"").unwrap_err().to_string();
        assert!(error.contains("file/tmp") && error.contains("make the folder"), "{error}");
    }

    #[test]
    fn a_file_longer_than_any_buffer_has_the_digest_of_its_bytes() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for len in [0, 1, (1 << 20) + 7] {
            let bytes: Vec<u8> = (0..len).map(|at: usize| (at % 251) as u8).collect();
            std::fs::write(file.path(), &bytes).unwrap();
            assert_eq!(digest_of(file.path()).unwrap(), Digest::of(&bytes));
        }
    }
}
