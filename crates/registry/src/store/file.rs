//! A folder as a store: create-only by a rename that replaces nothing, compare-and-swap under a lock of the whole folder,
//! fsync before every acknowledgement. An entity tag is the sha256 of the content.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use headgate_contract::Digest;
use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;

use super::bucket::{Bucket, ETag, Listing, Object, Part, When};
use super::error::StoreError;

mod fault;
mod place;

use fault::on_read;
pub(super) use fault::on_write;

/// Where unfinished writes are: no key can begin with a dot.
const TMP: &str = ".tmp";
/// Whose lock a compare-and-swap holds.
const LOCK: &str = ".lock";
/// How much is copied at once, in bytes.
const COPY_BYTES: usize = 1 << 20;

/// A folder as a store.
#[derive(Clone, Debug)]
pub(super) struct FileBucket {
    root: Arc<PathBuf>,
    /// How long a compare-and-swap waits for another's.
    lock_timeout: Duration,
    /// Whether what killed writers left was looked for.
    swept: Arc<AtomicBool>,
}

/// What a blocking part of a write needs.
type Told = Box<dyn Fn(u64) + Send>;

impl FileBucket {
    pub(super) fn new(root: PathBuf, lock_timeout: Duration) -> Self {
        Self { root: Arc::new(root), lock_timeout, swept: Arc::default() }
    }

    fn path(&self, key: &str) -> PathBuf {
        self.root.join(key)
    }

    /// The object as errors name it.
    fn at(&self, key: &str) -> String {
        format!("file://{}", self.path(key).display())
    }

    /// Why a read found nothing: the object is missing, or the whole store.
    fn missing(&self, key: &str) -> StoreError {
        match self.root.is_dir() {
            true => StoreError::NotFound { at: self.at(key) },
            false => StoreError::NoStore { at: format!("file://{}", self.root.display()) },
        }
    }

    fn read_fault(&self, key: &str, error: &io::Error) -> StoreError {
        match fault::is_missing(error) {
            true => self.missing(key),
            false => on_read(self.at(key), error),
        }
    }

    fn open(&self, key: &str) -> Result<(File, u64), StoreError> {
        let opened = File::open(self.path(key)).and_then(|file| Ok((file.metadata()?, file)));
        match opened {
            Ok((metadata, file)) if metadata.is_file() => Ok((file, metadata.len())),
            Ok(_) => Err(self.missing(key)),
            Err(error) => Err(self.read_fault(key, &error)),
        }
    }

    fn read(&self, key: &str, limit: u64) -> Result<Vec<u8>, StoreError> {
        let (file, size) = self.open(key)?;
        if size > limit {
            return Err(StoreError::TooLarge { at: self.at(key), limit });
        }
        let mut bytes = Vec::with_capacity(size as usize);
        file.take(limit).read_to_end(&mut bytes).map_err(|error| on_read(self.at(key), &error))?;
        Ok(bytes)
    }

    fn read_part(&self, key: &str, from: u64, len: u64) -> Result<Part, StoreError> {
        let (file, total) = self.open(key)?;
        let mut bytes = vec![0; len.min(total.saturating_sub(from)) as usize];
        file.read_exact_at(&mut bytes, from).map_err(|error| on_read(self.at(key), &error))?;
        Ok(Part { bytes: bytes.into(), total })
    }

    /// A synced temporary file with what `fill` writes, and the digest of that.
    fn stage(
        &self,
        key: &str,
        fill: impl FnOnce(&mut dyn Write) -> Result<(), StoreError>,
    ) -> Result<(NamedTempFile, ETag), StoreError> {
        let fail = |error: io::Error| on_write(self.at(key), &error);
        let folder = self.root.join(TMP);
        place::make_folder(&folder).map_err(fail)?;
        if !self.swept.swap(true, Ordering::Relaxed) {
            place::sweep(&folder);
        }
        // As the user's mask allows: a backend that runs as another user has to be able to read what a trainer wrote.
        let readable = std::fs::Permissions::from_mode(0o666);
        let mut staged =
            tempfile::Builder::new().prefix("w-").permissions(readable).tempfile_in(&folder).map_err(fail)?;
        let mut hashed = Hashed { file: staged.as_file_mut(), hasher: Sha256::new() };
        fill(&mut hashed)?;
        let digest = Digest::from_bytes(hashed.hasher.finalize().into());
        staged.as_file().sync_all().map_err(fail)?;
        Ok((staged, ETag(digest.to_string())))
    }

