//! Data in a bucket of a real S3 server (MinIO).

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use headgate_registry::store::AccessKey;
use headgate_registry::{Store, StoreOptions};
use headgate_trainer::data::{self, Data, DataError, Source};
use tempfile::TempDir;

const KEY: &str = "headgate-test";
const SECRET: &str = "headgate-test-secret";

/// A server with one bucket, `data`; its process ends with this value.
struct Minio {
    process: Child,
    options: StoreOptions,
    _dir: TempDir,
}

impl Drop for Minio {
    fn drop(&mut self) {
        _ = self.process.kill();
        _ = self.process.wait();
    }
}

/// Where the program is: `HEADGATE_MINIO`, the path, or Go's folder.
fn program() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("HEADGATE_MINIO") {
        return Some(named.into());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let go = std::env::var_os("HOME").map(|home| PathBuf::from(home).join("go/bin"));
    std::env::split_paths(&path).chain(go).map(|dir| dir.join("minio")).find(|program| program.is_file())
}

impl Minio {
    async fn start(test: &str) -> Option<(Self, Store)> {
        let Some(program) = program() else {
            let _ = writeln!(std::io::stderr(), "skipped: {test}: minio not found (set HEADGATE_MINIO)");
            return None;
        };
        let dir = tempfile::tempdir().unwrap();
        // A folder of its own is a bucket to it.
        std::fs::create_dir(dir.path().join("data")).unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let process = Command::new(program)
            .args(["server", "--quiet", "--address", &format!("127.0.0.1:{port}"), "--console-address", "127.0.0.1:0"])
            .arg(dir.path())
            .env("MINIO_ROOT_USER", KEY)
            .env("MINIO_ROOT_PASSWORD", SECRET)
            .env("MINIO_UPDATE", "off")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let options = StoreOptions {
            endpoint: Some(format!("http://127.0.0.1:{port}")),
            access_key: Some(AccessKey { id: KEY.to_owned(), secret: SECRET.to_owned() }),
            ..StoreOptions::default()
        };
        let minio = Self { process, options, _dir: dir };
        let store = Store::open(&"s3://data/in".parse().unwrap(), &minio.options).await.unwrap();
        let began = Instant::now();
        while let Err(error) = store.exists("x").await {
            assert!(began.elapsed() < Duration::from_secs(60), "minio does not start: {error}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Some((minio, store))
    }

    async fn read(&self, uri: &str) -> Result<Data, DataError> {
        data::read(&data::resolve(&[Source::Uri(uri.to_owned())], &self.options).await?)
    }
}

#[tokio::test]
async fn objects_are_read_by_name_wildcard_and_folder() {
    let test = "objects_are_read_by_name_wildcard_and_folder";
    let Some((minio, store)) = Minio::start(test).await else { return };
    for (key, text) in
        [("a.csv", "x\n1\n2\n"), ("b.csv", "x\n3.5\n"), ("notes.txt", "no data"), ("deep/c.csv", "x\n9\n")]
    {
        store.create(key, text).await.unwrap();
    }
    for (uri, rows) in [
        ("s3://data/in/a.csv", 2),
        ("s3://data/in/*.csv", 3),
        ("s3://data/in/", 3),
        ("s3://data/in/[b]?csv", 1),
        ("s3://data/in/deep/c.csv", 1),
    ] {
        let data = minio.read(uri).await.unwrap_or_else(|error| panic!("{uri}: {error}"));
        assert_eq!(data.table.rows, rows, "{uri}");
    }
    let both = minio.read("s3://data/in/*.csv").await.unwrap();
    assert_eq!(both.uris, ["s3://data/in/a.csv", "s3://data/in/b.csv"]);
    for (uri, words) in [
        ("s3://data/in/z.csv", "z.csv is not there"),
        ("s3://data/in/*.parquet", "0 objects fit"),
        ("s3://data", "a bucket and a key expected"),
        ("s3://other/x.csv", "other"),
    ] {
        let error = minio.read(uri).await.unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
}
