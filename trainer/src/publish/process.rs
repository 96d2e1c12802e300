//! `headgate publish --process`: a folder of code, and the command that runs it, become a version.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use headgate_contract::Digest;
use headgate_contract::manifest::signature::Role;
use headgate_contract::manifest::{Dtype, EngineSpec, FILES_MAX, Signature, check_file_name};
use headgate_registry::NewVersion;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use super::{Parts, golden_outputs, new_version};
use crate::args::PublishArgs;
use crate::error::PublishError;

/// How far results may be from the golden ones, where the publisher says nothing: processors sum in other orders.
const TOLERANCE: f64 = 1e-6;
/// What interpreters leave behind.
const LEFTOVER: &str = "__pycache__";

/// A file of the version: its name, where its copy lies, and its digest.
type Copied = (String, PathBuf, Digest);

/// The version to be, copies of the files that it was read from, and what the user should know. Blocks.
pub(super) fn read(args: &PublishArgs, command: &str) -> Result<(NewVersion, TempDir, Vec<String>), PublishError> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    if command.is_empty() || !command.bytes().all(plain) {
        return Err(PublishError::Option(format!(
            "--process '{command}': the name of a command of the backends' configuration expected, as in 'python'"
        )));
    }
    let (Some(signature), Some(golden)) = (&args.signature, &args.golden) else {
        return Err(PublishError::Option("--process needs --signature and --golden: nothing else proves code".into()));
    };
    let mut notes = Vec::new();
    let (signature, signed) = read_signature(signature)?;
    let (golden, proof) = golden_outputs(golden, args.tolerance, TOLERANCE, &signature, &mut notes)?;
    let copies = tempfile::tempdir().map_err(|source| write_failed(&std::env::temp_dir(), source))?;
    let files = copy_all(&args.file, copies.path(), &mut notes)?;
    let mut digests = vec![Digest::of(command), signed, proof];
    digests.extend(
        files.iter().map(|(name, _, digest)| Digest::of_parts([name.as_bytes(), digest.to_string().as_bytes()])),
    );
    let engine = EngineSpec { name: "process".to_owned(), version: None, requires: vec![format!("process:{command}")] };
    let files = files.into_iter().map(|(name, path, _)| (name, path)).collect();
    let new = new_version(args, Parts { engine, signature, golden: Some(golden), digests, files })?;
    notes.push(format!("backends prove it, by command '{command}' of their configuration (process.commands)"));
    Ok((new, copies, notes))
}

fn read_signature(path: &Path) -> Result<(Signature, Digest), PublishError> {
    let bytes = fs::read(path).map_err(|source| read_failed(path, source))?;
    let broken = |why: String| PublishError::Option(format!("--signature {}: {why}", path.display()));
    let signature: Signature = serde_json::from_slice(&bytes).map_err(|e| broken(e.to_string()))?;
    signature.check().map_err(broken)?;
    match signature.outputs.iter().find(|output| output.role == Role::Value) {
        Some(first) if first.dtype == Dtype::Bytes => Err(broken(format!(
            "output '{}' is of texts, and golden rows prove numbers: let one of numbers be first",
            first.name
        ))),
        _ => Ok((signature, Digest::of(&bytes))),
    }
}

/// Copies a file, or the files of a folder: they may change while they go up.
fn copy_all(from: &Path, to: &Path, notes: &mut Vec<String>) -> Result<Vec<Copied>, PublishError> {
    if !fs::metadata(from).map_err(|source| read_failed(from, source))?.is_dir() {
        let name = from.file_name().unwrap_or_default().to_string_lossy().into_owned();
        return Ok(vec![copy(from, to, name)?]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(from).map_err(|source| read_failed(from, source))? {
        let entry = entry.map_err(|source| read_failed(from, source))?;
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        let kind = entry.file_type().map_err(|source| read_failed(&path, source))?;
        if name.starts_with('.') || name == LEFTOVER {
            notes.push(format!("'{name}' is left out"));
            continue;
        }
        let refused = |why: &str| PublishError::Model { path: path.display().to_string(), why: why.to_owned() };
        if kind.is_symlink() {
            return Err(refused("it is a symbolic link, and what it leads to may be another file elsewhere"));
        }
        if kind.is_dir() {
            return Err(refused(
                "a version's files lie side by side: pack a folder into one file, as Python imports from a zip",
            ));
        }
        if !kind.is_file() {
            return Err(refused("it is no file"));
        }
        if files.len() == FILES_MAX {
            return Err(refused("the folder has more files than a version may have"));
        }
        files.push(copy(&path, to, name)?);
    }
    if files.is_empty() {
        let why = "the folder has no files".to_owned();
        return Err(PublishError::Model { path: from.display().to_string(), why });
    }
    files.sort();
    Ok(files)
}

fn copy(from: &Path, folder: &Path, name: String) -> Result<Copied, PublishError> {
    check_file_name(&name)
        .map_err(|error| PublishError::Model { path: from.display().to_string(), why: error.to_string() })?;
    let to = folder.join(&name);
    // A copy on the disk is not the one that is read: a reading fault names the source.
    let mut source = File::open(from).map_err(|error| read_failed(from, error))?;
    let mut copy = File::create(&to).map_err(|error| write_failed(&to, error))?;
    io::copy(&mut source, &mut copy).map_err(|error| read_failed(from, error))?;
    let mut hasher = Sha256::new();
    File::open(&to).and_then(|mut copy| io::copy(&mut copy, &mut hasher)).map_err(|error| read_failed(&to, error))?;
    Ok((name, to, Digest::from_bytes(hasher.finalize().into())))
}

fn read_failed(path: &Path, source: io::Error) -> PublishError {
    PublishError::Read { path: path.display().to_string(), source }
}

fn write_failed(path: &Path, source: io::Error) -> PublishError {
    PublishError::Write { path: path.display().to_string(), source }
}
