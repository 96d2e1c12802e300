//! Real servers, from the Python environments that `tools/setup test` makes: one that is not there is skipped by name.

use std::fs::{self, File};
use std::io::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use crate::gateway::Answer;

/// How long one may take to start on a busy machine.
const START: Duration = Duration::from_secs(120);

/// A running server.
pub(crate) struct Server {
    pub(crate) address: String,
    pub(crate) grpc: String,
    /// As the gateway lists it.
    pub(crate) listed: String,
    process: Child,
    log: PathBuf,
    client: Client<HttpConnector, Full<Bytes>>,
    _folder: tempfile::TempDir,
}

/// The environment's Python: named by a variable, else where `tools/setup` makes it.
fn python(variable: &str, environment: &str) -> Result<PathBuf, String> {
    let named = std::env::var_os(variable).map(PathBuf::from);
    let made = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.venv-clients").join(environment).join("bin/python");
    let python = named.unwrap_or(made);
    let there = python.is_file().then(|| python.clone());
    there.ok_or_else(|| {
        format!("{} is not there (tools/setup test makes it, {variable} names another)", python.display())
    })
}

/// A server that was started, or none and a line that says why.
pub(crate) fn or_skip(test: &str, server: Result<Server, String>) -> Option<Server> {
    match server {
        Ok(server) => Some(server),
        Err(why) => {
            let _ = writeln!(std::io::stderr(), "skipped: {test}: {why}");
            None
        }
    }
}

/// Free ports; all are held until all are known, so that no two are the same.
fn ports<const N: usize>() -> [u16; N] {
    let held: Vec<TcpListener> = (0..N).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    std::array::from_fn(|at| held[at].local_addr().unwrap().port())
}

impl Server {
    /// MLServer with model `sum`, whose version is called so.
    pub(crate) async fn mlserver(version: &str) -> Result<Self, String> {
        let python = python("HEADGATE_MLSERVER", "mlserver")?;
        let folder = tempfile::tempdir().unwrap();
        let model = folder.path().join("sum");
        fs::create_dir(&model).unwrap();
        fs::write(model.join("sum_model.py"), include_str!("models/mlserver.py")).unwrap();
        let settings = serde_json::json!({
            "name": "sum", "implementation": "sum_model.Sum", "parameters": {"version": version},
        });
        fs::write(model.join("model-settings.json"), settings.to_string()).unwrap();
        let [http, grpc, metrics] = ports();
        let settings = serde_json::json!({
            "host": "127.0.0.1", "http_port": http, "grpc_port": grpc, "metrics_port": metrics,
            "parallel_workers": 0, "debug": false,
        });
        fs::write(folder.path().join("settings.json"), settings.to_string()).unwrap();
        let mut command = Command::new(python.with_file_name("mlserver"));
        command.arg("start").arg(folder.path());
        Ok(Self::start(command, "mlserver", http, grpc, folder, "/v2/models/sum/ready").await)
    }

    /// Triton with model `sum` in versions 1 and 2, and model `other`; models are loaded as it is told.
    pub(crate) async fn triton() -> Result<Self, String> {
        let python = python("HEADGATE_TRITON", "triton")?;
        let folder = tempfile::tempdir().unwrap();
        for (model, versions) in [("sum", 1..3), ("other", 1..2)] {
            let model = folder.path().join("models").join(model);
            for version in versions {
                fs::create_dir_all(model.join(version.to_string())).unwrap();
                fs::write(model.join(version.to_string()).join("model.py"), include_str!("models/triton.py")).unwrap();
            }
            fs::write(model.join("config.pbtxt"), TRITON_MODEL).unwrap();
        }
        let (mut command, backends) = triton_command(&python, folder.path())?;
        let [http, grpc] = ports();
        command.arg("--model-repository").arg(folder.path().join("models")).arg("--backend-directory").arg(backends);
        command.args(["--http-address=127.0.0.1", "--grpc-address=127.0.0.1", "--allow-metrics=false"]);
        command.args(["--model-control-mode=explicit", "--load-model=*"]);
        command.args([format!("--http-port={http}"), format!("--grpc-port={grpc}")]);
        Ok(Self::start(command, "triton", http, grpc, folder, "/v2/health/ready").await)
    }

