//! What others break: the store, the cache, the disk. What was loaded goes on, and the rest comes when it can.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use headgate_contract::catalog::Head;
use headgate_contract::{Digest, layout};

use crate::support::models::name;
use crate::support::{Bucket, Server, get, linear, post, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_gone_changes_no_answer_and_a_restart_serves_from_the_cache() {
    let bucket = Bucket::new().await;
    bucket.release(linear("bank", [0.5, -2.0])).await;
    bucket.release(linear("bank", [0.6, -2.0])).await;
    let cache = tempfile::tempdir().unwrap();
    let server = Server::start_at(&bucket, cache.path(), &[]).await;
    server.ready().await;
    server.until_state("bank", 1, "READY").await;
    let (here, away) = (bucket.path(""), bucket.dir.path().join("away"));
    std::fs::rename(&here, &away).unwrap();
    until("the error is told", || async { server.fleet_state("").await["catalog"]["error"].is_string() }).await;
    assert_eq!(server.answers("bank").await, "2");
    drop(server);
    let again = Server::start_at(&bucket, cache.path(), &[]).await;
    again.ready().await;
    assert_eq!(again.answers("bank").await, "2");
    // One with an empty cache is not ready, and says why.
    let empty = Server::start_with(&bucket, &[]).await;
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert_eq!(get(empty.addr, "/v2/health/ready").await.status, 503);
    std::fs::rename(&away, &here).unwrap();
    empty.ready().await;
    bucket.release(linear("bank", [0.7, -2.0])).await;
    again.until_answers("bank", 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_byte_that_flips_in_the_cache_is_fetched_again() {
    let bucket = Bucket::new().await;
    bucket.release(linear("bank", [0.5, -2.0])).await;
    let cache = tempfile::tempdir().unwrap();
    drop({
        let server = Server::start_at(&bucket, cache.path(), &[]).await;
        server.ready().await;
        server
    });
    for folder in ["blobs", "manifests"] {
        let file = std::fs::read_dir(cache.path().join(folder)).unwrap().next().unwrap().unwrap().path();
        let mut bytes = std::fs::read(&file).unwrap();
        bytes[5] ^= 4;
        std::fs::write(&file, bytes).unwrap();
    }
    let server = Server::start_at(&bucket, cache.path(), &[]).await;
    server.ready().await;
    assert_eq!(server.answers("bank").await, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_the_store_does_not_give_now_is_tried_again() {
    let bucket = Bucket::new().await;
    bucket.release(linear("bank", [0.5, -2.0])).await;
    let server = Server::start(&bucket).await;
    let second = bucket.publish(linear("bank", [0.6, -2.0])).await;
    // A folder that nobody may enter; root may, so there a loop of links stands for the fault.
    let dir = bucket.path(&layout::version_dir(&name("bank"), second.version));
    let (files, aside) = (dir.join("files"), dir.join("aside"));
    std::fs::rename(&files, &aside).unwrap();
    std::os::unix::fs::symlink("files", &files).unwrap();
    bucket.promote("bank", second.version, None).await;
    until("the reason is told", || async { !server.state("bank", 2).await.1.is_empty() }).await;
    assert_eq!(server.answers("bank").await, "1");
    std::fs::remove_file(&files).unwrap();
    std::fs::rename(&aside, &files).unwrap();
    server.until_answers("bank", 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unwritable_cache_is_told_and_tried_again() {
    let bucket = Bucket::new().await;
    bucket.release(linear("bank", [0.5, -2.0])).await;
    let cache = tempfile::tempdir().unwrap();
    let server = Server::start_at(&bucket, cache.path(), &[]).await;
    server.ready().await;
    // A file where the folder should be: that stops root too.
    let tmp = cache.path().join("tmp");
    std::fs::remove_dir_all(&tmp).unwrap();
    std::fs::write(&tmp, "").unwrap();
    std::fs::set_permissions(&tmp, std::fs::Permissions::from_mode(0o400)).unwrap();
    bucket.release(linear("bank", [0.6, -2.0])).await;
    until("the reason is told", || async { server.state("bank", 2).await.1.contains("cache ") }).await;
    assert_eq!(server.answers("bank").await, "1");
    let named = post(server.addr, "/v1/models/bank/versions/2:predict", r#"{"instances":[[1,2]]}"#).await;
    assert!(named.status == 503 && named.header("retry-after") == "1", "{named:?}");
    std::fs::remove_file(&tmp).unwrap();
    server.until_answers("bank", 2).await;
}

/// A folder on a disk of 64 KiB, where this user may mount one.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn new(test: &str) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"]).arg(dir.path()).output();
        if mounted.is_ok_and(|o| o.status.success()) {
            return Some(Self(dir));
        }
        let _ = writeln!(std::io::stderr(), "skipped: {test}: no right to mount a small tmpfs");
        None
    }

    /// Takes all that is free.
    fn fill(&self) -> PathBuf {
        let filler = self.0.path().join("filler");
        let _ = std::fs::write(&filler, vec![1; 64 << 10]);
        filler
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).output();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_told_and_tried_again() {
    let Some(disk) = SmallDisk::new("a_full_disk_is_told_and_tried_again") else { return };
    let bucket = Bucket::new().await;
    bucket.release(linear("bank", [0.5, -2.0])).await;
    let server = Server::start_at(&bucket, disk.0.path(), &[]).await;
    server.ready().await;
    let filler = disk.fill();
    bucket.release(linear("bank", [0.6, -2.0])).await;
    until("the reason is told", || async { !server.state("bank", 2).await.1.is_empty() }).await;
    let reason = server.state("bank", 2).await.1;
    assert!(reason.starts_with("cache ") && reason.contains("No space left"), "{reason}");
    assert_eq!(server.answers("bank").await, "1");
    std::fs::remove_file(&filler).unwrap();
    server.until_answers("bank", 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_full_disk_what_is_not_used_makes_room() {
    let Some(disk) = SmallDisk::new("on_a_full_disk_what_is_not_used_makes_room") else { return };
    let bucket = Bucket::new().await;
    bucket.release(linear("bank", [0.5, -2.0])).await;
    let unused = vec![7; 20 << 10];
    let unused_at = disk.0.path().join("blobs").join(Digest::of(&unused).to_string());
    std::fs::create_dir(disk.0.path().join("blobs")).unwrap();
    std::fs::write(&unused_at, unused).unwrap();
    let server = Server::start_at(&bucket, disk.0.path(), &[]).await;
    server.ready().await;
    disk.fill();
    bucket.release(linear("bank", [0.6, -2.0])).await;
    server.until_answers("bank", 2).await;
    assert!(!unused_at.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_is_garbage_or_older_changes_nothing() {
    let bucket = Bucket::new().await;
    bucket.release(linear("bank", [0.5, -2.0])).await;
    let old = std::fs::read(bucket.path(layout::HEAD)).unwrap();
    bucket.release(linear("bank", [0.6, -2.0])).await;
    let server = Server::start(&bucket).await;
    for lie in [&b"{"[..], b"", &old] {
        std::fs::write(bucket.path(layout::HEAD), lie).unwrap();
        until("the error is told", || async { server.fleet_state("").await["catalog"]["error"].is_string() }).await;
        assert_eq!(server.answers("bank").await, "2");
    }
    assert_eq!(server.fleet_state("").await["catalog"]["generation"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_catalog_that_lacks_a_shard_changes_nothing_and_is_taken_once_it_is_whole() {
    let bucket = Bucket::new().await;
    bucket.release(linear("bank", [0.5, -2.0])).await;
    let old = std::fs::read(bucket.path(layout::HEAD)).unwrap();
    bucket.release(linear("bank", [0.6, -2.0])).await;
    let new = std::fs::read(bucket.path(layout::HEAD)).unwrap();
    let head: Head = serde_json::from_slice(&new).unwrap();
    let shard = bucket.path(&layout::shard(head.shards.values().next().unwrap()));
    let (file, away) = (shard.file_name().unwrap().to_str().unwrap(), bucket.dir.path().join("away"));
    // As a replica that lags: first the head of before, then the new one without its shard, at last all of it.
    std::fs::write(bucket.path(layout::HEAD), &old).unwrap();
    std::fs::rename(&shard, &away).unwrap();
    let server = Server::start(&bucket).await;
    assert_eq!(server.answers("bank").await, "1");
    assert_eq!(server.metric("headgate_bucket_poll_errors_total").await, "0");
    std::fs::write(bucket.path(layout::HEAD), &new).unwrap();
    let told = || async { server.fleet_state("").await["catalog"]["error"].to_string().contains(file) };
    until("the error is told", told).await;
    assert_eq!(server.fleet_state("").await["catalog"]["generation"], 1);
    assert_eq!(server.answers("bank").await, "1");
    assert_eq!(get(server.addr, "/v2/health/ready").await.status, 200);
    assert_eq!(server.metric("headgate_catalog_generation").await, "1");
    assert_ne!(server.metric("headgate_bucket_poll_errors_total").await, "0");
    std::fs::rename(&away, &shard).unwrap();
    server.until_answers("bank", 2).await;
    assert_eq!(server.metric("headgate_catalog_generation").await, "2");
    until("no error", || async { server.fleet_state("").await["catalog"]["error"].is_null() }).await;
}
