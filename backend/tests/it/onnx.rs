//! ONNX models through the real library, where it is there: what scikit-learn's exporter writes, and what nobody should.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use headgate_contract::Digest;
use headgate_contract::manifest::signature::Role;
use headgate_contract::manifest::{Dtype, EngineSpec, Input, Output, Signature};
use headgate_engine::onnx::{Description, Element, Kind, Port, describe};
use headgate_registry::NewVersion;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::models::name;
use crate::support::{Bucket, Server};

mod batches;
mod library;
mod pipelines;
mod refused;
mod swaps;

/// The library, and the models that `make.py` wrote.
pub(crate) struct Kit {
    pub(crate) library: PathBuf,
    pub(crate) cases: Value,
    folder: TempDir,
}

static KIT: LazyLock<Result<Kit, String>> = LazyLock::new(Kit::new);

/// Library and models; where they are not to be had, why the test is skipped.
pub(crate) fn kit(test: &str) -> Option<&'static Kit> {
    match &*KIT {
        Ok(kit) => Some(kit),
        Err(why) => {
            let _ = writeln!(std::io::stderr(), "skipped: onnx: {test}: {why}");
            None
        }
    }
}

impl Kit {
    fn new() -> Result<Self, String> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let python = std::env::var_os("HEADGATE_PYTHON").map(PathBuf::from);
        let python = python.unwrap_or_else(|| root.join(".venv/bin/python"));
        if !python.is_file() {
            return Err("no HEADGATE_PYTHON, and no .venv in the workspace".to_owned());
        }
        let library = std::env::var_os("HEADGATE_ONNXRUNTIME").map(PathBuf::from).or_else(|| beside(&python));
        let library = library.ok_or("no HEADGATE_ONNXRUNTIME, and no onnxruntime beside Python")?;
        let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/onnx/make.py");
        let made = Command::new(python).arg(script).arg(folder.path()).env("PYTHONDONTWRITEBYTECODE", "1").output();
        let made = made.map_err(|e| e.to_string())?;
        if !made.status.success() {
            let said = String::from_utf8_lossy(&made.stderr);
            // A script that is broken is no reason to skip.
            assert!(said.contains("ModuleNotFoundError"), "make.py: {said}");
            return Err(said.lines().last().unwrap_or_default().to_owned());
        }
        let cases = std::fs::read(folder.path().join("cases.json")).map_err(|e| e.to_string())?;
        let cases = serde_json::from_slice(&cases).map_err(|e| e.to_string())?;
        Ok(Self { library, cases, folder })
    }

    /// A server that has the library.
    pub(crate) async fn serve(&self, bucket: &Bucket, flags: &[(&str, &str)]) -> Server {
        let library = self.library.display().to_string();
        let mut all = vec![("onnx.library", library.as_str())];
        all.extend(flags);
        let server = Server::start_with(bucket, &all).await;
        server.ready().await;
        server
    }

    /// A model that `make.py` wrote, as a version of `model`.
    pub(crate) fn version(&self, model: &str, file: &str) -> (NewVersion, Vec<u8>) {
        let bytes = std::fs::read(self.folder.path().join(format!("{file}.onnx"))).unwrap();
        let signature = describe(&bytes).map(|graph| signature(&graph)).unwrap_or_else(|_| simple());
        (version(model, signature, &bytes), bytes)
    }
}

/// The library in the environment that an interpreter is of.
fn beside(python: &Path) -> Option<PathBuf> {
    let pythons = std::fs::read_dir(python.parent()?.parent()?.join("lib")).ok()?.flatten();
    let folders = pythons.map(|e| e.path().join("site-packages/onnxruntime/capi"));
    let files = folders.filter_map(|folder| std::fs::read_dir(folder).ok()).flatten().flatten().map(|e| e.path());
    files.filter(|path| path.file_name().is_some_and(|n| n.to_string_lossy().starts_with("libonnxruntime.so"))).min()
}

pub(crate) fn version(model: &str, signature: Signature, bytes: &[u8]) -> NewVersion {
    NewVersion {
        model: name(model),
        build_key: Digest::of_parts([model.as_bytes(), bytes, &serde_json::to_vec(&signature).unwrap()]),
        engine: EngineSpec { name: "onnx".into(), ..EngineSpec::default() },
        signature,
        golden: None,
        metrics: Default::default(),
        lineage: Default::default(),
        statistics: vec![],
        files: vec![],
        who: "trainer@test".into(),
    }
}

/// The signature that a publisher would make of a graph.
fn signature(graph: &Description) -> Signature {
    let dtype = |element: &Element| match element {
        Element::Float => Dtype::Fp32,
        Element::Int64 => Dtype::Int64,
        Element::Int32 => Dtype::Int32,
        Element::Bool => Dtype::Bool,
        Element::Text => Dtype::Bytes,
        _ => Dtype::Fp64,
    };
    let inputs = |port: &Port| -> Vec<Input> {
        let dtype = if let Kind::Tensor { element, .. } = &port.kind { dtype(element) } else { Dtype::Fp64 };
        let one = |name: String| Input { dtype, ..Input::numeric(name) };
        match port.width().unwrap_or(1) {
            1 => vec![one(port.name.clone())],
            width => (0..width).map(|at| one(format!("{}[{at}]", port.name))).collect(),
        }
    };
    let output = |port: &Port| {
        let (dtype, classes) = match &port.kind {
            Kind::Tensor { element, .. } => (dtype(element), vec![]),
            Kind::Maps { value, classes, .. } => (dtype(value), classes.clone()),
            Kind::Other(_) => (Dtype::Fp64, vec![]),
        };
        Output { name: port.name.clone(), role: Role::Value, dtype, width: port.width().unwrap_or(1), classes }
    };
    Signature {
        inputs: graph.inputs.iter().flat_map(inputs).collect(),
        outputs: graph.outputs.iter().map(output).collect(),
    }
}

/// One of two numbers in and two out, for files that do not say.
fn simple() -> Signature {
    let output = Output { name: "y".into(), role: Role::Value, dtype: Dtype::Fp32, width: 2, classes: vec![] };
    Signature { inputs: vec![Input::numeric("x[0]"), Input::numeric("x[1]")], outputs: vec![output] }
}
