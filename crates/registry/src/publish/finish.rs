//! A claimed version becomes whole: files, manifest, and at last `_SUCCESS`.

use std::path::Path;
use std::sync::Mutex;

use bytes::Bytes;
use headgate_contract::manifest::{BYTES_MAX, FileEntry};
use headgate_contract::{Digest, Manifest, ModelName, Version, format, layout};

use super::{Progress, PublishError};
use crate::documents::{create_or_find, pause};
use crate::store::{Store, StoreError};
use crate::versions::read;

/// How often a file is sent whose upload's fate is not known and of which nothing is found.
const TRIES: u32 = 3;

/// What has become of a version that was to be finished.
pub(super) enum Finished {
    /// It is whole.
    Whole(Digest),
    /// It was closed: it will never be served.
    Abandoned,
}

/// Makes a version whole, from what is there and one's own files. The first manifest wins; whoever comes later takes it
/// as it is. `manifest` bears the version's number.
pub(super) async fn finish(
    store: &Store,
    manifest: &Manifest,
    paths: &[(FileEntry, std::path::PathBuf)],
    progress: &Mutex<&mut (dyn FnMut(Progress) + Send)>,
) -> Result<Finished, PublishError> {
    let (model, version) = (&manifest.model, manifest.version);
    let key = layout::manifest(model, version);
    let mut there = store.find(&key, BYTES_MAX).await?;
    if there.is_none() {
        for (entry, path) in paths {
            upload(store, model, version, entry, path, progress).await?;
        }
        create_or_find(store, &key, Bytes::from(format::write(manifest))).await?;
        there = Some(store.get(&key, BYTES_MAX).await?);
    }
    let stuck = |why: String| PublishError::Stuck { model: model.clone(), why: format!("version {version}: {why}") };
    let (digest, read) = read(there.map(|there| there.bytes).unwrap_or_default()).await;
    let read = read.map_err(|error| stuck(format!("manifest.json: {error}")))?;
    if read.abandoned.is_some() {
        return Ok(Finished::Abandoned);
    }
    let success = Bytes::from(format!("{digest}\n"));
    match create_or_find(store, &layout::success(model, version), success).await? {
        None => Ok(Finished::Whole(digest)),
        Some(other) => {
            let said = String::from_utf8_lossy(&other.bytes).trim().to_owned();
            match said == digest.to_string() {
                true => Ok(Finished::Whole(digest)),
                false => Err(stuck(format!("_SUCCESS says '{said}', the manifest has digest {digest}"))),
            }
        }
    }
}

async fn upload(
    store: &Store,
    model: &ModelName,
    version: Version,
    entry: &FileEntry,
    path: &Path,
    progress: &Mutex<&mut (dyn FnMut(Progress) + Send)>,
) -> Result<(), PublishError> {
    let key = layout::file(model, version, &entry.sha256, &entry.name);
    let tell = |done: u64| {
        let mut progress = progress.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        progress(Progress::Uploading { name: entry.name.clone(), done, bytes: entry.size });
    };
    let mut attempt = 0;
    loop {
        let error = match store.create_from_file(&key, path, &entry.sha256, &tell).await {
            Ok(_) => return Ok(()),
            Err(error) if error.uncertain() => error,
            Err(error) => return Err(error.into()),
        };
        // The key bears the content's digest: whoever wrote it wrote this.
        match store.size(&key).await {
            Ok(Some(size)) if size == entry.size => {
                tell(size);
                return Ok(());
            }
            Ok(Some(size)) => {
                let why = format!("{size} bytes, {} expected", entry.size);
                return Err(StoreError::Damaged { at: store.at(&key), why }.into());
            }
            Ok(None) if attempt < TRIES => {}
            Ok(None) => return Err(error.into()),
            Err(again) if again.retryable() && attempt < TRIES => {}
            Err(again) => return Err(again.into()),
        }
        attempt += 1;
        pause(attempt).await;
    }
}