    fn create(&self, key: &str, staged: NamedTempFile) -> Result<(), StoreError> {
        match place::create(&self.root, staged, &self.path(key)) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(StoreError::Exists { at: self.at(key) }),
            Err(error) => Err(on_write(self.at(key), &error)),
        }
    }

    fn write(&self, key: &str, bytes: &[u8], expected: Option<&ETag>) -> Result<ETag, StoreError> {
        let Some(expected) = expected else {
            if self.path(key).exists() {
                return Err(StoreError::Exists { at: self.at(key) });
            }
            let (staged, etag) = self.stage(key, |file| write_all(file, bytes, self.at(key)))?;
            return self.create(key, staged).map(|()| etag);
        };
        let (staged, etag) = self.stage(key, |file| write_all(file, bytes, self.at(key)))?;
        let _lock = self.lock(key)?;
        match self.read(key, u64::MAX) {
            Ok(now) if Digest::of(&now).to_string() == expected.0 => {}
            Ok(_) | Err(StoreError::NotFound { .. }) => return Err(StoreError::Changed { at: self.at(key) }),
            Err(error) => return Err(error),
        }
        place::replace(staged, &self.path(key)).map_err(|error| on_write(self.at(key), &error))?;
        Ok(etag)
    }

    fn write_file(&self, key: &str, path: &Path, sha256: &Digest, written: &Told) -> Result<ETag, StoreError> {
        if self.path(key).exists() {
            return Err(StoreError::Exists { at: self.at(key) });
        }
        let unreadable =
            |error: io::Error| StoreError::Refused { at: path.display().to_string(), why: error.to_string() };
        let mut source = File::open(path).map_err(unreadable)?;
        let (staged, etag) = self.stage(key, |file| {
            let mut buffer = vec![0; COPY_BYTES];
            let mut done = 0;
            loop {
                let read = source.read(&mut buffer).map_err(unreadable)?;
                if read == 0 {
                    return Ok(());
                }
                write_all(file, &buffer[..read], self.at(key))?;
                done += read as u64;
                written(done);
            }
        })?;
        if etag.0 != sha256.to_string() {
            return Err(StoreError::FileChanged { path: path.display().to_string() });
        }
        self.create(key, staged).map(|()| etag)
    }

    /// The lock of the whole folder, held until it is dropped.
    fn lock(&self, key: &str) -> Result<File, StoreError> {
        let fail = |error: io::Error| on_write(self.at(key), &error);
        let file = File::options().create(true).append(true).open(self.root.join(LOCK)).map_err(fail)?;
        let deadline = std::time::Instant::now() + self.lock_timeout;
        loop {
            match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(file),
                Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR)
                    if std::time::Instant::now() < deadline =>
                {
                    std::thread::sleep(Duration::from_millis(2));
                }
                Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR) => {
                    let timeout_ms = self.lock_timeout.as_millis() as u64;
                    return Err(StoreError::Timeout { at: self.at(key), timeout_ms });
                }
                Err(error) => return Err(fail(error.into())),
            }
        }
    }

    fn read_folder(&self, prefix: &str) -> Result<Listing, StoreError> {
        let mut listing = Listing::default();
        let entries = match fs::read_dir(self.path(prefix)) {
            Ok(entries) => entries,
            Err(error) if fault::is_missing(&error) && self.root.is_dir() => return Ok(listing),
            Err(error) => return Err(self.read_fault(prefix, &error)),
        };
        for entry in entries {
            let entry = entry.map_err(|error| on_read(self.at(prefix), &error))?;
            // A name that is no UTF-8 or begins with a dot was never a key.
            let Some(name) = entry.file_name().to_str().filter(|name| !name.starts_with('.')).map(str::to_owned) else {
                continue;
            };
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => listing.folders.push(format!("{prefix}{name}/")),
                Ok(_) => listing.keys.push(format!("{prefix}{name}")),
                Err(error) => return Err(on_read(self.at(prefix), &error)),
            }
        }
        listing.folders.sort();
        listing.keys.sort();
        Ok(listing)
    }

    fn remove(&self, key: &str) -> Result<(), StoreError> {
        let path = self.path(key);
        match fs::remove_file(&path) {
            Ok(()) => place::tidy(&self.root, &path),
            Err(error) if fault::is_missing(&error) => {}
            Err(error) => return Err(on_write(self.at(key), &error)),
        }
        Ok(())
    }

    /// Runs file work where it may block.
    async fn blocking<T: Send + 'static>(
        &self,
        key: &str,
        work: impl FnOnce(Self, &str) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (bucket, owned) = (self.clone(), key.to_owned());
        let done = tokio::task::spawn_blocking(move || work(bucket, &owned)).await;
        done.unwrap_or_else(|error| Err(StoreError::Unreachable { at: self.at(key), why: error.to_string() }))
    }
}

