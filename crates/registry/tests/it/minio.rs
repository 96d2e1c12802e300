//! A real S3 server process: MinIO on a free port of the loopback, with a folder of its own.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use headgate_registry::store::{AccessKey, Store, StoreOptions};
use tempfile::TempDir;

const KEY: &str = "headgate-test";
const SECRET: &str = "headgate-test-secret";

/// The server; its process ends with this value.
pub(crate) struct Minio {
    process: Child,
    endpoint: String,
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
    /// Starts one; none, and a line that says so, where there is no program.
    pub(crate) async fn start() -> Option<Self> {
        let Some(program) = program() else {
            let _ = writeln!(
                std::io::stderr(),
                "skipped: minio not found (set HEADGATE_MINIO, or go install github.com/minio/minio@latest)"
            );
            return None;
        };
        let dir = tempfile::tempdir().unwrap();
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
        let minio = Self { process, endpoint: format!("http://127.0.0.1:{port}"), _dir: dir };
        minio.make_bucket().await;
        Some(minio)
    }

    async fn make_bucket(&self) {
        let credentials = Credentials::builder().access_key_id(KEY).secret_access_key(SECRET).provider_name("test");
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .credentials_provider(credentials.build())
            .endpoint_url(&self.endpoint)
            .region(Region::new("us-east-1"))
            .force_path_style(true)
            .build();
        let client = aws_sdk_s3::Client::from_conf(config);
        let began = Instant::now();
        while let Err(error) = client.create_bucket().bucket("models").send().await {
            assert!(began.elapsed() < Duration::from_secs(60), "minio does not start: {error:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    pub(crate) async fn store(&self, prefix: &str) -> Store {
        let options = StoreOptions {
            endpoint: Some(self.endpoint.clone()),
            access_key: Some(AccessKey { id: KEY.to_owned(), secret: SECRET.to_owned() }),
            ..StoreOptions::default()
        };
        Store::open(&format!("s3://models/{prefix}").parse().unwrap(), &options).await.unwrap()
    }
}
