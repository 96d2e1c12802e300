//! The backend as a program that may run commands, versions for it, and what is left of them on the machine.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use headgate_contract::Digest;
use headgate_registry::NewVersion;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Bucket, Server, linear, until};

/// A backend that is killed when it is dropped.
pub(crate) struct Backend {
    pub(crate) server: Server,
    pub(crate) cache: TempDir,
    child: Child,
    log: Arc<Mutex<Vec<Value>>>,
}

/// The Python to run: its own file, as a shim may need variables that processes do not get.
pub(crate) fn python() -> String {
    let given = std::env::var("HEADGATE_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let said = Command::new(given).args(["-c", "import sys; print(sys.executable)"]).output().unwrap();
    String::from_utf8(said.stdout).unwrap().trim().to_owned()
}

/// A linear model as [`linear`], served by a command, that behaves in its own way.
pub(crate) fn version(model: &str, command: &str, weights: [f64; 2], behave: &str) -> (NewVersion, Vec<u8>) {
    let (mut new, bytes) = linear(model, weights);
    let mut file: Value = serde_json::from_slice(&bytes).unwrap();
    file["behave"] = behave.into();
    let bytes = serde_json::to_vec(&file).unwrap();
    new.engine.name = "process".into();
    new.engine.requires = vec![format!("process:{command}")];
    new.build_key = Digest::of_parts([bytes.as_slice(), command.as_bytes()]);
    (new, bytes)
}

impl Backend {
    /// A backend with command `rogue`, ready.
    pub(crate) async fn start(bucket: &Bucket, flags: &[(&str, &str)]) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/processes/rogue.py");
        let rogue = serde_json::to_string(&[python().as_str(), "-S", script]).unwrap();
        let all = [&[("process.commands.rogue.argv", rogue.as_str())], flags].concat();
        let backend = Self::start_bare(bucket, &all).await;
        backend.server.ready().await;
        backend
    }

    pub(crate) async fn start_bare(bucket: &Bucket, flags: &[(&str, &str)]) -> Self {
        let cache = tempfile::tempdir().unwrap();
        let dir = cache.path().display().to_string();
        let store = bucket.store.url().to_string();
        let defaults = [
            ("store", store.as_str()),
            ("cache.dir", &dir),
            ("listen", "127.0.0.1:0"),
            ("log.format", "json"),
            ("poll_interval_ms", "30"),
            ("drain.lame_duck_ms", "100"),
            ("limits.timeout_ms", "20000"),
            ("process.memory_bytes_max", "268435456"),
            ("process.start_timeout_ms", "20000"),
        ];
        let mut command = Command::new(env!("CARGO_BIN_EXE_headgate-backend"));
        for (key, value) in defaults.iter().chain(flags) {
            command.arg("--set").arg(format!("{key}={value}"));
        }
        command.env("AWS_SECRET_ACCESS_KEY", "not for everybody");
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let log = Arc::new(Mutex::new(Vec::new()));
        let mut read = move || lines.next()?.ok().and_then(|line| serde_json::from_str::<Value>(&line).ok());
        let first = read().unwrap();
        let addr: SocketAddr = first["fields"]["address"].as_str().unwrap().parse().unwrap();
        let kept = Arc::clone(&log);
        std::thread::spawn(move || {
            while let Some(line) = read() {
                kept.lock().unwrap().push(line);
            }
        });
        Self { server: Server::at(addr), cache, child, log }
    }

    /// Releases a version and waits until it answers.
    pub(crate) async fn serve(&self, bucket: &Bucket, version: (NewVersion, Vec<u8>)) {
        let model = version.0.model.to_string();
        let published = bucket.release(version).await;
        self.server.until_answers(&model, published.version.get()).await;
    }

    /// Lines of the log whose message and fields hold all of this.
    pub(crate) fn said(&self, words: &[&str]) -> Vec<Value> {
        let log = self.log.lock().unwrap();
        log.iter().filter(|line| words.iter().all(|word| line.to_string().contains(word))).cloned().collect()
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), signal).unwrap();
    }

    pub(crate) async fn ended(&mut self) -> Option<i32> {
        let child = Mutex::new(&mut self.child);
        until("ended", || std::future::ready(child.lock().unwrap().try_wait().unwrap().is_some())).await;
        self.child.wait().unwrap().code()
    }

    /// The folders of versions.
    pub(crate) fn folders(&self) -> Vec<PathBuf> {
        let run = fs::read_dir(self.cache.path().join("run"));
        run.into_iter().flatten().map(|entry| entry.unwrap().path()).collect()
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The processes of a model, by number: guards, commands, and what those started.
pub(crate) fn processes(model: &str) -> BTreeSet<i32> {
    let variable = format!("HEADGATE_MODEL={model}");
    let of_model = |pid: &i32| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|b| *b == 0).any(|entry| entry == variable.as_bytes())
    };
    let names = fs::read_dir("/proc").unwrap().flatten().filter_map(|e| e.file_name().to_str()?.parse().ok());
    names.filter(of_model).collect()
}

/// Those of them that run this file: the commands themselves.
pub(crate) fn commands(model: &str, file: &str) -> Vec<i32> {
    let runs = |pid: &i32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let mut words = line.split(|b| *b == 0).map(|word| String::from_utf8_lossy(word).into_owned());
        !Path::new(&words.next().unwrap_or_default()).starts_with("/proc")
            && words.any(|word| Path::new(&word).file_name().is_some_and(|name| name == file))
    };
    processes(model).into_iter().filter(runs).collect()
}

/// Kills the one command of a model.
pub(crate) fn kill_command(model: &str) {
    let [pid] = commands(model, "rogue.py")[..] else { panic!("{:?}", commands(model, "rogue.py")) };
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

pub(crate) async fn until_none_is_left(model: &str) {
    until("no process is left", || std::future::ready(processes(model).is_empty())).await;
}
