//! What can go wrong with a folder: read-only, full, missing, left half-written.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use headgate_registry::PublishError;
use headgate_registry::store::{Store, StoreError};
use headgate_registry::watch::Watcher;
use headgate_registry::{models, release};

use crate::sample::{WHO, file_store, model, promotion, publish, published, version};

/// A small file system of its own; unmounted with this value.
struct Mount(PathBuf);

impl Mount {
    /// None, and a line that says so, where this user may not mount.
    fn new(at: &Path, options: &str) -> Option<Self> {
        std::fs::create_dir_all(at).unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(at).output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self(at.to_owned())),
            _ => {
                let _ = writeln!(std::io::stderr(), "skipped: this user may not mount a tmpfs");
                None
            }
        }
    }

    fn remount(&self, options: &str) {
        let done = Command::new("mount").args(["-o", &format!("remount,{options}")]).arg(&self.0).status().unwrap();
        assert!(done.success());
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[tokio::test]
async fn a_read_only_folder_is_served_from_and_says_why_it_takes_nothing() {
    let (dir, files) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let Some(mount) = Mount::new(&dir.path().join("store"), "size=4m") else { return };
    let (store, m) = (file_store(&mount.0).await, model("m"));
    let one = published(&store, &m, "a", files.path()).await;
    release::promote(&store, promotion(&m, one), WHO).await.unwrap();
    mount.remount("ro");
    let reader = file_store(&mount.0).await;
    let catalog = Watcher::new(reader.clone()).poll().await.unwrap().unwrap();
    assert_eq!(catalog.release(&m).unwrap().serve[0].version, one);
    let error = publish(&reader, version(&m, "b", files.path())).await.unwrap_err();
    assert!(matches!(error, PublishError::Store(StoreError::ReadOnly { .. })), "{error}");
    let error = release::rollback(&reader, &m, "", WHO).await.unwrap_err();
    assert!(error.to_string().contains("the store is read-only"), "{error}");
}

#[tokio::test]
async fn a_full_disk_is_told_and_leaves_nothing_behind() {
    let (dir, files) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let Some(mount) = Mount::new(&dir.path().join("store"), "size=2m") else { return };
    let (store, m) = (file_store(&mount.0).await, model("m"));
    let one = published(&store, &m, "a", files.path()).await;
    let large = version(&m, "b", files.path());
    std::fs::write(&large.files[0].1, vec![7; 4 << 20]).unwrap();
    let error = publish(&store, large.clone()).await.unwrap_err();
    assert!(matches!(error, PublishError::Store(StoreError::Full { .. })), "{error}");
    assert_eq!(std::fs::read_dir(mount.0.join(".tmp")).unwrap().count(), 0);
    release::promote(&store, promotion(&m, one), WHO).await.unwrap();
    // With room again, the same publish goes on.
    mount.remount("size=16m");
    publish(&store, large).await.unwrap();
}

#[tokio::test]
async fn a_folder_that_is_missing_is_no_empty_store() {
    let (dir, files) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = file_store(&dir.path().join("typo")).await;
    let error = models(&store).await.unwrap_err();
    assert!(matches!(error, StoreError::NoStore { .. }) && error.to_string().contains("typo"), "{error}");
    assert!(Watcher::new(store.clone()).poll().await.unwrap_err().to_string().contains("does not exist"));
    publish(&store, version(&model("m"), "a", files.path())).await.unwrap();
    assert_eq!(models(&store).await.unwrap(), [model("m")]);
    let blocked = dir.path().join("file");
    std::fs::write(&blocked, "").unwrap();
    let error = publish(&file_store(&blocked).await, version(&model("m"), "a", files.path())).await.unwrap_err();
    assert!(error.to_string().contains("file"), "{error}");
}

#[tokio::test]
async fn what_killed_writers_left_is_swept_and_never_listed() {
    let dir = tempfile::tempdir().unwrap();
    let tmp = dir.path().join(".tmp");
    std::fs::create_dir(&tmp).unwrap();
    let (old, new) = (tmp.join("w-old"), tmp.join("w-new"));
    let two_days = std::time::SystemTime::now() - std::time::Duration::from_secs(2 * 86_400);
    std::fs::File::create(&old).unwrap().set_modified(two_days).unwrap();
    std::fs::write(&new, "half").unwrap();
    let store: Store = file_store(dir.path()).await;
    store.create("doc", "x").await.unwrap();
    let listing = store.list("").await.unwrap();
    assert_eq!((listing.keys, listing.folders.len()), (vec!["doc".to_owned()], 0));
    assert!(!old.exists() && new.exists());
}
