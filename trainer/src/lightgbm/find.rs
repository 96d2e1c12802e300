//! Where LightGBM's library is.

use std::path::{Path, PathBuf};

use headgate_contract::Digest;

use super::LightgbmError;

/// The library's file name.
pub const NAME: &str = if cfg!(target_os = "macos") { "lib_lightgbm.dylib" } else { "lib_lightgbm.so" };
/// The variable that names the file.
pub const VARIABLE: &str = "HEADGATE_LIGHTGBM";

/// Finds the library: what the user named (here or in [`VARIABLE`]), else beside the executable or in `../lib/`, else in
/// `.headgate/lib/` and in `.venv`'s lightgbm package in the current folder and those above it, else, by name alone,
/// wherever the system's loader looks.
pub fn find(named: Option<&Path>) -> Result<PathBuf, LightgbmError> {
    let variable = std::env::var_os(VARIABLE).map(PathBuf::from);
    if let Some(path) = named.or(variable.as_deref()) {
        return if path.is_file() {
            Ok(path.to_owned())
        } else {
            Err(LightgbmError::Load { path: path.display().to_string(), why: "it is not there".to_owned() })
        };
    }
    let executable = std::env::current_exe().ok().and_then(|exe| exe.parent().map(Path::to_owned));
    let here = std::env::current_dir().ok();
    let beside = executable.iter().flat_map(|dir| [dir.join(NAME), dir.join("../lib").join(NAME)]);
    let above = here.iter().flat_map(|dir| dir.ancestors()).flat_map(below);
    Ok(beside.chain(above).find(|path| path.is_file()).unwrap_or_else(|| PathBuf::from(NAME)))
}

/// Where the library may be below a folder.
fn below(dir: &Path) -> Vec<PathBuf> {
    let mut paths = vec![dir.join(".headgate/lib").join(NAME)];
    let pythons = std::fs::read_dir(dir.join(".venv/lib")).into_iter().flatten().flatten();
    let mut pythons: Vec<PathBuf> = pythons
        .map(|e| e.path())
        .filter(|p| p.file_name().is_some_and(|n| n.to_string_lossy().starts_with("python3")))
        .collect();
    pythons.sort();
    paths.extend(pythons.into_iter().map(|python| python.join("site-packages/lightgbm/lib").join(NAME)));
    paths
}

/// What tells one library from another: the version of the Python package that it lies in, or the text of a
/// `VERSION.txt` beside it, else the beginning of its digest.
pub(super) fn version(library: &Path) -> String {
    let read = |dir: &Path| std::fs::read_to_string(dir.join("VERSION.txt")).ok();
    let dir = library.parent();
    let text = dir.and_then(read).or_else(|| dir.and_then(Path::parent).and_then(read));
    let text = text.map(|text| text.trim().to_owned());
    if let Some(text) = text.filter(|text| !text.is_empty() && text.len() < 32 && text.is_ascii()) {
        return text;
    }
    match std::fs::read(library) {
        Ok(bytes) => format!("sha256-{}", &Digest::of(bytes).to_string()[..12]),
        Err(_) => "unknown".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_named_file_that_is_not_there_is_an_error_and_a_virtual_environment_is_found() {
        assert!(find(Some(Path::new("/nowhere/lib.so"))).unwrap_err().to_string().contains("/nowhere/lib.so"));
        let dir = tempfile::tempdir().unwrap();
        let lib = dir.path().join(".venv/lib/python3.11/site-packages/lightgbm/lib");
        std::fs::create_dir_all(&lib).unwrap();
        std::fs::write(lib.join(NAME), "").unwrap();
        std::fs::write(lib.join("../VERSION.txt"), "4.7.0\n").unwrap();
        let found: Vec<PathBuf> = below(dir.path()).into_iter().filter(|p| p.is_file()).collect();
        assert_eq!(found, [lib.join(NAME)]);
        assert_eq!(version(&found[0]), "4.7.0");
        std::fs::remove_file(lib.join("../VERSION.txt")).unwrap();
        assert_eq!(version(&found[0]), "sha256-e3b0c44298fc");
        assert_eq!(version(Path::new(NAME)), "unknown");
    }
}
