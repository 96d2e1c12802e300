//! `headgate up` in a folder of its own, and calls to it.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

/// Everything that is awaited comes within this, on the slowest machine; it is never how long something should take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// The program under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_headgate");

/// A running system. Stopped when dropped, its folder removed.
pub(crate) struct System {
    pub(crate) gateway: SocketAddr,
    pub(crate) dir: tempfile::TempDir,
    child: Child,
}

impl System {
    /// Starts `headgate up` with these arguments beside the addresses, and waits until it says that it runs.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), arguments)
    }

    pub(crate) fn start_in(dir: tempfile::TempDir, arguments: &[&str]) -> Self {
        Self::start_program(Path::new(PROGRAM), dir, arguments)
    }

    /// Starts another file than the one that was built: a copy of it.
    pub(crate) fn start_program(program: &Path, dir: tempfile::TempDir, arguments: &[&str]) -> Self {
        let (gateway, admin) = (free_address(), free_address());
        let out = fs::File::create(dir.path().join("up.out")).unwrap();
        let child = command_of(program, dir.path())
            .args(["up", "--listen", &gateway.to_string(), "--admin", &admin.to_string()])
            .args(arguments)
            .stdout(out.try_clone().unwrap())
            .stderr(out)
            .spawn()
            .unwrap();
        let mut system = Self { gateway, dir, child };
        eventually("headgate up says that it runs", || {
            assert!(system.child.try_wait().unwrap().is_none(), "up ended:\n{}", system.said());
            system.said().contains("Headgate runs").then_some(())
        });
        system
    }

    /// What it has printed.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(self.dir.path().join("up.out")).unwrap_or_default()
    }

    /// Runs another command in its folder.
    pub(crate) fn headgate(&self, arguments: &[&str]) -> Output {
        command(self.dir.path()).args(arguments).output().unwrap()
    }

    /// Runs a command that must succeed, with `--json`.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let output = command(self.dir.path()).args(arguments).arg("--json").output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    pub(crate) fn post(&self, path: &str, body: &str) -> Reply {
        http(self.gateway, "POST", path, body)
    }

    /// The process ids of the children with such an argument, or of such a program. A gateway's `--backend` is no backend.
    pub(crate) fn children(&self, word: &str) -> Vec<u32> {
        let all = Command::new("pgrep").args(["-P", &self.child.id().to_string()]).output().unwrap();
        let ids = String::from_utf8(all.stdout).unwrap();
        let ids = ids.lines().filter_map(|id| id.parse::<u32>().ok());
        let named = |arg: &str| arg.rsplit('/').next() == Some(word);
        let is =
            |id: &u32| fs::read_to_string(format!("/proc/{id}/cmdline")).is_ok_and(|line| line.split('\0').any(named));
        ids.filter(is).collect()
    }

    /// Ctrl-C, and what came of it.
    pub(crate) fn interrupt(mut self) -> (std::process::ExitStatus, tempfile::TempDir) {
        signal("INT", self.child.id());
        let status = eventually("up ends after Ctrl-C", || self.child.try_wait().unwrap());
        let dir = std::mem::replace(&mut self.dir, tempfile::tempdir().unwrap());
        (status, dir)
    }
}

impl Drop for System {
    fn drop(&mut self) {
        signal("TERM", self.child.id());
        let deadline = Instant::now() + Duration::from_secs(30);
        while Instant::now() < deadline {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            sleep(Duration::from_millis(50));
        }
        let _ = self.child.kill();
    }
}

/// A reply to an HTTP call.
pub(crate) struct Reply {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: String,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .find_map(|line| line.split_once(": ").filter(|(n, _)| n.eq_ignore_ascii_case(name)))
            .map(|h| h.1)
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.body))
    }
}

pub(crate) fn http(address: SocketAddr, method: &str, path: &str, body: &str) -> Reply {
    let mut stream = TcpStream::connect(address).unwrap();
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Reply { status, head: head.to_owned(), body: body.to_owned() }
}

pub(crate) fn command(dir: &Path) -> Command {
    command_of(Path::new(PROGRAM), dir)
}

fn command_of(program: &Path, dir: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(dir).stdin(Stdio::null());
    if let Some(library) = lightgbm() {
        command.env("HEADGATE_LIGHTGBM", library);
    }
    if let Some(library) = onnxruntime() {
        command.env("ORT_DYLIB_PATH", library);
    }
    command
}

/// LightGBM's library, where there is one: named by HEADGATE_LIGHTGBM, or in the Python environment of the tests.
pub(crate) fn lightgbm() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("HEADGATE_LIGHTGBM") {
        return Some(named.into());
    }
    in_packages("lightgbm/lib", "lib_lightgbm.so")
}

/// ONNX Runtime's library, where there is one: named by HEADGATE_ONNXRUNTIME, or in the Python environment of the tests.
pub(crate) fn onnxruntime() -> Option<PathBuf> {
    let named = std::env::var_os("HEADGATE_ONNXRUNTIME").map(PathBuf::from);
    named.or_else(|| in_packages("onnxruntime/capi", "libonnxruntime.so"))
}

/// A file of a Python package, by how its name begins.
fn in_packages(folder: &str, begins: &str) -> Option<PathBuf> {
    let pythons = fs::read_dir(python()?.parent()?.parent()?.join("lib")).ok()?.flatten();
    let folders = pythons.filter_map(|e| fs::read_dir(e.path().join("site-packages").join(folder)).ok());
    let files = folders.flatten().flatten().map(|e| e.path());
    files.filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(begins))).min()
}

/// The Python of the tests' environment, where there is one.
pub(crate) fn python() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent()?;
    let named = std::env::var_os("HEADGATE_PYTHON").map(PathBuf::from);
    named.or_else(|| Some(root.join(".venv/bin/python"))).filter(|path| path.is_file())
}

/// Says why a test does not run. Returns whether it must not.
pub(crate) fn skipped(test: &str, missing: &[(&str, bool)]) -> bool {
    let missing: Vec<_> = missing.iter().filter(|(_, there)| !there).map(|(what, _)| *what).collect();
    if !missing.is_empty() {
        let _ = writeln!(std::io::stderr(), "skipped: {test}: {} not found", missing.join(", "));
    }
    !missing.is_empty()
}

pub(crate) fn signal(name: &str, pid: u32) {
    let _ = Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).stderr(Stdio::null()).status();
}

pub(crate) fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Asks again and again until there is an answer.
pub(crate) fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "in vain: {what}");
        sleep(Duration::from_millis(50));
    }
}