#[async_trait]
impl Bucket for FileBucket {
    async fn get(&self, key: &str, limit: u64, unless: Option<&ETag>) -> Result<Option<Object>, StoreError> {
        let unless = unless.cloned();
        self.blocking(key, move |bucket, key| {
            let bytes = bucket.read(key, limit)?;
            let etag = ETag(Digest::of(&bytes).to_string());
            Ok((unless.as_ref() != Some(&etag)).then(|| Object { bytes: bytes.into(), etag }))
        })
        .await
    }

    async fn get_part(&self, key: &str, from: u64, len: u64) -> Result<Part, StoreError> {
        self.blocking(key, move |bucket, key| bucket.read_part(key, from, len)).await
    }

    async fn size(&self, key: &str) -> Result<Option<u64>, StoreError> {
        self.blocking(key, |bucket, key| match bucket.open(key) {
            Ok((_, size)) => Ok(Some(size)),
            Err(StoreError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        })
        .await
    }

    async fn put(&self, key: &str, bytes: Bytes, when: When<'_>) -> Result<ETag, StoreError> {
        let expected = match when {
            When::Absent => None,
            When::Is(etag) => Some(etag.clone()),
        };
        self.blocking(key, move |bucket, key| bucket.write(key, &bytes, expected.as_ref())).await
    }

    async fn put_file(
        &self,
        key: &str,
        path: &Path,
        sha256: &Digest,
        written: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<ETag, StoreError> {
        let (path, sha256) = (path.to_owned(), *sha256);
        let (tell, mut told) = tokio::sync::watch::channel(0);
        let tell: Told = Box::new(move |done| _ = tell.send_replace(done));
        let work = self.blocking(key, move |bucket, key| bucket.write_file(key, &path, &sha256, &tell));
        tokio::pin!(work);
        loop {
            tokio::select! {
                biased;
                Ok(()) = told.changed() => written(*told.borrow_and_update()),
                result = &mut work => return result,
            }
        }
    }

    async fn list(&self, prefix: &str) -> Result<Listing, StoreError> {
        self.blocking(prefix, |bucket, prefix| bucket.read_folder(prefix)).await
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.blocking(key, |bucket, key| bucket.remove(key)).await
    }
}

/// A file that is hashed while it is written.
struct Hashed<'a> {
    file: &'a mut File,
    hasher: Sha256,
}

impl Write for Hashed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn write_all(file: &mut dyn Write, bytes: &[u8], at: String) -> Result<(), StoreError> {
    file.write_all(bytes).map_err(|error| on_write(at, &error))
}
