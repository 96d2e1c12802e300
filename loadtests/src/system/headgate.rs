//! The `headgate` command line, as this program types it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

use super::SystemError;
use super::process::Program;

/// The variable by which a part is told to end when the process that started it does.
pub(super) const PARENT_VARIABLE: &str = "HEADGATE_PARENT";

/// The command, for one store.
#[derive(Clone, Debug)]
pub struct Headgate {
    binary: PathBuf,
    store: String,
}

/// Words of a command line.
macro_rules! words {
    ($($word:expr),* $(,)?) => { vec![$(OsString::from($word)),*] };
}

impl Headgate {
    pub(super) fn new(binary: PathBuf, store: String) -> Self {
        Self { binary, store }
    }

    /// The store.
    pub fn store(&self) -> &str {
        &self.store
    }

    pub(super) fn backend(&self, dir: &Path, name: &str, listen: SocketAddr, settings: &[String]) -> Program {
        let (listen, cache) = (listen.to_string(), format!("cache.dir={}", dir.join("cache").join(name).display()));
        let instance = format!("instance={name}");
        let mut arguments =
            words!["backend", "--listen", listen, "--store", &self.store, "--set", cache, "--set", instance];
        arguments.extend(settings.iter().flat_map(|setting| words!["--set", setting]));
        self.program(dir, name, arguments)
    }

    pub(super) fn gateway(
        &self,
        dir: &Path,
        name: &str,
        listen: SocketAddr,
        admin: SocketAddr,
        backends: &[SocketAddr],
        set: &[String],
    ) -> Program {
        let mut arguments = words!["gateway", "--listen", listen.to_string(), "--admin", admin.to_string()];
        arguments.extend(backends.iter().flat_map(|backend| words!["--backend", backend.to_string()]));
        arguments.extend(set.iter().flat_map(|set| words!["--set", set]));
        self.program(dir, name, arguments)
    }

    fn program(&self, dir: &Path, name: &str, arguments: Vec<OsString>) -> Program {
        let log = dir.join(format!("{name}.log"));
        Program { name: name.to_owned(), path: self.binary.clone(), arguments, environment: BTreeMap::new(), log }
    }

    /// Publishes a model file with its golden rows; it is not served yet.
    pub async fn publish(&self, file: &Path, golden: &Path, model: &str) -> Result<(), SystemError> {
        self.run(words!["publish", file, "--model", model, "--golden", golden]).await.map(drop)
    }

    /// Trains a model for each value of a column, with these parameters, and lets all of them serve.
    pub async fn train_scopes(
        &self,
        data: &Path,
        target: &str,
        model: &str,
        by: &str,
        parameters: &[&str],
    ) -> Result<(), SystemError> {
        let mut arguments =
            words!["train", "--data", data, "--target", target, "--model", model, "--scope-by", by, "--promote"];
        arguments.extend(parameters.iter().flat_map(|parameter| words!["--param", parameter]));
        self.run(arguments).await.map(drop)
    }

    /// Lets a version serve; the gateway at `nudge` is told at once.
    pub async fn promote(&self, model: &str, version: u64, nudge: Option<SocketAddr>) -> Result<(), SystemError> {
        let mut arguments = words!["promote", model, version.to_string()];
        arguments.extend(nudge.into_iter().flat_map(|admin| words!["--admin", admin.to_string()]));
        self.run(arguments).await.map(drop)
    }

    /// Takes the last promotion back; the gateway at `nudge` is told at once.
    pub async fn rollback(&self, model: &str, nudge: Option<SocketAddr>) -> Result<(), SystemError> {
        let mut arguments = words!["rollback", model];
        arguments.extend(nudge.into_iter().flat_map(|admin| words!["--admin", admin.to_string()]));
        self.run(arguments).await.map(drop)
    }

    /// Reads the versions of a model: what a promotion costs as a process, without its effect.
    pub async fn versions(&self, model: &str) -> Result<(), SystemError> {
        self.run(words!["versions", model]).await.map(drop)
    }

    async fn run(&self, arguments: Vec<OsString>) -> Result<String, SystemError> {
        let command = arguments.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ");
        let failed = |error| SystemError::Start { name: command.clone(), path: self.binary.clone(), error };
        let output = Command::new(&self.binary)
            .args(&arguments)
            .args(["--store", &self.store])
            .env_remove("HEADGATE_ADMIN")
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .map_err(failed)?;
        let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if output.status.success() {
            return Ok(said(&output.stdout));
        }
        Err(SystemError::Command { command, status: output.status, output: said(&output.stderr) })
    }
}