    /// KServe's Python server with model `sum`.
    pub(crate) async fn kserve() -> Result<Self, String> {
        let python = python("HEADGATE_KSERVE", "main")?;
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("server.py");
        fs::write(&program, include_str!("models/kserve.py")).unwrap();
        let [http, grpc] = ports();
        let mut command = Command::new(python);
        command.arg(program).args(["--http_port".to_owned(), http.to_string()]);
        command.args(["--grpc_port".to_owned(), grpc.to_string()]);
        Ok(Self::start(command, "kserve", http, grpc, folder, "/v2/models/sum/ready").await)
    }

    async fn start(
        mut command: Command,
        name: &str,
        http: u16,
        grpc: u16,
        folder: tempfile::TempDir,
        ready: &str,
    ) -> Self {
        let log = folder.path().join("log");
        let said = File::create(&log).unwrap();
        command.stdin(Stdio::null()).stdout(said.try_clone().unwrap()).stderr(said).current_dir(folder.path());
        let process = command.spawn().unwrap();
        let (address, grpc) = (format!("127.0.0.1:{http}"), format!("127.0.0.1:{grpc}"));
        let listed = format!("{name}={address},grpc={grpc}");
        let client = Client::builder(TokioExecutor::new()).build_http();
        let mut server = Self { address, grpc, listed, process, log, client, _folder: folder };
        let began = tokio::time::Instant::now();
        while !server.try_get(ready).await.is_ok_and(|answer| answer.status == StatusCode::OK) {
            let ended = server.process.try_wait().unwrap();
            assert!(ended.is_none() && began.elapsed() < START, "{name} did not start ({ended:?}): {}", server.said());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        server
    }

    /// What it wrote.
    fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub(crate) fn signal(&self, name: &str) {
        assert!(Command::new("kill").args([name, &self.process.id().to_string()]).status().unwrap().success());
    }

    async fn try_get(&self, path: &str) -> Result<Answer, String> {
        let request = Request::get(format!("http://{}{path}", self.address)).body(Full::default()).unwrap();
        crate::gateway::send(&self.client, request).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.try_get(path).await.unwrap()
    }

    pub(crate) async fn post(&self, path: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Answer {
        post(&self.client, &self.address, path, headers, body.into()).await
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A call, to a server or to a gateway.
pub(crate) async fn post(
    client: &Client<HttpConnector, Full<Bytes>>,
    address: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Bytes,
) -> Answer {
    let mut request = Request::post(format!("http://{address}{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    crate::gateway::send(client, request.body(Full::new(body)).unwrap()).await.unwrap()
}

const TRITON_MODEL: &str = r#"backend: "python"
max_batch_size: 1024
input [{ name: "rows", data_type: TYPE_FP64, dims: [-1] }]
output [{ name: "sum", data_type: TYPE_FP64, dims: [1], reshape: { shape: [] } }]
version_policy: { all: {} }
"#;

/// Triton's server, and a folder with its Python backend and the stub for this Python, as it wants them to lie.
fn triton_command(python: &Path, folder: &Path) -> Result<(Command, PathBuf), String> {
    let asked = "import importlib.util as u, sysconfig as s, sys; \
                 print(u.find_spec('pytriton').submodule_search_locations[0], s.get_path('purelib'), \
                 s.get_config_var('LIBDIR'), '%d.%d' % sys.version_info[:2])";
    let told = Command::new(python).args(["-c", asked]).output().map_err(|error| error.to_string())?;
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    let words: Vec<&str> = told.split_whitespace().collect();
    let [package, site, libraries, version] = words[..] else {
        return Err(format!("{} has no nvidia-pytriton", python.display()));
    };
    let triton = Path::new(package).join("tritonserver");
    let stub = triton.join("python_backend_stubs").join(version).join("triton_python_backend_stub");
    if !stub.is_file() {
        return Err(format!("Triton's Python backend has no stub for Python {version}"));
    }
    let backend = folder.join("backends/python");
    fs::create_dir_all(&backend).unwrap();
    let parts = fs::read_dir(triton.join("backends/python")).unwrap().map(|part| part.unwrap().path());
    for part in parts.filter(|part| part.is_file()).chain([stub]) {
        fs::copy(&part, backend.join(part.file_name().unwrap())).unwrap();
    }
    let mut command = Command::new(triton.join("bin/tritonserver"));
    // The stub takes the environment of the first Python in the path.
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{}:{path}", python.parent().unwrap().display()));
    command.env("LD_LIBRARY_PATH", format!("{site}/nvidia_pytriton.libs:{libraries}"));
    Ok((command, folder.join("backends")))
}
